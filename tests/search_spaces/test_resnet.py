"""Systems on dilated residual networks: torchvision's own modules say what they compute."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50, fcn_resnet50

from search_spaces.codec import canonical
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.pyramid_pool import PyramidPool
from search_spaces.encoders.resnet import Resnet
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.network import build_model
from search_spaces.pooling import PooledBatchNorm, grid_mean
from search_spaces.preset import load_preset
from search_spaces.profile import profile


def shuffled(module: nn.Module) -> nn.Module:
    """Other norms than ones and zeros, which would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for buffer in (*module.buffers(), *(p.data for p in module.parameters() if p.dim() == 1)):
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "fcn_resnet50"])
def test_logits_are_those_of_torchvision_with_its_weights(name: str) -> None:
    maker = {"deeplabv3_resnet50": deeplabv3_resnet50, "fcn_resnet50": fcn_resnet50}[name]
    theirs = shuffled(maker(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)).eval()
    architecture = load_preset(name).candidate().architecture
    ours = build_model(architecture, in_channels=3, num_classes=5, ndim=2).eval()
    names = list(ours.state_dict())
    ours.load_state_dict(dict(zip(names, theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(x)
        (logits, _), (auxiliary, weight) = ours.training_logits(x)
    assert weight == 0.4  # PSPNet, section 3.3
    for found, other in ((logits, wanted["out"]), (auxiliary, wanted["aux"])):
        assert (found - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deeplabv3_resnet50", 39_638_869),
        ("deeplabv3_resnet101", 58_630_997),
        ("pspnet50", 46_716_373),
        ("pspnet101", 65_708_501),
    ],
)
def test_without_the_auxiliary_head_parameters_are_the_known_ones(name: str, parameters: int) -> None:
    architecture = replace(load_preset(name).candidate().architecture, auxiliary=())
    assert profile(architecture, 3, 21, (64, 64)).parameters == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("fcn_resnet50", 152.717),
        ("fcn_resnet101", 232.738),
        ("deeplabv3_resnet50", 178.722),
        ("deeplabv3_resnet101", 258.743),
    ],
)
def test_multiplications_are_those_of_torchvisions_metadata(name: str, billions: float) -> None:
    macs = profile(load_preset(name).candidate().architecture, 3, 21, (520, 520)).macs
    auxiliary = 65 * 65 * (1024 * 256 * 9 + 256 * 21)  # counted there, left out of inference here
    assert round((macs + auxiliary) / 1e9, 3) == billions


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_pyramid_pooling_and_aspp_of_the_papers_have_the_known_parameters() -> None:
    assert count(PyramidPool(512).build(Layers(2), 2048)) == 4_198_400  # 4 (2048 * 512 + 2 * 512)
    assert count(Aspp((12, 24, 36), 256, image_norm=True).build(Layers(2), 2048)) == 15_535_104


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032), (101, 42_500_160), (152, 58_143_808)],
)
def test_encoders_have_the_parameters_of_torchvision_without_its_last_layer(
    depth: int, parameters: int
) -> None:
    with torch.device("meta"):
        assert count(Resnet(depth).build(Layers(2), 3)) == parameters  # type: ignore[arg-type]  # an allowed depth


def test_a_grid_mean_is_torchs_adaptive_pooling() -> None:
    x = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    for grid in ((1, 1), (2, 3), (6, 6), (7, 5), (9, 2)):
        assert torch.allclose(grid_mean(x, grid), nn.functional.adaptive_avg_pool2d(x, grid), atol=1e-6)


def test_a_pooled_norm_takes_running_statistics_for_one_image_only() -> None:
    norm = PooledBatchNorm(4)
    x = torch.randn(2, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(norm(x[:1]), x[:1], atol=1e-4)  # statistics of the start: mean 0, variance 1
    assert torch.equal(norm.running_mean, torch.zeros(4))
    assert torch.allclose(
        norm(x).abs(), torch.ones_like(x), atol=1e-2
    )  # two values: one deviation from their mean


def receptive(encoder: Resnet, size: int) -> Tensor:
    """Where the gradient of the middle of the deepest map reaches, along one row."""
    module = encoder.build(Layers(2, norm="none"), 1)
    for weight in module.parameters():
        nn.init.constant_(weight, 1e-3)
    x = torch.ones(1, 1, size, size, requires_grad=True)
    deepest = module(x).maps[-1]
    deepest[0, :, deepest.shape[2] // 2, deepest.shape[3] // 2].sum().backward()
    assert x.grad is not None
    return x.grad[0, 0].abs().amax(0) > 0


def test_rates_widen_what_a_pixel_sees_and_leave_parameters_alone() -> None:
    plain = Resnet(18, width=1, output_stride=8, block_rates=((1,), (1,)))
    hybrid = Resnet(18, width=1, output_stride=8, block_rates=((1, 2), (5, 9)))
    near, far = (int(receptive(encoder, 768).sum()) for encoder in (plain, hybrid))
    # each 3-convolution of rate r adds 2 r strides; two a block, rates (1, 2, 5, 9) instead of (1, 1, 1, 1)
    assert far - near == 2 * 8 * 2 * (17 - 4)
    assert count(plain.build(Layers(2), 1)) == count(hybrid.build(Layers(2), 1))


def test_equal_rates_have_one_form() -> None:
    assert canonical(Resnet(50, block_rates=((1, 1), (1,)))) == Resnet(50)
    assert canonical(Resnet(50, output_stride=8, block_rates=((2, 2), (4,)))).block_rates == ((2,), (4,))
    assert canonical(Resnet(18, output_stride=8, block_rates=((1, 2), (2, 4)))) == Resnet(18, output_stride=8)
    with pytest.raises(SpaceError, match="for the third and for the fourth"):
        Resnet(50, block_rates=((1,),))
