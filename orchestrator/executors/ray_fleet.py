"""Tune's part of the Ray executor: trials are slots, opened as legs wait and restarted when they die."""

import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.executor import failed
from orchestrator.executors.hub import Shape
from workers.contract import DataView, EpochResult, Leg, LegResult
from workers.reach import find_fault

ASK_S = 0.5  # Tune asks for slots ten times a second, each of which costs cores that train


@dataclass(frozen=True, slots=True)
class Reach:
    """What every node must reach: arguments of ``workers.reach.find_fault``."""

    data: DataView
    storage: str
    mark: str
    code: str


def run_fleet(hub: Any, run_leg: str, folder: Path, reach: Reach | None) -> None:
    """Tune's part: open slots as legs wait, restart those that die, until the hub is closed."""
    import ray
    from ray import tune
    from ray.tune.execution import class_cache
    from ray.tune.progress_reporter import TrialProgressCallback
    from ray.tune.search import Searcher

    # Tune would send the driver's keys to each slot in its runtime environment, which Ray logs in clear; nodes have their own.
    for name in [name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]:
        class_cache.ENV_VARS_TO_PROPAGATE.discard(name)

    class OpenSlots(Searcher):
        """Suggests a slot whenever a leg waits for one."""

        def __init__(self) -> None:
            super().__init__(metric="none", mode="max")
            self.quiet_until = 0.0

        def suggest(self, trial_id: str) -> Any:
            if time.monotonic() < self.quiet_until:
                return None
            resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray annotates a part of itself
            shape = ray.get(hub.wanted.remote(resources.get("CPU", 0), resources.get("GPU", 0)))
            if shape is True:
                return Searcher.FINISHED
            if not shape:
                self.quiet_until = time.monotonic() + ASK_S
                return None
            return {"slot": trial_id, "cpus": shape.cpus, "gpus": shape.gpus}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            hub.ended.remote(trial_id)

        def save(self, checkpoint_path: str) -> None: ...

        def restore(self, checkpoint_path: str) -> None: ...

    class ReportLost(TrialProgressCallback):  # in the place of Tune's own, which prints each slot
        """Tells the hub at once when a slot died and is about to be restarted."""

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            hub.lost.remote(trial.trial_id)

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
        ) -> None: ...

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None: ...

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None: ...

    search_path = tuple(sys.path)  # a user's plugins stand where the driver found them

    def slot(config: dict[str, Any]) -> None:
        sys.path.extend(entry for entry in search_path if entry not in sys.path)
        serve_slot(hub, config["slot"], Shape(config["cpus"], config["gpus"]), run_leg, reach)

    def bundle(config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([{"CPU": config["cpus"], "GPU": config["gpus"]}])

    sized = tune.with_resources(slot, bundle)
    tuner = tune.Tuner(
        sized,
        tune_config=tune.TuneConfig(search_alg=OpenSlots(), num_samples=-1, reuse_actors=False),
        run_config=tune.RunConfig(
            name="slots",
            storage_path=str(folder / "tune"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),
            callbacks=[ReportLost(metric=None)],
        ),
    )
    for name in ("ray.tune", "ray.tune.execution.tune_controller", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a slot that died is told by the hub
    tuner.fit()


def serve_slot(hub: Any, slot: str, shape: Shape, run_leg: str, reach: Reach | None) -> None:
    """Body of a slot: take a leg, run it, report; until the hub closes it, or a leg may have spoilt the process."""
    import ray

    fault = ""
    try:
        work = _function(run_leg)
        if reach is not None:
            fault = find_fault(reach.data, reach.storage, reach.mark, reach.code)
    except Exception as error:
        fault = f"cannot load {run_leg}: {type(error).__name__}: {error}"
    if fault:  # every other slot of this node would fail alike, and Tune would restart them for ever
        ray.get(hub.give_up.remote(f"a slot on {socket.gethostname()} {fault}"))
        return
    first = True
    while True:
        leg = ray.get(hub.take.remote(slot, shape, os.getpid(), first=first))
        first = False
        if leg is False:
            return
        if leg is not True and _work(hub, slot, leg, work).status in ("out_of_memory", "failed"):
            return  # what is left in memory, on a card or in a library's state is not passed on


def _work(hub: Any, slot: str, leg: Leg, work: Callable[..., LegResult]) -> LegResult:
    import ray

    stop, begun = False, time.monotonic()

    def report(result: EpochResult) -> None:
        nonlocal stop
        stop = ray.get(hub.report.remote(slot, result))

    try:
        result = work(leg, report, lambda: stop)
    except Exception as error:  # the border of a trial: run_leg itself broke
        result = failed(leg, error, seconds=time.monotonic() - begun)
    ray.get(hub.finish.remote(slot, result))
    return result


def _function(path: str) -> Callable[..., LegResult]:
    module, _, name = path.partition(":")
    found: Callable[..., LegResult] = getattr(importlib.import_module(module), name)
    return found
