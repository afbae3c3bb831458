"""Synchronous halving looks at cohorts where something changed, and decides what it would if it looked at all of them."""

import random

import pytest

from orchestrator.engine.cohorts import Cohorts
from orchestrator.engine.objective import Vector
from orchestrator.engine.pausing import Pausing
from orchestrator.engine.rungs import Floor
from orchestrator.engine.schedule import Promotion
from orchestrator.engine.settings import Scheduler
from orchestrator.engine.trial import RunningLeg, Trial

SCHEDULER = Scheduler("halving", max_epochs=27)


class Everywhere(Pausing):
    """Halving that looks at every cohort for each decision."""

    def _synchronous(self, *, closing: bool) -> Promotion | None:
        for key in sorted(self._groups):
            group = self._groups[key]
            if group.members < self._cohort and not closing:
                continue
            for level in range(len(self._epochs) - 1):
                if group.rung(level).coming:
                    break
                found = self._judged(group, level, closing=True) or self._unjudged(group, level, closing=True)
                if found is not None:
                    return found
        return None


def running(number: int) -> Trial:
    return Trial(
        number=number, name="", candidate={}, digest=str(number), trace={}, seed=0, source="random", purpose="search",
        max_epochs=27, profile={"macs": float(number % 3)}, share=1.0, allowed=1, leg=RunningLeg(number, 1, 0.0),
    )  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_decisions_are_those_of_a_look_at_all_cohorts(seed: int, several: bool) -> None:
    """Scores that lie together at the bottom, now and then a lower or a higher one, so that the floor moves both ways."""
    rng = random.Random(seed)

    def score(epoch: int) -> Vector | None:
        draw = rng.random()
        if draw < 0.05:
            return None
        lifted = 2.0 ** rng.randrange(-4, 6) if draw < 0.15 else 1.0
        first = lifted * (rng.choice((0.0, 0.0, 0.005, 0.01, 0.02)) + (draw > 0.5) * rng.random() * epoch)
        return (first, -rng.random()) if several else (first,)

    fast, slow = Pausing(SCHEDULER), Everywhere(SCHEDULER)
    trials: list[Trial] = []
    floors, promotions, wanted = set(), 0, 150
    for _ in range(20_000):
        busy = [trial for trial in trials if trial.leg is not None]
        closing = len(trials) == wanted
        step = slow.step(closing=closing) if len(busy) < 12 else None
        if len(busy) < 12:
            assert fast.step(closing=closing) == step
        if step is not None:
            promotions += 1
            changed = trials[step.trial]
            changed.allowed, changed.leg = step.to_epoch, RunningLeg(0, step.to_epoch, 0.0)
        elif len(busy) < 12 and not closing:
            changed = running(len(trials))
            trials.append(changed)
        elif busy:
            changed = rng.choice(busy)
            changed.epoch += 1
            if (told := score(changed.epoch)) is not None:
                changed.scores[changed.epoch] = told
            if rng.random() < 0.02:
                changed.verdict, changed.leg = "diverged", None
            elif changed.epoch == changed.allowed:
                changed.leg = None
                changed.verdict = "completed" if changed.epoch == 27 else None
        else:
            break
        for tables in (fast, slow):
            tables.update(changed)
        floors.add(fast._floor.value)
    else:
        raise AssertionError("the search does not end")
    assert promotions > 30 and len(floors) > 3


def test_a_floor_opens_the_cohorts_whose_scores_it_passes() -> None:
    floor = Floor()
    cohorts = Cohorts(floor)
    for key, score in enumerate((0.1, 0.2, 0.3, 0.4)):
        cohorts.learn(key, (score,))
        cohorts.open(key)
    cohorts.learn(4, None)
    for key in range(4):
        assert cohorts.first() == key
        cohorts.close(key)
    assert cohorts.first() is None
    floor.value = 0.2  # the floor itself is on it
    assert cohorts.first() == 0
    cohorts.close(0)
    assert cohorts.first() == 1
    cohorts.close(1)
    floor.value = 0.35
    assert cohorts.first() == 2
    cohorts.close(2)
    floor.value = 0.3
    assert cohorts.first() is None
    floor.value = None
    assert cohorts.first() == 0
