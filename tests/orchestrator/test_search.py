"""What a driver does with results: checkpoints that nobody needs any more are removed, those of waiting children stay."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Event
from orchestrator.engine.objective import Objective
from orchestrator.engine.state import State
from orchestrator.search import _sweep, _take
from workers.checkpoint import MANIFEST, checkpoint_prefix, load_checkpoint, save_checkpoint
from workers.contract import EpochResult, LegResult
from workers.errors import CheckpointError


class Searching:
    """A session whose engine writes down what it is told and decides nothing."""

    def __init__(self, storage: Path) -> None:
        self.storage, self.state = str(storage), State((Objective("dice"),))
        self.session: Any = SimpleNamespace(
            engine=self, record=self.write, running=set(), executor=SimpleNamespace(stop=lambda trial: None)
        )
        self.write([events.opened({}, "d", protocol={}, versions={}, seed=0)])

    def write(self, drafts: Any, *, at: float | None = None) -> None:
        for draft in drafts:
            self.state.apply(Event(self.state.seq + 1, draft.kind, draft.version, time.time(), draft.body))

    def report(self, result: EpochResult, now: float) -> Any:
        return SimpleNamespace(drafts=[events.epoch(result)], stop=False)

    def tell(self, result: LegResult, now: float) -> list[Draft]:
        verdict = events.trial_ended(result.trial, "diverged", value=None, epoch=result.epoch)
        return [events.leg_ended(result), *([verdict] if result.status == "diverged" else [])]

    def begin(self, trial: int, parent: tuple[int, int, str] | None = None) -> None:
        """A trial is asked and its first leg handed out."""
        named = None if parent is None else dict(zip(("trial", "epoch", "checkpoint"), parent, strict=True))
        draft = events.asked(
            trial, {}, name="", digest=str(trial), trace={}, seed=0, source="sampler", purpose="search", to_epoch=9,
            max_epochs=9, profile={}, share=1.0, parent=named,
        )  # fmt: skip
        self.write([draft])
        leg = {"first_epoch": 0, "last_epoch": 9, "checkpoint": None, "micro_batches": 1, "share": 1.0}
        self.write([Draft("leg_started", {"trial": trial, "fence": trial + 1, **leg}, version=2)])

    def epoch(self, trial: int, epoch: int) -> str:
        """A trial's leg reports an epoch; its checkpoint."""
        place = self.save(trial, epoch)
        told = {"metrics": {"dice": 0.5}, "seconds": 1.0, "train_seconds": 1.0, "at": 0.0, "loss": 1.0}
        result = EpochResult("s", trial, trial + 1, epoch, checkpoint=place, **told)  # type: ignore[arg-type]  # a keyword each
        _take(self.session, result)
        return place

    def save(self, trial: int, epoch: int) -> str:
        """A worker commits a checkpoint, and its driver does not hear of it."""
        key = checkpoint_prefix(trial, trial + 1, epoch)
        return save_checkpoint(self.storage, key, {"w": torch.zeros(1)}, {})

    def end(self, trial: int, status: Any) -> None:
        """A trial's leg ends."""
        _take(self.session, LegResult("s", trial, trial + 1, status, 0, 1.0, 0.0))


def is_there(place: str) -> bool:
    try:
        load_checkpoint(place)
    except CheckpointError:
        return False
    return True


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    return Searching(tmp_path)


def test_an_epoch_makes_the_checkpoint_before_it_superfluous(searching: Searching) -> None:
    searching.begin(0)
    first, second = searching.epoch(0, 1), searching.epoch(0, 2)
    assert not is_there(first) and is_there(second)


def test_a_checkpoint_stays_until_the_last_child_has_begun(searching: Searching) -> None:
    searching.begin(0)
    first = searching.epoch(0, 1)
    searching.begin(1, (0, 1, first))
    searching.begin(2, (0, 1, first))
    second = searching.epoch(0, 2)
    assert is_there(first) and is_there(second)  # both children may still be handed out again
    searching.epoch(1, 1)
    assert is_there(first)
    searching.end(2, "diverged")
    assert not is_there(first) and is_there(second)


def test_the_newest_checkpoint_of_a_parent_is_its_own(searching: Searching) -> None:
    searching.begin(0)
    first = searching.epoch(0, 1)
    searching.begin(1, (0, 1, first))
    mine = searching.epoch(1, 1)
    assert is_there(first) and is_there(mine)
    searching.epoch(0, 2)
    assert not is_there(first)


def test_a_broken_leg_of_a_child_needs_the_checkpoint_again(searching: Searching) -> None:
    searching.begin(0)
    first = searching.epoch(0, 1)
    searching.begin(1, (0, 1, first))
    searching.epoch(0, 2)
    searching.end(1, "failed")
    assert is_there(first)


def test_what_a_dead_driver_left_behind_is_removed_and_nothing_else(searching: Searching) -> None:
    """Killed after it wrote of epoch 2 and before it removed epoch 1; its worker had just begun to write epoch 3."""
    for trial in range(3):
        searching.begin(trial)
    parent = searching.epoch(1, 1)
    searching.begin(3, (1, 1, parent))
    other = searching.epoch(2, 1)
    first, second = searching.save(0, 1), searching.epoch(0, 2)
    (Path(searching.save(0, 3)) / MANIFEST).unlink()
    later = searching.epoch(1, 2)
    again = searching.save(1, 5)
    waiting = searching.save(2, 7)
    _sweep(searching.state, searching.storage, [searching.state.trials[number] for number in (0, 3)])
    assert [is_there(place) for place in (first, second, parent, later, again)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert is_there(other) and is_there(waiting)  # a trial that nobody lost is left alone
    assert sorted(path.name for path in (Path(searching.storage) / "checkpoints" / "trial-00000").glob("*/*/*")) == [
        "MANIFEST.json", "state.json", "tensors.safetensors",
    ]  # fmt: skip


def test_a_storage_seen_under_another_name_loses_nothing(searching: Searching, tmp_path: Path) -> None:
    searching.begin(0)
    newest = searching.epoch(0, 1)
    (tmp_path / "link").symlink_to(searching.storage)
    _sweep(searching.state, str(tmp_path / "link"), searching.state.trials)
    assert is_there(newest)
