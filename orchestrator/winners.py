"""From a finished search to a winner: retrain the best, train a preset for the same cost, export, and score on test cases.

Each step looks at the journal first and asks only for what is not there, so that it can be killed and resumed like a search.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.duration import duration_s
from orchestrator.engine import events
from orchestrator.engine.events import Event, Purpose
from orchestrator.engine.leaderboard import Row, finalists
from orchestrator.job import Retrain
from orchestrator.journal import Journal
from orchestrator.places import search_folder
from orchestrator.plan import Plan
from orchestrator.reading import PROBE, RESULT, epoch_bodies, latest_result
from orchestrator.search import Session, drive
from search_spaces.candidate import Candidate, from_json
from workers.checkpoint import load_checkpoint, trained_weights
from workers.contract import INHERITED, JSON
from workers.evaluate import Evaluation, evaluate
from workers.export import Trained, export
from workers.export_store import is_exported, making_export
from workers.latency import LATENCY
from workers.measure import measures
from workers.metrics import bootstrap_dice, dice_scores
from workers.network_file import build_network, describe_network
from workers.precision import BF16, MEASURED, STEP_MS
from workers.prepared_cases import PreparedCases, bricks_for
from workers.seeding import derive_seed, generator

FINAL_MEASURES = (
    "boundary",
    "calibration",
    "surface",
)  # of the final table, beside those that the job asks for
OF_ITS_TIME = frozenset({LATENCY, INHERITED, *MEASURED})  # metrics that no proof measures again
PROBE_EPOCHS = 2  # of a training on several slots: the second one tells what an epoch costs there


def find_winner(session: Session) -> JSON | None:
    """Retrain, compare, export; returns the result, or None where nothing can be retrained."""
    plan = session.plan
    known = latest_result(session.journal.read(plan.job.name))
    if known is not None:
        return known
    if plan.job.retrain.top == 0 or session.engine.state.stop_requested:
        return None
    ask_retraining(session, plan.job.retrain)
    drive(session)
    if not _completed(session, "retrain"):
        return None
    if plan.against is not None:
        _ask_baseline(session)
    result = conclude(session)
    session.record([events.noted(RESULT, result)])
    return result


def ask_retraining(session: Session, wish: Retrain) -> list[int]:
    """Ask for the best candidates of the search to be trained anew; the trials. Asking twice changes nothing.

    Where they are fewer than the slots of a node, each takes several, so that no core idles.
    """
    plan, engine = session.plan, session.engine
    best = finalists(session.rows("search"), wish.top)
    if not best:
        return []
    count = len(best) * wish.seeds
    share = float(max(1, plan.slots.whole // max(1, count)))
    lengths = _retraining_epochs(session, wish, best, share)
    trials = []
    for number in range(wish.seeds):
        for row, epochs in zip(best, lengths, strict=True):
            requested = engine.request(
                _candidate(session, row),
                seed=derive_seed(plan.settings.seed, "retrain", number) % 2**31,
                epochs=epochs,
                purpose="retrain",
                name=row.name,
                share=share,
            )
            session.record(requested.drafts)
            trials.append(requested.trial)
    return trials


def _retraining_epochs(session: Session, wish: Retrain, best: Sequence[Row], share: float) -> list[int]:
    """Epochs of each candidate's trainings; for ``wall``, by what an epoch costs on such a share of the slots."""
    plan, engine = session.plan, session.engine
    if wish.wall is None:
        return [wish.epochs or plan.settings.scheduler.max_epochs] * len(best)
    measured, left_s = [row.trial for row in best], duration_s(wish.wall)
    if share > 1:
        probes = [
            _ask_probe(session, _candidate(session, row), row.name, purpose="retrain", share=share)
            for row in best
        ]
        drive(session)
        whole = [engine.state.trials[probe].verdict == "completed" for probe in probes]
        measured = [p if done else trial for p, done, trial in zip(probes, whole, measured, strict=True)]
        left_s = max(left_s / 2, left_s - _wall_s(session, probes))  # half, where a driver died meanwhile
    rounds = math.ceil(len(best) * wish.seeds * share / plan.settings.slots)
    return [max(1, int(left_s / rounds / _epoch_s(session, trial))) for trial in measured]


def _ask_probe(session: Session, candidate: Candidate, name: str, *, purpose: Purpose, share: float) -> int:
    """Ask for so short a training that it tells what an epoch costs on a share of the slots; its trial.

    Its seed is no training's, or one of as many epochs would be the same trial.
    """
    seed = derive_seed(session.plan.settings.seed, f"{purpose} probe") % 2**31
    probe = session.engine.request(
        candidate, seed=seed, epochs=PROBE_EPOCHS, purpose=purpose, name=name + PROBE, share=share
    )
    session.record(probe.drafts)
    return probe.trial


