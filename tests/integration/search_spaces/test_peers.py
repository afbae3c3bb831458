"""The same network in other libraries, with their weights: equal logits. Left out where a library is not installed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces.encoders.resnet import Resnet
from search_spaces.network import build_model
from search_spaces.preset import load_preset

smp = pytest.importorskip("segmentation_models_pytorch")


def tensors(module: nn.Module) -> list[Tensor]:
    """Weights and statistics in order, without biases before norms."""
    idle = {
        ".".join(filter(None, (name, "conv.bias")))
        for name, part in module.named_modules()
        if hasattr(part, "conv") and hasattr(part, "bn")
    }
    return [value for name, value in module.state_dict().items() if name not in idle]


def test_pan_computes_what_segmentation_models_computes(corners: None) -> None:
    theirs = smp.PAN("resnet50", encoder_weights=None, in_channels=3, classes=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in theirs.state_dict().items():
            if value.is_floating_point() and value.dim() == 1:  # norms, and biases before them
                idle = name.startswith("decoder") and name.endswith("conv.bias")
                value.copy_(
                    torch.zeros_like(value) if idle else 0.5 + torch.rand(value.shape, generator=generator)
                )
    architecture = load_preset("pan").candidate().architecture
    encoder = Resnet(
        50, output_stride=16, block_rates=((1,), (2,))
    )  # its first dilated block is dilated, too
    ours = build_model(replace(architecture, encoder=encoder), in_channels=3, num_classes=4, ndim=2)
    fpa, decoder = theirs.decoder.fpa, theirs.decoder
    down3 = fpa.down3
    sources = [
        theirs.encoder,
        fpa.branch1, fpa.mid, fpa.down1, fpa.down2, down3[1], fpa.conv1, fpa.conv2, down3[2],
        *(part for level in (decoder.gau3, decoder.gau2, decoder.gau1) for part in (level.conv1, level.conv2)),
        theirs.segmentation_head,
    ]  # fmt: skip
    found = [value for module in sources for value in tensors(module)]
    ours.load_state_dict(dict(zip(ours.state_dict(), found, strict=True)))
    x = torch.randn(1, 3, 256, 256, generator=generator)
    with torch.no_grad():
        expected, logits = theirs.eval()(x), ours.eval()(x)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
