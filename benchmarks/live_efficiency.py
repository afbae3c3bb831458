"""How soon searches have what the others find, live: random search, Ray's ASHA with OptunaSearch, and ours.

All three choose from ``compact`` within the same limits on a protocol of ``never_below_preset.py``, on two slots of one thread,
for ``--seconds`` from the start of their program (Ray's start included); every training is up to nine epochs of the same code.

- *random*: ``segsearch run`` with ``sampler: random`` and no early stopping.
- *ray*: what a user assembles: ``tune.Tuner`` with ``ASHAScheduler`` (grace one epoch, reduction 3) and ``OptunaSearch`` over
  the space as a define-by-run function, actors reused. A candidate beyond the limits reports 0 and ends before training.
- *ours*: ``segsearch run`` with its defaults.

``--known both`` gives the known networks first to all three (Optuna as ``points_to_evaluate``), ``neither`` to none. A training
counts once it has had all its epochs, with its last score: what a user is handed. *Ratio*: seconds that one search took until
the best it found in its whole time, over those of the other until the same, less ``--within``; 0 where it never has it.
Needs ``SEGSEARCH_DATA``.

    SEGSEARCH_DATA=../shared/data python benchmarks/live_efficiency.py --seconds 180 --seeds 0 1 2 --known neither both
"""

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import optuna
from bare_ray import bare_ray, set_environment
from never_below_preset import FIX, PARAMETERS, PROTOCOLS, Protocol, mean_interval, run_job

from orchestrator.engine.study import optuna_parameters, suggest
from orchestrator.journal import Journal
from orchestrator.places import DEFAULT_STORAGE, journal_url
from orchestrator.reading import epoch_bodies
from search_spaces.candidate import Candidate, from_json, to_json
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.profile import profile
from search_spaces.space import Space, encode, load_space
from workers.contract import EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.leg import run_leg

EPOCHS, REDUCTION, SLOTS = 9, 3, 2
KINDS = {"random": ("random", "none"), "ours": ("auto", "asha")}
SEARCH = """\
search:
  sampler: {sampler}
  scheduler: {{kind: {scheduler}, max_epochs: {epochs}, reduction: {reduction}}}
  seed: {seed}
  presets: {presets}
budget: {{trials: 1000, wall: {seconds:.0f}s}}
resources: {{cpus: {slots}}}
retrain: {{top: 0}}
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """An epoch of a trial, and when it was reported: seconds since its search's program began."""

    at: float
    trial: str
    epoch: int
    score: float


def by_segsearch(
    kind: str, protocol: Protocol, data: str, folder: Path, seconds: float, seed: int, known: bool
) -> list[Scored]:
    """What a search of ours reported within its time."""
    sampler, scheduler = KINDS[kind]
    settings = SEARCH.format(
        sampler=sampler, scheduler=scheduler, epochs=EPOCHS, reduction=REDUCTION, seed=seed, presets=str(known).lower(),
        seconds=seconds, slots=SLOTS,
    )  # fmt: skip
    begun = time.time()
    run_job(folder, protocol.job(data) + settings)
    journal = Journal(journal_url(str(folder / DEFAULT_STORAGE)))
    try:
        bodies = epoch_bodies(journal.read("ours"))
    finally:
        journal.close()
    found = [
        Scored(
            body["at"] - begun, str(trial), body["epoch"], float(body["metrics"].get(protocol.metric, 0.0))
        )
        for trial, epochs in bodies.items()
        for body in epochs
    ]
    return [one for one in found if one.at <= seconds]


@functools.cache
def compact() -> Space:
    """The space that all three choose from."""
    return narrow(load_space("compact"), FIX)


def ask(asked: optuna.Trial) -> dict[str, Any]:
    """The space as ``OptunaSearch`` takes it, which pickles it: a define-by-run function."""
    return {"candidate": to_json(suggest(compact(), asked))}


def by_ray(
    protocol: Protocol, data: str, folder: Path, seconds: float, seed: int, known: bool
) -> list[Scored]:
    """What a search of Ray Tune with OptunaSearch reported within its time, in a process of its own."""
    folder.mkdir(parents=True)
    begun = time.time()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(_tune, protocol, data, folder, begun + seconds, seed, known).result()
    lines = [json.loads(line) for line in (folder / "epochs").read_text().splitlines()]
    found = [Scored(at - begun, trial, epoch, score) for at, trial, epoch, score in lines]
    return [one for one in found if one.at <= seconds]


