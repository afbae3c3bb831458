"""An audit finds each kind of damage in a journal that is otherwise whole."""

from collections.abc import Callable

import pytest

from orchestrator.audit import faults
from orchestrator.engine.events import Event

Story = list[tuple[str, dict[str, object]]]

WHOLE: Story = [
    ("opened", {}),
    ("leading", {"fence": 1}),
    ("asked", {"trial": 0, "purpose": "search", "parent": None}),
    ("leg_started", {"trial": 0, "fence": 1}),
    ("epoch", {"trial": 0, "fence": 1, "epoch": 1, "checkpoint": "a"}),
    ("leading", {"fence": 2}),
    ("leg_started", {"trial": 0, "fence": 2}),
    ("epoch", {"trial": 0, "fence": 2, "epoch": 2, "checkpoint": "b"}),
    ("leg_ended", {"trial": 0, "fence": 2}),
    ("trial_ended", {"trial": 0, "verdict": "completed", "message": ""}),
    ("finished", {}),
]


def events(story: Story) -> list[Event]:
    # kinds are literals there
    return [Event(seq, kind, 1, 0.0, body) for seq, (kind, body) in enumerate(story, start=1)]  # type: ignore[arg-type]


def change(place: int, **fields: object) -> Callable[[Story], Story]:
    return lambda story: [
        (kind, {**body, **fields} if number == place else body) for number, (kind, body) in enumerate(story)
    ]


def drop(place: int) -> Callable[[Story], Story]:
    return lambda story: story[:place] + story[place + 1 :]


def twice(place: int) -> Callable[[Story], Story]:
    return lambda story: [*story[: place + 1], *story[place:]]


def test_a_whole_search_has_no_fault() -> None:
    assert faults(events(WHOLE), files=False) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (drop(9), "trial 0 has no verdict although the search is over."),
        (twice(9), "trial 0 has 2 verdicts."),
        (change(7, epoch=3), "trial 0 reports epoch 3 after epoch 1."),
        (change(7, epoch=1), "trial 0 reports epoch 1 after epoch 1."),
        (drop(5), "trial 0 got leg 2 while leg 1 had it."),
        (change(7, fence=1), "event 8: leg 1 reports on trial 0, which it did not have."),
        (twice(8), "event 10: leg 2 reports on trial 0, which it did not have."),
        (change(6, fence=1), "leg 1 was handed out after leg 1."),
    ],
)
def test_each_damage_is_named(damage: Callable[[Story], Story], sentence: str) -> None:
    assert sentence in faults(events(damage(WHOLE)), files=False)


def test_a_trial_that_an_extension_takes_up_again_may_have_a_second_verdict() -> None:
    ended = ("trial_ended", {"trial": 0, "verdict": "stopped", "message": "not promoted"})
    story: Story = [*WHOLE[:9], ended, ("finished", {}), ("extended", {})]
    assert faults(events([*story, ended, ("finished", {})]), files=False) == []
    assert faults(events([*story, ("finished", {})]), files=False) == [
        "trial 0 has no verdict although the search is over."
    ]
    without = [step for step in story if step[0] != "extended"]
    assert faults(events([*without, ended]), files=False) == ["trial 0 has 2 verdicts."]


def test_a_missing_event_is_named() -> None:
    assert faults(events(WHOLE)[1:], files=False)[0] == "event 2 stands in place 1."


def test_a_missing_checkpoint_is_named(tmp_path: object) -> None:
    story = change(7, checkpoint=f"{tmp_path}/nothing")(WHOLE)
    [fault] = faults(events(story))
    assert fault.startswith(f"trial 0: {tmp_path}/nothing: no MANIFEST.json")