def _candidate(session: Session, row: Row) -> Candidate:
    return from_json(Candidate, session.engine.state.trials[row.trial].candidate)


def _wall_s(session: Session, trials: Sequence[int]) -> float:
    """Wall seconds from the first to the last that is known of some trials: numbers that stand still."""
    written = session.journal.read(session.plan.job.name)
    times = [event.at for event in written if event.body.get("trial") in trials]
    return max(times) - min(times)


def _epoch_s(session: Session, trial: int) -> float:
    """Wall seconds that an epoch takes where scoring has its share; the median of those that a trial scored, less the first."""
    written = session.journal.read(session.plan.job.name)
    share = session.plan.job.retrain.scoring_share
    scored = [body for body in epoch_bodies(written)[trial] if body["metrics"]]
    seconds = [(body["train_seconds"], body["seconds"]) for body in scored[1:] or scored]
    return mean_epoch_s(seconds, share)


def mean_epoch_s(seconds: Sequence[tuple[float, float]], scoring_share: float) -> float:
    """What an epoch takes on average where scoring has a share of the time; of scored epochs, training alone and the whole."""
    training, whole = np.median(seconds, axis=0)
    return float(whole if scoring_share == 1 else min(whole, training / (1 - scoring_share)))


def _ask_baseline(session: Session) -> None:
    """Train the preset on the whole machine for what search and retraining cost together."""
    plan, engine = session.plan, session.engine
    assert plan.against is not None
    name, candidate = plan.against
    whole = float(plan.slots.whole)
    probe = _ask_probe(session, candidate, name, purpose="baseline", share=whole)
    drive(session)
    if engine.state.trials[probe].verdict != "completed":
        return
    # Of numbers that stand still, so that a driver that resumes asks for the same; more after an extension.
    left = session.cost("search") + session.cost("retrain") - _spent(session, probe)
    wanted = max(1, math.floor(left / (whole * _epoch_s(session, probe))))
    seed = derive_seed(plan.settings.seed, "baseline") % 2**31
    requested = engine.request(
        candidate, seed=seed, epochs=wanted, purpose="baseline", name=name, share=whole
    )
    session.record(requested.drafts)
    drive(session)


def _spent(session: Session, trial: int) -> float:
    """Worker-seconds of a training for comparison."""
    return next(row.worker_seconds for row in session.rows("baseline") if row.trial == trial)


def _completed(session: Session, purpose: Purpose) -> list[Row]:
    rows = session.rows(purpose)
    return [row for row in rows if row.status == "completed" and not row.name.endswith(PROBE)]


def recorded_metrics(written: Iterable[Event], trial: int) -> dict[str, float]:
    """Metrics of the last epoch of a trial, which a proof measures again; some are of that time only."""
    found = epoch_bodies(written).get(trial)
    metrics: dict[str, float] = dict(found[-1]["metrics"]) if found else {}
    return {name: value for name, value in metrics.items() if name not in OF_ITS_TIME}


def measured_precision(written: Iterable[Event], trial: int) -> JSON:
    """In which precision a trial was trained, as a fact of its export, where that was measured: then no recipe says it."""
    found = epoch_bodies(written).get(trial)
    metrics = found[0]["metrics"] if found else {}
    if BF16 not in metrics:
        return {}
    times = [f"{metrics[name]:.3g} ms in {key}" for key, name in STEP_MS.items() if name in metrics]
    return {
        "trained_in": ("bf16" if metrics[BF16] else "fp32")
        + (f" (a step: {', '.join(times)})" if times else "")
    }


@dataclass(frozen=True, slots=True)
class Scored:
    """A trained network and its counts on the test split."""

    row: Row
    test: Evaluation

    @property
    def dice(self) -> float:
        """Mean foreground Dice of the test split."""
        return self.test.metrics["dice"]


def conclude(session: Session) -> JSON:
    """Choose the winner by validation, export it, and compare it with the preset on test cases.

    The best network is the winner, or the preset where that scores higher on validation: then it is exported, too.
    """
    plan = session.plan
    by_candidate: dict[str, list[Row]] = {}
    for row in _completed(session, "retrain"):
        by_candidate.setdefault(row.digest, []).append(row)
    first = plan.settings.objectives[0]

    def quality(row: Row) -> float:
        return -math.inf if row.value is None else first.score(row.value)

    chosen = max(by_candidate.values(), key=lambda rows: float(np.mean([quality(row) for row in rows])))
    winner = max(chosen, key=quality)
    split = "test" if "test" in plan.dataset.manifest.splits else "validation"
    scored = [Scored(row, score(plan, row, _candidate(session, row), split)) for row in chosen]
    own = next(item for item in scored if item.row.trial == winner.trial)
    place = _exported(session, winner)
    baselines = sorted(  # the longest comes last
        (row for row in _completed(session, "baseline") if plan.against and row.name == plan.against[0]),
        key=lambda row: row.trial,
    )
    best = max((winner, *baselines[-1:]), key=quality)
    result: JSON = {
        "split": split,
        "winner": _entry(session, own) | {"export": place, "seeds": [item.dice for item in scored]},
        "best": {"trial": best.trial, "name": best.name, "export": _exported(session, best)},
        "search_worker_seconds": session.cost("search"),
        "retrain_worker_seconds": session.cost("retrain"),
    }
    if baselines:
        preset = baselines[-1]
        other = Scored(preset, score(plan, preset, _candidate(session, preset), split))
        result["preset"] = _entry(session, other)
        probes = [row for row in session.rows("baseline") if row.name.endswith(PROBE)]
        result["baseline_worker_seconds"] = preset.worker_seconds + sum(row.worker_seconds for row in probes)
        result["difference"] = _difference(plan, own.test, other.test)
    return result


