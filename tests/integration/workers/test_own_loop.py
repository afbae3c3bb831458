"""The reader in a training loop of one's own: the same batches on any ranks, with any loader processes, from any step on."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.preprocessing import Preprocessing
from search_spaces.recipe import Augmentation
from workers.batches import Batch, TrainingSet, batches
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit

ROOT = Path(__file__).parents[3]
EPOCHS = 2
ALL = Augmentation(flip=True, rotate_deg=20, zoom=0.2, intensity=0.2, noise=0.1)


@pytest.fixture(scope="module")
def location(small_dataset: Path) -> str:
    return str(small_dataset)


@pytest.fixture(scope="module")
def training(location: str) -> TrainingSet:
    """Four steps an epoch, with maps."""
    dataset = open_dataset(location)
    return TrainingSet(
        cases=PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest)),
        view=DataView(location, dataset.digest, "slices", (24, 24), 4, epoch_samples=18),
        augmentation=ALL,
        symmetries=dataset.symmetries,
        ignore_index=dataset.manifest.ignore_index,
        seed=3,
        needs=frozenset(("distance",)),
        num_classes=dataset.num_classes,
    )


@pytest.fixture(scope="module")
def undisturbed(training: TrainingSet) -> list[Batch]:
    return list(batches(training, range(1, EPOCHS + 1)))


def same(one: Batch, other: Batch) -> bool:
    maps = one[2].keys() == other[2].keys() and all(
        torch.equal(one[2][name], other[2][name]) for name in one[2]
    )
    return maps and torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def together(parts: tuple[Batch, ...]) -> Batch:
    images, labels, maps = zip(*parts, strict=True)
    return (
        torch.cat(images),
        torch.cat(labels),
        {name: torch.cat([each[name] for each in maps]) for name in maps[0]},
    )


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 3 worker processes"
)  # more than this machine has cores
@pytest.mark.parametrize(
    ("workers", "ranks"),
    [
        *[(0, 1), (0, 2), (0, 4), (1, 2), (3, 1)],
        *[pytest.param(*both, marks=pytest.mark.slow) for both in ((1, 1), (1, 4), (3, 2), (3, 4))],
    ],
)
def test_resumed_at_every_step(
    training: TrainingSet,
    undisturbed: list[Batch],
    workers: int,
    ranks: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps, compared = training.steps, 0
    assert (steps, len(undisturbed)) == (4, 8)
    for done in range(EPOCHS * steps):
        epoch, step = 1 + done // steps, done % steps
        shares = [
            batches(
                replace(training, rank=rank, ranks=ranks),
                range(epoch, EPOCHS + 1),
                first_step=step,
                loader_workers=workers,
            )
            for rank in range(ranks)
        ]
        for parts, expected in zip(zip(*shares, strict=True), undisturbed[done:], strict=True):
            assert same(together(parts), expected)
            compared += 1
    with capsys.disabled():
        print(
            f"\n{workers} workers, {ranks} ranks: {EPOCHS * steps} resumes, {compared} of {compared} batches equal"
        )


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns where threads run
@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"], indirect=True)
def test_loader_processes_of_any_kind(
    training: TrainingSet, undisturbed: list[Batch], start_method: str
) -> None:
    found = batches(training, range(1, 2), first_step=1, loader_workers=1)
    for expected in undisturbed[1 : training.steps]:
        assert same(next(found), expected)
    started = time.monotonic()
    assert next(found, None) is None
    assert time.monotonic() - started < 10
    assert not multiprocessing.active_children()


def test_the_loop_of_the_document(location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run as it stands, where the data set that it names lies, with a train step that looks at what it is given."""
    text = (ROOT / "docs" / "data-format.md").read_text(encoding="utf-8")
    part = text.partition("## A loop of your own")[2].partition("\n## ")[0]
    lines = [line[4:] for line in part.splitlines() if line.startswith("    ") or not line]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hippocampus").symlink_to(location)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen: list[tuple[torch.Size, torch.Size]] = []
    names: dict[str, Any] = {"train": lambda images, labels: seen.append((images.shape, labels.shape))}
    exec("\n".join(lines), names)
    assert seen == [((8, 1, 64, 64), (8, 64, 64))] * 40
    assert (names["epoch"], names["step"]) == (3, 0)
