"""Every entry can be exported inside a network: the real exporter, the real runtime, another batch size."""

import warnings
from pathlib import Path

import onnxruntime
import pytest
import torch
from entries import PARTS, architecture_with, example, skip_impossible

from search_spaces.network import build_model
from search_spaces.register import Entry

pytestmark = pytest.mark.slow  # a few seconds each, several minutes together


@pytest.mark.parametrize("size", [(48, 40), (16, 32, 16)], ids=str)
@pytest.mark.parametrize(("part", "family", "kind"), PARTS, ids=str)
def test_onnx_computes_what_torch_computes(
    part: str, family: type[Entry], kind: str, size: tuple[int, ...], tmp_path: Path
) -> None:
    entry = example(family, kind)
    skip_impossible(entry, len(size))
    network = build_model(
        architecture_with(part, entry), in_channels=1, num_classes=3, ndim=len(size), seed=0
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(10):  # running statistics as after training, without which logits may be huge
            network(torch.randn(2, 1, *size, generator=generator))
    network.eval()
    x = torch.randn(3, 1, *size, generator=generator)
    path = str(tmp_path / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself; what counts is the comparison
        program = torch.onnx.export(
            network, (x[:2],), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
        )
        assert program is not None
        program.save(path)
    runtime = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(x)
    for batch in (3, 1):
        [logits] = runtime.run(None, {runtime.get_inputs()[0].name: x[:batch].numpy()})
        error = (torch.from_numpy(logits) - expected[:batch]).abs().max() / expected.abs().max()
        assert error < 1e-4  # float32 sums in another order, over many layers
