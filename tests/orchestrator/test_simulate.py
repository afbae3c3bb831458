"""Searches played on a table: the engine's own decisions, in virtual time, on made-up curves."""

import copy
import random
import statistics
from dataclasses import replace

import pytest

from orchestrator.engine.objective import Objective
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.screening import Screening
from orchestrator.engine.settings import EngineSettings, Scheduler
from orchestrator.playground import Playground
from orchestrator.simulate import interval, simulate
from orchestrator.table import Origin, RecordedEpoch, Table, Training
from search_spaces.candidate import digest, to_json
from search_spaces.preset import preset_candidates
from search_spaces.register import kinds, lookup
from search_spaces.space import decode, encode, load_space, sample

SPACE = load_space("compact")
EPOCHS = 9


def made(
    candidate: object, quality: float, seconds: float, *, seed: int = 0, status: str = "completed"
) -> Training:
    """A curve that rises to its quality; epochs of equal length."""
    curve = [
        RecordedEpoch({"dice": quality * (1 - 0.5**epoch)}, 0.5, seconds) for epoch in range(1, EPOCHS + 1)
    ]
    broke = status != "completed"
    return Training(
        # a status as text
        to_json(candidate), encode(SPACE, candidate), digest(candidate), "", seed, 1e5, 1e7, status,  # type: ignore[arg-type]
        0.5, tuple(curve[:2] if broke else curve), seconds if broke else 0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Table:
    """Forty candidates; those with batch norm are better, the last of all is best, one breaks down."""
    rng = random.Random(3)
    trainings = []
    for number in range(40):
        candidate = sample(SPACE, rng)
        quality = 0.3 + 0.2 * (candidate.architecture.norm == "batch") + 0.1 * rng.random()
        status = "diverged" if number == 5 else "completed"
        trainings.append(made(candidate, 0.9 if number == 39 else quality, 1.0 + rng.random(), status=status))
    return Table(Origin("compact", {}, "d", {"max_epochs": EPOCHS}, {}), tuple(trainings))


@pytest.fixture(scope="module")
def playground(table: Table) -> Playground:
    return Playground(SPACE, table)


def settings(kind: str = "random", **changes: object) -> EngineSettings:
    known = {
        "space": SPACE, "objectives": (Objective("dice"),), "sampler": lookup(Sampler, kind)(),
        "scheduler": Scheduler("asha", max_epochs=EPOCHS),
    }  # fmt: skip
    return EngineSettings(**{**known, **changes})  # type: ignore[arg-type]  # a keyword each


def test_a_search_that_trains_everything_finds_the_best_and_costs_what_was_recorded(
    playground: Playground, table: Table
) -> None:
    played = playground.play(settings(scheduler=Scheduler("none", max_epochs=EPOCHS), trials=1000), workers=1)
    assert played.trials == 40 and played.moved == played.predicted == 0
    assert played.epochs == 39 * EPOCHS + 2
    assert played.worker_s == pytest.approx(sum(training.seconds for training in table.trainings))
    assert played.wall_s == pytest.approx(played.worker_s)
    assert played.steps[-1].best == pytest.approx(0.9 * (1 - 0.5**EPOCHS))
    assert [step.best for step in played.steps] == sorted(step.best for step in played.steps)
    assert played.best_after(played.steps[2].worker_s) == played.steps[2].best
    assert played.cost_of(played.steps[3].best, 1.0) == played.steps[3].worker_s
    assert played.best_after(0.0) is None and played.cost_of(2.0, 1.0) is None


def test_candidates_of_a_table_that_were_written_otherwise_are_those_of_the_space(table: Table) -> None:
    """What changes nothing may have been written out: here a widest stage that no stage is as wide as."""
    known = table.trainings[0]
    written = copy.deepcopy(known.candidate)
    encoder = written["architecture"]["encoder"]
    encoder["widest"] = 8 * encoder["width"] * 2 ** encoder["stages"]
    trainings = (replace(known, candidate=written),)
    place = Playground(SPACE, Table(table.origin, trainings))
    candidate = decode(SPACE, known.trace)
    encoder["widest"] = encoder["width"] * 2 ** (encoder["stages"] - 1)
    assert to_json(candidate) == written
    assert place.candidates == [candidate] and candidate in place.profiles


@pytest.mark.parametrize("kind", sorted({*kinds(Sampler)} - {"gp"}))
def test_every_sampler_can_be_simulated_and_repeats(playground: Playground, kind: str) -> None:
    one = playground.play(settings(kind, trials=22, seed=4), workers=2)
    assert one.trials == 22 and one.finish == "trials"
    assert playground.play(settings(kind, trials=22, seed=4), workers=2) == one


def test_successive_halving_is_cheaper_than_training_everything(playground: Playground) -> None:
    whole = playground.play(settings(scheduler=Scheduler("none", max_epochs=EPOCHS), trials=40), workers=2)
    halved = playground.play(settings(trials=40), workers=2)
    assert halved.worker_s < 0.6 * whole.worker_s
    assert halved.wall_s < halved.worker_s


def test_limits_are_judged_by_recorded_numbers_and_several_seeds_are_used_in_turn(table: Table) -> None:
    first = table.trainings[0]
    large = replace(table.trainings[1], parameters=9e6)
    other = replace(first, seed=1, epochs=tuple(replace(e, metrics={"dice": 0.01}) for e in first.epochs))
    place = Playground(SPACE, Table(table.origin, (first, other, large)))
    whole = Scheduler("none", max_epochs=EPOCHS)
    bests = [
        place.play(
            settings(constraints={"parameters": 1e6}, seed=seed, scheduler=whole, trials=1), workers=1
        ).steps[-1].best
        for seed in (0, 1)
    ]  # fmt: skip
    assert bests == [first.epochs[-1].metrics["dice"], 0.01]


def test_what_the_table_lacks_is_predicted_where_that_is_asked_for(table: Table) -> None:
    place = Playground(SPACE, table, predict=True)
    presets = tuple(preset_candidates(SPACE))
    played = place.play(settings("mixed", trials=30, presets=presets), workers=2)
    assert played.predicted == played.trials == 30 and played.moved == 0
    assert played.steps[-1].best <= 0.9


def test_a_summary_means_over_seeds(playground: Playground) -> None:
    summary = simulate(playground, settings(trials=12), workers=2, seeds=6)
    facts = summary.to_json()
    assert (facts["candidates_in_table"], facts["trainings_in_table"], facts["seeds"]) == (40, 40, 6)
    assert facts["trials"] == 12
    last = summary.budgets[-1]
    bests = [played.steps[-1].best for played in summary.played]
    assert last.best == pytest.approx(statistics.mean(bests)) and last.low <= last.best <= last.high
    means = [budget.best for budget in summary.budgets]
    assert means == sorted(means)


def test_the_interval_of_equal_values_is_a_point_and_of_others_holds_their_mean() -> None:
    assert interval([0.5] * 8) == (0.5, 0.5)
    low, high = interval([0.0, 1.0] * 20)
    assert 0.3 < low < 0.5 < high < 0.7


def screened(table: Table) -> Screening:
    """By the quality itself: the worst are not trained."""
    quality = {training.digest: training.epochs[0].metrics["dice"] for training in table.trainings}
    return Screening("quality", 0.5, 8, lambda candidate: quality[digest(candidate)])


def test_a_screened_search_ends_when_nothing_of_the_table_is_left(
    playground: Playground, table: Table
) -> None:
    scheduler = Scheduler("none", max_epochs=EPOCHS)
    asked = settings(screening=screened(table), scheduler=scheduler, trials=1000)
    played = playground.play(asked, workers=1)
    assert played.finish == "exhausted" and 15 <= played.trials <= 30  # of 40
    assert played.steps[-1].best == pytest.approx(0.9 * (1 - 0.5**EPOCHS))


@pytest.mark.parametrize("kind", ["random", "tpe", "mixed"])
def test_a_screened_search_repeats_and_trains_better_candidates(
    playground: Playground, table: Table, kind: str
) -> None:
    """With a score that knows, ten trials reach in the first epochs what ten of a plain search do not."""
    plain = settings(kind, scheduler=Scheduler("none", max_epochs=EPOCHS), trials=10)
    asked = replace(plain, screening=screened(table))
    assert playground.play(asked, workers=2) == playground.play(asked, workers=2)
    found = [
        statistics.mean(
            playground.play(replace(one, seed=seed), workers=2).steps[-1].best for seed in range(4)
        )
        for one in (plain, asked)
    ]
    assert found[1] > found[0]


def test_a_limit_on_memory_is_kept_in_a_simulation(playground: Playground, table: Table) -> None:
    """Tables hold no memory, so the job's own gate tells it."""
    order = list(table.by_digest)
    asked = settings(
        constraints={"memory_bytes": 29.5},
        gate=lambda candidate: {"memory_bytes": float(order.index(digest(candidate)))},
        scheduler=Scheduler("none", max_epochs=EPOCHS), trials=8, seed=1,
    )  # fmt: skip
    played = playground.play(asked, workers=1)
    best = max(t.epochs[-1].metrics["dice"] for t in table.trainings[:30])
    assert played.trials == 8 and played.steps[-1].best <= best