def _tune(protocol: Protocol, data: str, folder: Path, until: float, seed: int, known: bool) -> None:
    set_environment()
    os.environ["HOME"] = str(folder)
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    space = compact()
    dataset, view = open_dataset(data), protocol.view_of(data)

    def trial(config: dict[str, Any]) -> None:
        candidate = from_json(Candidate, config["candidate"])
        name = tune.get_context().get_trial_id()
        numbers = profile(
            candidate.architecture, dataset.num_channels, dataset.num_classes, input_size=protocol.size
        )
        if numbers.parameters > PARAMETERS or numbers.macs > float(protocol.macs):
            tune.report({protocol.metric: 0.0})
            return

        def report(result: EpochResult) -> None:
            score = result.metrics.get(protocol.metric, 0.0)
            with (folder / "epochs").open("a") as lines:
                lines.write(json.dumps([result.at, name, result.epoch, score]) + "\n")
            tune.report({protocol.metric: score})

        leg = Leg(
            search="ray", trial=0, fence=1, candidate=config["candidate"], seed=seed, first_epoch=0, last_epoch=EPOCHS,
            max_epochs=EPOCHS, checkpoint=None, data=view, storage=str(folder / "trials" / name),
        )  # fmt: skip
        ended = run_leg(leg, report, lambda: False)
        if ended.status != "completed":
            raise RuntimeError(ended.message)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (folder / "epochs").touch()
    first = [dict(optuna_parameters(space, encode(space, one))[0]) for _, one in preset_candidates(space)]
    search = OptunaSearch(
        space=ask,
        metric=protocol.metric,
        mode="max",
        seed=seed,
        points_to_evaluate=first if known else None,
    )
    with bare_ray(SLOTS):
        tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=ASHAScheduler(
                    metric=protocol.metric,
                    mode="max",
                    max_t=EPOCHS,
                    grace_period=1,
                    reduction_factor=REDUCTION,
                ),
                num_samples=-1,
                time_budget_s=until - time.time(),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="ray", storage_path=str(folder / "tune"), verbose=0),
        ).fit()


def bests(found: Sequence[Scored]) -> list[tuple[float, float]]:
    """When a whole training was better than all before it, and its score; in order."""
    steps: list[tuple[float, float]] = []
    for one in sorted(found, key=lambda one: one.at):
        if one.epoch == EPOCHS and (not steps or one.score > steps[-1][1]):
            steps.append((one.at, one.score))
    return steps


def ratio(first: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], within: float) -> float:
    """Seconds of the first until close to its best, over those of the other; 0 where it never is, inf where only it is."""
    if not first:
        return float("inf") if other else 0.0
    target = first[-1][1] - within
    own, theirs = (next((at for at, score in steps if score >= target), None) for steps in (first, other))
    assert own is not None
    return 0.0 if theirs is None else own / theirs


def main() -> None:
    """Print every search, then the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=PROTOCOLS, default="isbi_em_half")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--known", choices=("both", "neither"), nargs="+", default=["both"])
    parser.add_argument("--within", type=float, nargs="*", default=[0.0, 0.005])
    options = parser.parse_args()
    protocol = PROTOCOLS[options.data]
    print(
        f"{options.data}, {protocol.samples} samples an epoch, up to {protocol.macs} MACs, {options.seconds:.0f} s, "
        f"load at the beginning {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="segsearch-live-") as place:
        data = protocol.prepare(Path(place))
        for known in options.known:
            steps: dict[str, list[list[tuple[float, float]]]] = {"random": [], "ray": [], "ours": []}
            for seed, kind in product(options.seeds, steps):
                folder = Path(place) / f"{known}-{seed}-{kind}"
                arguments = (protocol, data, folder, options.seconds, seed, known == "both")
                found = by_ray(*arguments) if kind == "ray" else by_segsearch(kind, *arguments)
                steps[kind].append(bests(found))
                trials, whole = len({one.trial for one in found}), sum(one.epoch == EPOCHS for one in found)
                told = ", ".join(f"{score:.4f} at {at:.0f} s" for at, score in steps[kind][-1])
                print(
                    f"known: {known}, seed {seed}, {kind}: {trials} trials, {len(found)} epochs, {whole} whole; {told}",
                    flush=True,
                )
            for kind, runs in steps.items():
                print(
                    f"known: {known}, {kind}: {mean_interval([run[-1][1] if run else 0.0 for run in runs])}"
                )
            for first, other in (("random", "ours"), ("random", "ray"), ("ray", "ours")):
                for within in options.within:
                    values = [
                        ratio(one, two, within) for one, two in zip(steps[first], steps[other], strict=True)
                    ]
                    near = f" less {within:g}" if within else ""
                    print(
                        f"known: {known}, {first}'s best{near}, {first} over {other}: {', '.join(f'{v:.2f}' for v in values)}; "
                        f"median {statistics.median(values):.2f}"
                    )


if __name__ == "__main__":
    main()
