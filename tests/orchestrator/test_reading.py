"""What a search is said to be that no driver leads."""

import pytest

from orchestrator.engine.events import Event, epoch
from orchestrator.engine.objective import Objective
from orchestrator.engine.state import State
from orchestrator.errors import ExtensionError
from orchestrator.journal import Journal
from orchestrator.reading import extend, latest_result, resting
from orchestrator.winners import recorded_metrics
from workers.contract import EpochResult

LEADING = ("leading", {"driver": {}, "fence": 1})
PAUSE = ("noted", {"kind": "pause", "data": {"by": "me"}})
RESULT = ("noted", {"kind": "result", "data": {"split": "test"}})
MORE = ("extended", {"trials": 1, "wall_s": 0.0, "worker_hours": 0.0, "by": "me"})
VERDICT = ("trial_ended", {"trial": 0})  # of a trial that had nothing left to train when it was paused


def events(*story: tuple[str, dict[str, object]]) -> list[Event]:
    opened = ("opened", {"job": {"retrain": {"top": 1}}})
    return [Event(n, kind, 1, 0.0, body) for n, (kind, body) in enumerate((opened, *story), 1)]  # type: ignore[arg-type]  # made up


@pytest.mark.parametrize(
    ("story", "state"),
    [
        ((LEADING,), "interrupted"),
        ((LEADING, PAUSE), "paused"),
        ((LEADING, PAUSE, VERDICT), "paused"),
        ((LEADING, PAUSE, LEADING), "interrupted"),
        ((LEADING, RESULT), "finished"),
        ((LEADING, RESULT, MORE), "interrupted"),
    ],
)
def test_state_of_a_search_without_a_driver(
    story: tuple[tuple[str, dict[str, object]], ...], state: str
) -> None:
    assert resting(events(*story), State((Objective("dice"),))) == state


def test_a_result_counts_until_the_search_is_extended() -> None:
    assert latest_result(events(LEADING, RESULT)) == {"split": "test"}
    assert latest_result(events(LEADING, RESULT, MORE)) is None


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "nothing is added"),
        ({"trials": -1}, "nothing is added"),
        ({"wall": "soon"}, "wall: expected a time such as"),
    ],
)
def test_an_extension_by_nothing_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, more: dict[str, object], sentence: str
) -> None:
    monkeypatch.setenv("SEGSEARCH_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    from orchestrator.engine import events as made

    journal = Journal(f"sqlite:///{tmp_path}/journal.db")
    job = {"objectives": {"maximize": ["dice"]}, "retrain": {"top": 1}}
    journal.create("s", [made.opened(job, "d", protocol={}, versions={}, seed=0)])
    with pytest.raises(ExtensionError, match=sentence):
        extend("s", **more)  # type: ignore[arg-type]  # one of several keywords
    assert journal.inbox("s") == []
    journal.close()


def test_a_proof_does_not_measure_the_latency_again() -> None:
    result = EpochResult("s", 0, 1, 1, 0.5, {"dice": 0.5, "latency_ms": 3.0}, 1.0, 0.9, 0.0, "c")
    draft = epoch(result)
    written = [Event(1, draft.kind, draft.version, 0.0, draft.body)]
    assert recorded_metrics(written, 0) == {"dice": 0.5}
    assert recorded_metrics(written, 1) == {}
