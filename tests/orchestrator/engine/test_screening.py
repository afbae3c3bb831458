"""Screening: which proposals are turned down for their zero-cost score, and that a replay computes none."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from orchestrator.engine.engine import Engine
from orchestrator.engine.screening import Screening, num_dropped
from search_spaces.candidate import Candidate, from_json

LOWEST = -math.inf


class Score:
    """Counts how often it is asked; likes small learning rates."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, candidate: Candidate) -> float:
        self.asked += 1
        return -candidate.recipe.learning_rate


def bodies(driver: Any) -> list[dict[str, Any]]:
    """Proposals in order."""
    return [
        event.body
        for event in driver.log.events
        if event.kind == "rejected" or (event.kind == "asked" and event.body["purpose"] == "search")
    ]


def screened(
    toys: SimpleNamespace, score: Any = None, *, drop: float = 0.25, among: int = 8, **more: Any
) -> Any:
    return toys.Driver(toys.settings(screening=Screening("rate", drop, among, score or Score()), **more))


def test_a_pool_drops_its_share_rounded_down_and_lets_ties_pass() -> None:
    half = Screening("s", 0.5, 4, lambda _: 0.0)
    assert half.bar(5.0, [1.0, 2.0, 3.0]) == 3.0
    assert half.bar(5.0, []) == 5.0  # a pool of one drops nothing
    assert half.bar(5.0, [1.0, 2.0]) == 2.0  # one of three
    assert half.bar(1.0, [1.0, 1.0, 1.0]) == 1.0  # equal scores pass
    assert [num_dropped(0.25, n) for n in (1, 3, 4, 7, 8)] == [0, 0, 1, 1, 2]
    assert num_dropped(0.29, 100) == 29


def test_proposals_are_judged_as_a_slow_reading_of_the_events_says(toys: SimpleNamespace) -> None:
    """Each scored proposal against the seven scored ones before it, worked out anew from the journal."""
    driver = screened(toys, trials=40)
    assert driver.run() == "trials"
    earlier: dict[str, float] = {}
    dropped = 0
    for body in bodies(driver):
        if body.get("reason") == "duplicate":
            continue
        low = body.get("reason") == "score"
        score = body["value"] if low else body["profile"]["rate"]
        assert score == -from_json(Candidate, body["candidate"]).recipe.learning_rate
        others = [value for digest, value in earlier.items() if digest != body["digest"]][-7:]
        pool = sorted([*others, score])
        bar = pool[len(pool) // 4]
        assert low == (score < bar)
        if low:
            dropped += 1
            assert (body["limit"], body["allowed"]) == ("rate", bar)
            assert body["message"].startswith(
                f"rate {score:,.6g} is below {bar:,.6g}, the lowest that passes"
            )
        earlier.pop(body["digest"], None)
        earlier[body["digest"]] = score
    state = driver.engine.state
    assert state.rejections["score"] == dropped
    assert 5 <= dropped <= 25  # of about 53 proposals a quarter is 13
    assert len(state.searched) == 40


def test_decisions_are_replayed_without_a_score(toys: SimpleNamespace) -> None:
    """A driver that was killed anywhere proposes what the one that lived did, and measures only new proposals."""
    whole = screened(toys, trials=20)
    whole.run()
    for cut in (30, 60, 90):
        first = screened(toys, trials=20)
        first.run(until=cut)
        score = Score()
        engine = Engine(replace(first.settings, screening=Screening("rate", 0.25, 8, score)))
        engine.replay(first.log.events)
        assert score.asked == 0
        known = len(bodies(first))
        again = toys.Driver(engine.settings, log=first.log, now=first.now, fence=first.fence)
        again.run()
        assert score.asked == sum(body.get("reason") != "duplicate" for body in bodies(again)[known:])
        assert [body["digest"] for body in bodies(again)] == [body["digest"] for body in bodies(whole)]


def test_a_sampler_whose_proposals_all_score_low_has_its_way_after_seven(toys: SimpleNamespace) -> None:
    """Each score is lower than all before it, so every full pool would drop it."""
    falling = iter(range(0, -1000, -1))
    driver = screened(toys, lambda _: float(next(falling)), trials=8)
    assert driver.run() == "trials"
    reasons = "".join("r" if body.get("reason") == "score" else "t" for body in bodies(driver))
    assert reasons == "ttt" + 5 * "rrrrrrrt"  # pools of one to three drop nothing
    assert all(body["source"] == "random" for body in bodies(driver))


def test_a_score_of_minus_infinity_is_turned_down_and_no_number(toys: SimpleNamespace) -> None:
    driver = screened(toys, lambda c: LOWEST if c.recipe.optimiser == "sgd" else 1.0, trials=12)
    driver.run()
    low = [body for body in bodies(driver) if body.get("reason") == "score"]
    assert low and all((body["value"], body["allowed"]) == (None, None) for body in low)
    assert all("answers all images alike" in body["message"] for body in low)
    assert {from_json(Candidate, t.candidate).recipe.optimiser for t in driver.engine.state.trials} == {
        "adamw"
    }
    assert all(trial.profile["rate"] == 1.0 for trial in driver.engine.state.trials)


def test_a_search_of_useless_networks_ends_and_says_why(toys: SimpleNamespace) -> None:
    driver = screened(toys, lambda _: LOWEST)
    assert driver.run() == "exhausted"
    assert driver.log.events[-1].body["message"] == "search.screening turned down 200 for their score"


def preset(toys: SimpleNamespace, rate: float) -> Candidate:
    recipe = replace(toys.base.recipe, optimiser="adamw", learning_rate=rate, weight_decay=0.01)
    return replace(toys.base, recipe=replace(recipe, augmentation=type(recipe.augmentation)()))


def test_presets_are_neither_scored_nor_dropped_and_set_no_bar(toys: SimpleNamespace) -> None:
    """The third is worst of all; the first two would be a bar that no other passes, as a pool of four drops two."""
    presets = tuple((f"preset {n}", preset(toys, rate)) for n, rate in enumerate((1e-4, 1.1e-4, 0.099)))
    score = Score()
    driver = screened(toys, score, drop=0.5, among=4, trials=4, presets=presets, gate=lambda _: {"rate": 1e9})
    driver.run()
    first = bodies(driver)[:4]
    assert [body["name"] for body in first[:3]] == ["preset 0", "preset 1", "preset 2"]
    assert all(body["source"] == "preset" and body["profile"]["rate"] == 1e9 for body in first[:3])
    assert score.asked == 1 and first[3]["source"] == "random"  # the pool holds it alone


def test_what_was_turned_down_teaches_the_sampler(toys: SimpleNamespace) -> None:
    """As a proposal beyond a limit does; and no limit of the job was closest to it."""
    driver = screened(toys, trials=20)
    driver.run()
    state = driver.engine.state
    seen = driver.engine._memory.history(state).observations
    assert sum(item.state == "rejected" for item in seen) == state.rejections["score"] > 0
    assert not state.closest


def test_limits_are_checked_before_the_score(toys: SimpleNamespace) -> None:
    score = Score()
    driver = screened(
        toys, score, trials=8, constraints={"macs": 1.0},
        gate=lambda c: {"macs": 2.0 if c.recipe.optimiser == "sgd" else 1.0},
    )  # fmt: skip
    driver.run()
    reasons = [body.get("reason") for body in bodies(driver)]
    assert reasons.count("constraint") > 0
    assert score.asked == len(reasons) - reasons.count("constraint") - reasons.count("duplicate")
