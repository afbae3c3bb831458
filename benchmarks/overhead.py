"""What handing out a leg costs: our slots on Ray Tune against bare Ray Tune with one trial a leg.

Both run the same number of legs that only sleep, on as many slots, in one process after another, with the same Ray settings:

- **slots**: ``RayTuneExecutor``. Tune trials are long-lived slots; as many legs as slots are out at a time, and each result
  that comes back sends out the next leg, as the driver does. No engine, journal or MLflow takes part.
- **bare Tune**: every leg is a Tune trial of a function, with ``reuse_actors=True``; all trials are known in advance.

Measured with the workers' own clock:

- *start-up*: from the call to the start of the first leg; Ray's own start is in it, the import of Ray is not.
- *span*: from the start of the first leg to the end of the last.
- *slot use*: seconds slept over slots x span; "second half" leaves the first half of the legs out, when slots still come up.
- *gap*: from the end of a leg to the start of the next in the same process, median.

The ratio is bare Tune's span over ours. Sleeping legs need no core, so the figures say nothing about training; a leg of a
search takes seconds to minutes, which makes the same gaps smaller in proportion.

    python benchmarks/overhead.py --legs 60 --seconds 0.2 --slots 4
"""

import argparse
import logging
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

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


def run_bare_tune(legs: int, seconds: float, slots: int) -> Figures:
    """One Tune trial a leg."""
    import ray
    from ray import tune

    def trial(config: dict[str, Any]) -> dict[str, float]:
        begin = time.time()
        time.sleep(seconds)
        return {"pid_": os.getpid(), "begin_": begin, "end_": time.time()}

    called = time.time()
    with tempfile.TemporaryDirectory(prefix="bare-tune-") as folder:
        ray.init(
            address="local",
            num_cpus=slots,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=128 << 20,
            _temp_dir=folder,
        )
        try:
            tuner = tune.Tuner(
                tune.with_resources(trial, {"cpu": 1}),
                tune_config=tune.TuneConfig(num_samples=legs, reuse_actors=True),
                run_config=tune.RunConfig(name="bare", storage_path=f"{folder}/tune", verbose=0),
            )
            grid = tuner.fit()
            rows: list[dict[str, Any]] = [grid[number].metrics or {} for number in range(len(grid))]
        finally:
            ray.shutdown()
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

    from orchestrator.executors.ray_tune import SETTINGS

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the home folder
    import ray
    import ray.tune  # so that neither run pays for the import

    load = os.getloadavg()[0]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Ray {ray.__version__}, {os.cpu_count()} cores, load {load:.1f}"
    )
    ideal = given.legs * given.seconds / given.slots
    print(f"{given.legs} legs of {given.seconds} s on {given.slots} slots; ideal span {ideal:.1f} s\n")
    print("| | start-up | span | slot use | second half | gap | processes |\n|---|---|---|---|---|---|---|")
    done = [run(given.legs, given.seconds, given.slots) for run in (run_slots, run_bare_tune)]
    for row in done:
        print(
            f"| {row.name} | {row.startup_s:.1f} s | {row.span_s:.1f} s | {row.use:.0%} | {row.use_late:.0%} "
            f"| {row.gap_ms:.0f} ms | {row.processes} |"
        )
    print(f"\nbare Tune's span over ours: {done[1].span_s / done[0].span_s:.2f}")


if __name__ == "__main__":
    main()