def _exported(session: Session, row: Row) -> str:
    """Export a trial where that is not done; the place."""
    place = export_place(session.plan.job.storage, session.plan.job.name, row.trial)
    if not is_exported(place):
        export_row(session.plan, session.journal, row, place)
    return place


def export_place(storage: str, search: str, trial: int) -> str:
    """Where the export of a trial goes by default."""
    return f"{search_folder(storage, search)}/exports/trial-{trial:05d}"


def export_row(plan: Plan, journal: Journal, row: Row, place: str, *, raw: Path | None = None) -> JSON:
    """Export a trial's network with its proof."""
    written = journal.read(plan.job.name)
    candidate = next(
        e.body["candidate"] for e in written if e.kind == "asked" and e.body["trial"] == row.trial
    )
    assert row.checkpoint is not None
    recorded = recorded_metrics(written, row.trial)
    if not recorded:  # a retraining that was stopped after an epoch that was not scored
        found = from_json(Candidate, candidate)
        recorded = score(plan, row, found, "validation", beside=()).metrics
    trained = Trained(
        checkpoint=row.checkpoint,
        candidate=candidate,
        view=plan.view,
        split="validation",
        metrics=recorded,
        facts={
            "search": plan.job.name,
            "trial": row.trial,
            "name": row.name,
            "purpose": row.purpose,
            "epochs": row.epoch,
            "seed": row.seed,
            "worker_seconds": round(row.worker_seconds, 1),
        }
        | ({} if row.parent is None else {"began_as_trial": row.parent})
        | measured_precision(written, row.trial),
    )
    source = raw or (Path(plan.job.raw) if plan.job.raw else None)
    with making_export(place) as folder:
        return export(trained, plan.dataset, folder, raw=source)


def score(
    plan: Plan, row: Row, candidate: Candidate, split: str, *, beside: Sequence[str] = FINAL_MEASURES
) -> Evaluation:
    """Counts of a trained trial on a split, with the job's measures and those ``beside`` them."""
    description = describe_network(candidate, plan.dataset, plan.view)
    assert row.checkpoint is not None
    tensors, _ = load_checkpoint(row.checkpoint)
    network = build_network(description, trained_weights(tensors))
    return evaluate(
        network,
        PreparedCases(plan.dataset, split, description.fitted, bricks=bricks_for(plan.view)),
        plan.view,
        names=description.class_names,
        ignore_index=description.ignore_index,
        measures=measures((*beside, *plan.measures)),
    )


def _entry(session: Session, scored: Scored) -> JSON:
    """One row of the final table: test Dice per class or region and in the mean, each with its interval over patients."""
    names, averaged = scored.test.names, scored.test.averaged
    rows = {}
    for label, classes in [*((names[k], [k]) for k in averaged), ("mean", averaged)]:
        dice = dice_scores(scored.test.counts.sum(axis=0))[classes].mean()
        low, high = bootstrap_dice(
            scored.test.counts, classes=classes, generator=generator(session.plan.settings.seed, "bootstrap")
        )
        rows[label] = {"dice": float(dice), "low": low, "high": high}
    row = scored.row
    return {
        "trial": row.trial,
        "name": row.name,
        "digest": row.digest,
        "candidate": session.engine.state.trials[row.trial].candidate,
        "parameters": row.profile.get("parameters"),
        "epochs": row.epoch,
        "validation": row.value,
        "test": rows,
        "metrics": scored.test.metrics,
        "cases": len(scored.test.ids),
    }


def _difference(plan: Plan, winner: Evaluation, preset: Evaluation) -> JSON:
    """Winner minus preset in mean foreground Dice, with the interval when the same patients are drawn for both."""
    low, high = bootstrap_dice(
        winner.counts,
        classes=winner.averaged,
        generator=generator(plan.settings.seed, "bootstrap difference"),
        minus=preset.counts,
    )
    return {"dice": winner.metrics["dice"] - preset.metrics["dice"], "low": low, "high": high}
