"""What a search costs beside its trainings: our executor, engine, journal and publisher against bare Ray Tune.

All run the same number of legs that only sleep, on as many slots, one after another, with the same Ray settings:

- **slots**: ``RayTuneExecutor`` alone. As many legs as slots are out at a time; each result sends out the next, as in a search.
- **search**: ``orchestrator.search.drive`` as in a user's search: the engine proposes a candidate of ``compact`` for each trial
  (at random, without the gate that builds networks), and every decision and result is committed to an SQLite journal.
- **search, MLflow**: the same with the publisher process and an MLflow server beside it.
- **bare Tune**: every leg is a Tune trial of a function, with ``reuse_actors=True``; all trials are known in advance.

Measured with the workers' own clock, and for searches with the journal's:

- *start-up*: from the call to the start of the first leg; Ray's own start is in it, the import of Ray is not.
- *span*: from the start of the first leg to the end of the last; for searches to the last verdict in the journal.
- *slot use*: seconds slept over slots x span; "second half" leaves the first half of the legs out, when slots still come up.
- *gap*: from the end of a leg to the start of the next in the same process, median.
- *lag*: from the last verdict until MLflow has everything.

The ratio is a span over bare Tune's: below 1 is quicker. Sleeping legs need no core, so the figures say nothing about training;
in a search legs take seconds to minutes, which makes the same gaps smaller in proportion.

    python benchmarks/overhead.py --legs 60 --seconds 0.2 --slots 4
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from bare_ray import bare_ray, set_environment

from workers.contract import DataView, EpochResult, Leg, LegResult

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Slept:
    """One leg as its worker saw it: process, begin and end in Unix seconds."""

    pid: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one way of running the legs took."""

    name: str
    startup_s: float
    span_s: float
    use: float
    use_late: float
    gap_ms: float
    processes: int
    lag_s: float | None = None


SLEEP = "OVERHEAD_SLEEP_S"
JOB = """\
name: overhead
dataset: {data}
data: {{size: [64, 64]}}
search: {{sampler: random, presets: false, scheduler: {{kind: none, max_epochs: 1}}}}
budget: {{trials: {legs}}}
retrain: {{top: 0}}
storage: {storage}
"""


def search_leg(leg: Leg, report: Callable[[EpochResult], None], should_stop: Callable[[], bool]) -> LegResult:
    """A leg of a search that sleeps instead of training, and reports its one epoch."""
    begin = time.time()
    time.sleep(float(os.environ[SLEEP]))
    end = time.time()
    facts = {"dice": (leg.trial % 97) / 97, "pid": float(os.getpid()), "begin": begin}
    report(
        EpochResult(leg.search, leg.trial, leg.fence, 1, 0.0, facts, end - begin, end - begin, end, "none")
    )
    return LegResult(leg.search, leg.trial, leg.fence, "completed", 1, end - begin, time.time())


def sleep_leg(leg: Leg, report: Callable[[EpochResult], None], should_stop: Callable[[], bool]) -> LegResult:
    """A leg that sleeps as long as its ``storage`` says; the message names its process and its begin."""
    begin = time.time()
    time.sleep(float(leg.storage))
    end = time.time()
    message = f"{os.getpid()} {begin!r}"
    return LegResult(leg.search, leg.trial, leg.fence, "completed", 1, end - begin, end, message)


def sleeping_leg(trial: int, seconds: float) -> Leg:
    """The order of a leg for ``sleep_leg``."""
    view = DataView("nowhere", "", "images", (8, 8), 1)
    return Leg("overhead", trial, trial + 1, {}, 0, 0, 1, 1, None, view, str(seconds))


def run_slots(legs: int, seconds: float, slots: int) -> Figures:
    """Legs through our executor."""
    from orchestrator.executors.ray_tune import RayTuneExecutor

    called = time.time()
    executor = RayTuneExecutor(slots=slots, run_leg="overhead:sleep_leg")
    slept: list[Slept] = []
    try:
        sent = min(slots, legs)
        for trial in range(sent):
            executor.start(sleeping_leg(trial, seconds))
        while len(slept) < legs:
            for result in executor.poll(POLL_S):
                if not isinstance(result, LegResult) or result.status != "completed":
                    raise SystemExit(f"a leg went wrong: {result}")
                pid, begin = result.message.split()
                slept.append(Slept(int(pid), float(begin), result.at))
                if sent < legs:
                    executor.start(sleeping_leg(sent, seconds))
                    sent += 1
    finally:
        executor.close()
    return figures("slots", called, slept, slots)


