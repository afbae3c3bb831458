"""A live search decided again from its journal: driver, SQLite journal, plan and gates are real, only training is not.

The search runs through ``orchestrator.search.drive`` with ``--slots`` slots over ``compact`` on the example volumes. Its legs
take no time and report made-up curves (a power law that depends on the candidate, with noise; one in ten diverges). Its driver
is replaced until there were ``--drivers``, as after a kill. Then the journal is decided again as by ``segsearch audit
--decisions``. Seconds are CPU time of the process, which other processes on the machine hardly stretch.

    python benchmarks/decisions.py --trials 1000 --sampler random --kind asha
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from orchestrator.engine.decisions import follow
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event
from orchestrator.engine.settings import Kind
from orchestrator.executors.in_process import InProcessExecutor
from orchestrator.job import Budget, DataSettings, Job, Retrain, SchedulerSettings, SearchSettings
from orchestrator.journal import Journal
from orchestrator.plan import make_plan
from orchestrator.rules import sampler_names, settings_of
from orchestrator.search import create_search, drive, open_session
from orchestrator.slots import Node
from search_spaces.candidate import Candidate, digest, from_json
from workers.contract import EpochResult, Leg, LegResult
from workers.data.ingest import ingest

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"


class Replaced(Exception):
    """The driver ends as if it were killed."""


def made_up(leg: Leg, report: Callable[[EpochResult], None], should_stop: Callable[[], bool]) -> LegResult:
    """A leg without training."""
    rng = random.Random(f"{digest(from_json(Candidate, leg.candidate))} {leg.seed}")
    limit, fall, breaks = rng.random(), rng.uniform(0.3, 1.0), rng.random() < 0.1
    common: dict[str, Any] = {"search": leg.search, "trial": leg.trial, "fence": leg.fence}
    epoch = leg.first_epoch
    while epoch < leg.last_epoch:
        if breaks and epoch >= 2:
            return LegResult(status="diverged", epoch=epoch, seconds=0.0, at=time.time(), **common)
        epoch += 1
        noise = random.Random(f"{limit} {epoch}").gauss(0.0, 0.01)
        metrics = {"dice": max(0.0, limit * (1.0 - 0.8 * epoch**-fall) + noise)}
        told: dict[str, Any] = {"loss": 1.0, "seconds": 0.0, "train_seconds": 0.0, "checkpoint": ""}
        report(EpochResult(epoch=epoch, metrics=metrics, at=time.time(), **told, **common))
        if epoch < leg.last_epoch and should_stop():
            return LegResult(status="stopped", epoch=epoch, seconds=0.0, at=time.time(), **common)
    return LegResult(status="completed", epoch=epoch, seconds=0.0, at=time.time(), **common)


def main() -> None:
    """Search, then print how many decisions follow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", choices=sampler_names(), default="random")
    parser.add_argument("--kind", choices=get_args(Kind), default="asha")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--drivers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segsearch-decisions-") as place:
        ingest(EXAMPLE, f"{place}/data")
        job = Job(
            "live",
            f"{place}/data",
            DataSettings(size=[48, 64]),
            constraints={"parameters": 2e6, "macs": 8e7},
            search=SearchSettings(
                options.sampler, SchedulerSettings(options.kind), seed=options.seed, repeats=2
            ),
            budget=Budget(trials=options.trials),
            retrain=Retrain(top=0),
            storage=f"{place}/runs",
        )
        plan = make_plan(job, nodes=(Node("made up", options.slots),))
        journal = Journal(f"sqlite:///{place}/runs/journal.db")
        create_search(plan, journal)
        begun = time.process_time()
        for life in range(options.drivers):
            last = life == options.drivers - 1
            until = None if last else (life + 1) * options.trials // options.drivers

            def watch(event: Event | None, engine: Engine, until: int | None = until) -> None:
                if until is not None and len(engine.state.searched) >= until:
                    raise Replaced

            executor = InProcessExecutor(made_up)
            try:
                with open_session(plan, journal, executor, watch) as session:
                    drive(session)
            except Replaced:
                pass
            finally:
                executor.close()
        live = time.process_time() - begun
        begun = time.process_time()
        written = journal.read("live")
        found = follow(written, settings_of("live", written))
        again = time.process_time() - begun
        journal.close()
    load = os.getloadavg()[0]
    print(
        f"{options.sampler}, {options.kind}, {options.trials} trials on {options.slots} slots, {options.drivers} drivers, "
        f"{len(written)} events; load {load:.1f}"
    )
    print(f"  live     {live:7.2f} s of CPU, gates and journal included")
    print(
        f"  again    {again:7.2f} s of CPU, decisions identical: {sum(found.same.values())} of {found.decisions}"
    )
    print(f"  by kind  {dict(sorted(found.same.items()))}")
    if found.difference is not None:
        raise SystemExit(f"event {found.difference.seq}: {found.difference.message}")


if __name__ == "__main__":
    main()
