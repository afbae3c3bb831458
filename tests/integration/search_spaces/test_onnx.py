"""Networks of ``compact`` can be exported: the real exporter, the real runtime, another batch size."""

import random
import warnings
from pathlib import Path

import onnxruntime
import pytest
import torch

from search_spaces.architecture import Architecture
from search_spaces.network import build_model
from search_spaces.preset import load_preset
from search_spaces.space import load_space, sample

COMPACT = load_space("compact")
CASES = {
    "small_unet": (load_preset("small_unet").candidate().architecture, (50, 64)),
    "small_deeplabv3plus": (load_preset("small_deeplabv3plus").candidate().architecture, (50, 64)),
    "3d": (load_preset("small_deeplabv3plus").candidate().architecture, (32, 32, 32)),
} | {f"drawn {seed}": (sample(COMPACT, random.Random(seed)).architecture, (64, 64)) for seed in (3, 7, 8)}


@pytest.mark.parametrize("name", CASES)
def test_onnx_computes_what_torch_computes(name: str, tmp_path: Path) -> None:
    architecture, size = CASES[name]
    network = build_model(architecture, in_channels=1, num_classes=3, ndim=len(size), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(20):  # running statistics as after training, without which logits may be huge
            network(torch.randn(2, 1, *size, generator=generator))
    network.eval()
    x = torch.randn(3, 1, *size, generator=generator)
    runtime = onnxruntime.InferenceSession(
        export(network, x[:2], tmp_path), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = network(x)
    for batch in (3, 1):
        [logits] = runtime.run(None, {runtime.get_inputs()[0].name: x[:batch].numpy()})
        error = (torch.from_numpy(logits) - expected[:batch]).abs().max() / expected.abs().max()
        assert error < 1e-4  # float32 sums in another order, over up to 50 layers


def export(network: torch.nn.Module, x: torch.Tensor, folder: Path) -> str:
    path = folder / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself; what counts is the comparison
        program = torch.onnx.export(
            network, (x,), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
        )
        assert program is not None
        program.save(str(path))
    return str(path)


def test_architectures_differ() -> None:
    architectures: set[Architecture] = {architecture for architecture, _ in CASES.values()}
    assert len(architectures) == len(CASES) - 1  # the 3D case is one of the presets
