"""The profile ``decoded`` in training: arrays stay in their shard until a window is cut out of them."""

from pathlib import Path

import pytest
import torch

from search_spaces.preprocessing import Preprocessing
from search_spaces.recipe import Augmentation
from workers import prepared_cases
from workers.batches import TrainingSet
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit


@pytest.mark.filterwarnings("error:The given NumPy array:UserWarning")
@pytest.mark.parametrize("kind", ["scans", "shots"])
def test_arrays_that_stay_in_their_shard_give_the_same_batches(
    kind: str,
    request: pytest.FixtureRequest,
    red_pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a node that can keep no prepared case, too: what is read-only is never written into."""
    view: DataView = request.getfixturevalue(kind)
    source = red_pictures if kind == "shots" else Path(view.dataset).parent / "raw"
    ingest(source, str(tmp_path / "decoded"), profile="decoded")
    sets = {"encoded": open_dataset(view.dataset), "decoded": open_dataset(str(tmp_path / "decoded"))}
    fitted = fit(Preprocessing(), sets["encoded"].manifest)
    monkeypatch.setattr(prepared_cases._CaseFile, "save", lambda file, case: False)
    found = {}
    for name, dataset in sets.items():
        cases = PreparedCases(dataset, "train", fitted, tmp_path / name)
        assert cases[0].pixels.flags.writeable == (name == "encoded")
        change = Augmentation(flip=True, zoom=0.2, intensity=0.1)
        training = TrainingSet(cases, view, change, dataset.symmetries, dataset.manifest.ignore_index, seed=3)
        found[name] = [training.batch(epoch, step) for epoch in (1, 2) for step in range(training.steps)]
    for one, other in zip(found["encoded"], found["decoded"], strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
