"""Networks of every kind of part can be exported: the real exporter, the real runtime, another batch size."""

import warnings
from pathlib import Path

import onnxruntime
import pytest
import torch
from small_networks import NETWORKS

from search_spaces.network import build_model

QUICK = {"pyramid pool": 3, "dense upsampling": 3, "stages": 2}  # the rest takes about five seconds each
CASES = [(name, (70, 64)) for name in NETWORKS] + [
    (name, (16, 24, 32)) for name in ("pyramid pool", "dense upsampling", "prediction cell", "trellis")
]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=() if QUICK.get(name) == len(size) else pytest.mark.slow)
        for name, size in CASES
    ],
)
def test_onnx_computes_what_torch_computes(name: str, size: tuple[int, ...], tmp_path: Path) -> None:
    network = build_model(NETWORKS[name], in_channels=1, num_classes=3, ndim=len(size), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(20):  # running statistics as after training, without which logits may be huge
            network(torch.randn(2, 1, *size, generator=generator))
    network.eval()
    x = torch.randn(3, 1, *size, generator=generator)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself; what counts is the comparison
        program = torch.onnx.export(
            network, (x[:2],), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
        )
        assert program is not None
        program.save(str(path))
    runtime = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(x)
    for batch in (3, 1):
        [logits] = runtime.run(None, {runtime.get_inputs()[0].name: x[:batch].numpy()})
        error = (torch.from_numpy(logits) - expected[:batch]).abs().max() / expected.abs().max()
        assert error < 1e-4  # float32 sums in another order, over up to 50 layers