def run_search(legs: int, seconds: float, slots: int, *, mlflow: bool = False) -> Figures:
    """A whole search, with or without MLflow."""
    from orchestrator.executors.ray_tune import RayTuneExecutor
    from orchestrator.job import load_job_document
    from orchestrator.journal import Journal
    from orchestrator.plan import make_plan
    from orchestrator.search import create_search, drive, open_session
    from orchestrator.slots import Node
    from workers.data.ingest import ingest

    os.environ[SLEEP] = str(seconds)
    example = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overhead-")))
        ingest(example, str(folder / "data"))
        (folder / "job.yaml").write_text(JOB.format(data=folder / "data", legs=legs, storage=folder / "runs"))
        job, document = load_job_document(folder / "job.yaml")
        plan = make_plan(job, document, nodes=[Node("here", slots)])
        plan = replace(plan, settings=replace(plan.settings, gate=lambda _: {}))
        journal = Journal(f"sqlite:///{folder}/journal.db")
        stack.callback(journal.close)
        uri = stack.enter_context(mlflow_server(folder)) if mlflow else ""
        create_search(plan, journal)
        called = time.time()
        publisher = stack.enter_context(publishing(journal.url, uri)) if mlflow else None
        executor = RayTuneExecutor(slots=slots, run_leg="overhead:search_leg")
        stack.callback(executor.close)
        with open_session(plan, journal, executor, lambda _event, _engine: None) as session:
            drive(session)
        lag = None if publisher is None else wait_until_published(journal)
        written = journal.read("overhead")
    slept = [
        Slept(int(e.body["metrics"]["pid"]), e.body["metrics"]["begin"], e.body["at"])
        for e in written
        if e.kind == "epoch"
    ]
    verdicts = [event.at for event in written if event.kind == "trial_ended"]
    assert len(verdicts) == legs
    found = figures("search, MLflow" if mlflow else "search", called, slept, slots)
    return replace(
        found, span_s=max(verdicts) - min(leg.begin for leg in slept), lag_s=lag and lag - max(verdicts)
    )


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """An MLflow server of one process on SQLite; its address."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while server.poll() is None:
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2),
                ):
                    break
                time.sleep(0.2)
            if server.poll() is not None:
                raise SystemExit(f"the MLflow server ended with {server.returncode}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextlib.contextmanager
def publishing(journal: str, uri: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The publisher process, as a driver starts it."""
    environment = {**os.environ, "SEGSEARCH_JOURNAL": journal, "MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-m", "orchestrator.tracking", "overhead"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def wait_until_published(journal: Any) -> float:
    """Unix time at which MLflow had everything."""
    from orchestrator.tracking import backlog

    while backlog(journal, "overhead"):
        time.sleep(0.1)
    return time.time()


def run_bare_tune(legs: int, seconds: float, slots: int) -> Figures:
    """One Tune trial a leg."""
    from ray import tune

    def trial(config: dict[str, Any]) -> dict[str, float]:
        begin = time.time()
        time.sleep(seconds)
        return {"pid_": os.getpid(), "begin_": begin, "end_": time.time()}

    called = time.time()
    with tempfile.TemporaryDirectory(prefix="bare-tune-") as folder, bare_ray(slots):
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(num_samples=legs, reuse_actors=True),
            run_config=tune.RunConfig(name="bare", storage_path=f"{folder}/tune", verbose=0),
        )
        grid = tuner.fit()
        rows: list[dict[str, Any]] = [grid[number].metrics or {} for number in range(len(grid))]
    slept = [Slept(int(row["pid_"]), row["begin_"], row["end_"]) for row in rows]
    return figures("bare Tune", called, slept, slots)


def figures(name: str, called: float, slept: Sequence[Slept], slots: int) -> Figures:
    """Figures of a run; ``called`` is the Unix time at which it was asked for."""
    ordered = sorted(slept, key=lambda leg: leg.begin)
    late = ordered[len(ordered) // 2 :]
    by_process: dict[int, list[Slept]] = {}
    for leg in ordered:
        by_process.setdefault(leg.pid, []).append(leg)
    gaps = [b.begin - a.end for legs in by_process.values() for a, b in pairwise(legs)]
    return Figures(
        name,
        startup_s=ordered[0].begin - called,
        span_s=span(ordered),
        use=use(ordered, slots),
        use_late=use(late, slots),
        gap_ms=1000 * statistics.median(gaps) if gaps else float("nan"),
        processes=len(by_process),
    )


def span(legs: Sequence[Slept]) -> float:
    """Seconds from the first begin to the last end."""
    return max(leg.end for leg in legs) - min(leg.begin for leg in legs)


def use(legs: Sequence[Slept], slots: int) -> float:
    """Share of the slots' time that was slept, in [0, 1]."""
    return sum(leg.end - leg.begin for leg in legs) / (slots * span(legs))


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description="What handing out a leg costs, ours against bare Ray Tune.")
    parser.add_argument("--legs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a leg")
    parser.add_argument("--slots", type=int, default=4)
    given = parser.parse_args()

    set_environment()
    import ray
    import ray.tune  # so that neither run pays for the import

    load = os.getloadavg()[0]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Ray {ray.__version__}, {os.cpu_count()} cores, load {load:.1f}"
    )
    ideal = given.legs * given.seconds / given.slots
    print(f"{given.legs} legs of {given.seconds} s on {given.slots} slots; ideal span {ideal:.1f} s\n")
    runs: list[Callable[[int, float, int], Figures]] = [
        run_slots, run_search, partial(run_search, mlflow=True), run_bare_tune,
    ]  # fmt: skip
    print("| | start-up | span | slot use | second half | gap | processes | lag | span over bare Tune's |")
    print("|---|---|---|---|---|---|---|---|---|")
    done = [run(given.legs, given.seconds, given.slots) for run in runs]
    for row in done:
        lag = "" if row.lag_s is None else f"{row.lag_s:.1f} s"
        print(
            f"| {row.name} | {row.startup_s:.1f} s | {row.span_s:.1f} s | {row.use:.0%} | {row.use_late:.0%} "
            f"| {row.gap_ms:.0f} ms | {row.processes} | {lag} | {row.span_s / done[-1].span_s:.2f} |"
        )


if __name__ == "__main__":
    main()
