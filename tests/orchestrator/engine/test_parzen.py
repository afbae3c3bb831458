"""TPE in one division: what Optuna's own sampler suggests on a study of the same trials; and what of many it sees."""

import random
from types import SimpleNamespace

import pytest

from orchestrator.engine import parzen
from orchestrator.engine.parzen import BEST, ask_ranked
from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.samplers.tpe import TreeParzen
from search_spaces.space import Space, encode, load_space, sample

RUNGS = (1, 3, 9)


def history(space: Space, count: int, seed: int, *, several: bool = False) -> History:
    """Proposals as a search has them: scored at one to three rungs, some alike, turned down, broken down or running."""
    rng = random.Random(seed)

    def score() -> tuple[float, ...]:
        first = round(rng.random(), 1)
        return (first, -rng.random()) if several else (first,)

    seen = []
    for _ in range(count):
        trace, draw = encode(space, sample(space, rng)), rng.random()
        if draw < 0.15:
            seen.append(Observation(trace, "rejected", violation=round(rng.random(), 1) + 0.1))
        elif draw < 0.2:
            seen.append(Observation(trace, "failed", violation=1.0))
        else:
            scores = tuple((epoch, score()) for epoch in RUNGS[: rng.randrange(4)])
            state = "scored" if scores and draw < 0.9 else "running"
            seen.append(Observation(trace, state, scores))  # type: ignore[arg-type]  # one of its states
    return History(seen, RUNGS, 2 if several else 1)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("count", [25, 120])
def test_it_suggests_what_optuna_does(count: int, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    space, sampler = load_space("compact"), TreeParzen(startup=3, most=40)
    known = history(space, count, count, several=several)
    mine = [sampler.propose(space, known, seed=seed) for seed in range(4)]
    monkeypatch.setattr(parzen, "KNOWN", "none")  # another version of Optuna
    assert [sampler.propose(space, known, seed=seed) for seed in range(4)] == mine
    assert len(set(mine)) == 4


def test_of_many_it_sees_the_best_and_the_newest(
    toys: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 scored trials at most 100: the best 50, whenever they were, and of the others the newest 50."""
    known = history(toys.space, 500, 0)
    scored = [number for number, item in enumerate(known.observations) if item.scores and not item.violation]
    place = {
        number: (-item.scores[-1][0], -item.scores[-1][1][0], number)
        for number, item in enumerate(known.observations)
        if number in scored
    }
    best = sorted(scored, key=place.__getitem__)[:BEST]
    newest = [number for number in scored if number not in best][-50:]
    seen: dict[int, tuple[float, ...]] = {}
    monkeypatch.setattr(
        parzen, "_suggest", lambda space, history, scores, **_: seen.update(scores) or toys.base
    )
    ask_ranked(toys.space, known, draws=24, seed=0, most=100)
    assert len(scored) > 250 and sorted(seen) == sorted([*best, *newest])
    # Ranks keep the order.
    assert sorted(seen, key=lambda number: -seen[number][0]) == sorted(seen, key=place.__getitem__)


def test_what_it_leaves_out_changes_no_proposal_until_there_are_too_many(toys: SimpleNamespace) -> None:
    known = history(toys.space, 150, 1)
    scored = sum(1 for item in known.observations if item.scores and not item.violation)
    asked = [ask_ranked(toys.space, known, draws=24, seed=2, most=most) for most in (10**6, scored)]
    assert asked[0] == asked[1]


def test_the_good_ones_are_the_same_whatever_is_left_out(
    toys: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TPE takes a tenth of what it sees for good, at most 25."""
    known = history(toys.space, 600, 2)
    divided: list[dict[str, list[float]]] = []
    divide = parzen.OneDivision._divide
    monkeypatch.setattr(
        parzen.OneDivision,
        "_divide",
        lambda self, study: divided.append(found := divide(self, study)) or found,
    )
    for most in (10**6, 260):
        ask_ranked(toys.space, known, draws=24, seed=0, most=most)
    assert divided[0][0] == divided[1][0]
    assert divided[0][1] != divided[1][1]
