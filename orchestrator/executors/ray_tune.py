"""Legs on a Ray cluster: Tune trials are slots, long-lived workers that take one leg after another.

Tune places the slots, restarts the ones that die and scales the cluster; it knows nothing of candidates and keeps
nothing worth saving. The hub (a small actor) hands legs to slots and collects what they report. The searcher opens a
slot when a leg waits for its shape; a slot whose shape nobody waits for closes when another shape is waited for.

A local Ray listens on loopback only, with a token that lives in the environment of its processes. It ends with the
driver, however the driver ends: the kernel kills its servers, workers follow, its agents notice within a minute. The
folder that a killed driver left behind is removed by the next one.
"""

import fcntl
import importlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.errors import ExecutorError
from orchestrator.executor import Result, failed
from orchestrator.executors.hub import Hub
from workers.contract import EpochResult, Leg, LegResult

RUN_LEG = "workers.leg:run_leg"
FOLDER = "segsearch-ray-"  # short: paths of sockets below it may have 107 characters
CLOSE_S = 5.0
YOUNG_S = 60.0  # a folder younger than this may belong to a driver that has not locked it yet
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a local Ray then binds 127.0.0.1, not all interfaces
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a slot has no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class RayTuneExecutor:
    """Runs legs on Ray, each with ``leg.threads`` cores.

    Args:
        slots: Slots of the local Ray that is started where ``address`` is None.
        slot_cpus: Cores of a slot.
        address: A running cluster, or None for one of its own on loopback.
        run_leg: ``module:function`` that every slot imports.
    """

    def __init__(
        self, *, slots: int, slot_cpus: int = 1, address: str | None = None, run_leg: str = RUN_LEG
    ) -> None:
        self.slots, self.slot_cpus, self.address, self.run_leg = slots, slot_cpus, address, run_leg
        self._busy: dict[int, int] = {}
        self._hub: Any = None
        self._fleet: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._folder = Path()
        self._lock = -1

    @property
    def free(self) -> int:
        """Legs of one slot that would start at once."""
        return max(0, self.slots - sum(self._busy.values()) // self.slot_cpus)

    def start(self, leg: Leg) -> None:
        """Queue a leg; starts Ray at the first one."""
        if self._hub is None:
            self._open()
        self._busy[leg.trial] = leg.threads
        self._call(self._hub.submit, leg)

    def poll(self, timeout_s: float) -> list[Result]:
        """What slots reported; waits up to ``timeout_s`` for the first.

        Raises:
            ExecutorError: Ray or Tune is gone, or no slot can work.
        """
        if self._hub is None:
            time.sleep(timeout_s)
            return []
        results: list[Result] = self._call(self._hub.collect, timeout_s)
        for result in results:
            if isinstance(result, LegResult):
                self._busy.pop(result.trial, None)
        return results

    def stop(self, trial: int) -> None:
        """Ask the running leg of a trial to end after its epoch."""
        if self._hub is not None:
            self._call(self._hub.stop, trial)

    def slot_pids(self) -> dict[int, int]:
        """Process of each trial that runs now."""
        return dict(self._call(self._hub.pids)) if self._hub is not None else {}

    def close(self) -> None:
        """End all legs, slots and, where it is our own, Ray."""
        if self._hub is None:
            return
        import ray

        try:
            if ray.is_initialized() and self._failure is None:
                ray.get(self._hub.close.remote(), timeout=CLOSE_S)
        except Exception as error:  # Ray is gone already, which is what close is for
            _log.debug("closing: %s", error)
        if self._fleet is not None:
            self._fleet.join(CLOSE_S)
        ray.shutdown()
        self._hub = self._fleet = None
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def _open(self) -> None:
        _remove_abandoned()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._lock = _locked(self._folder)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        if self.address is None and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault(
                "RAY_AUTH_TOKEN", secrets.token_hex(32)
            )  # for this process and its children only
        import ray

        own: dict[str, Any] = {
            "num_cpus": self.slots * self.slot_cpus,
            "include_dashboard": False,
            "object_store_memory": 128 << 20,
            "_temp_dir": str(self._folder),
        }
        common: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "namespace": "segsearch",
        }
        try:
            _quiet()
            if self.address is None:
                ray.init(address="local", **own, **common)
            else:
                ray.init(address=self.address, **common)
        except Exception as error:
            raise ExecutorError(
                f"Ray could not be started ({error}); look into {self._folder}, or run without it: --in-process."
            ) from error
        self._hub = ray.remote(Hub).options(num_cpus=0, max_concurrency=10_000).remote()
        self._fleet = threading.Thread(target=self._run_fleet, daemon=True, name="tune")
        self._fleet.start()

    def _run_fleet(self) -> None:
        try:
            run_fleet(self._hub, self.run_leg, self._folder)
        except BaseException as error:  # handed to the driver's thread by the next call
            self._failure = error

    def _call(self, method: Any, *arguments: Any) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        if self._failure is not None:
            raise ExecutorError(f"Ray Tune ended: {self._failure}") from self._failure
        try:
            return ray.get(method.remote(*arguments))
        except RayTaskError as error:
            raise ExecutorError(str(error.cause)) from error
        except RayError as error:
            raise ExecutorError(f"the Ray cluster does not answer: {error}") from error


def run_fleet(hub: Any, run_leg: str, folder: Path) -> None:
    """Tune's part: open slots as legs wait, restart those that die, until the hub is closed."""
    import ray
    from ray import tune
    from ray.tune.progress_reporter import TrialProgressCallback
    from ray.tune.search import Searcher

    class OpenSlots(Searcher):
        """Suggests a slot whenever a leg waits for one."""

        def __init__(self) -> None:
            super().__init__(metric="none", mode="max")

        def suggest(self, trial_id: str) -> Any:
            resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
            cpus: Any = ray.get(hub.wanted.remote(resources.get("CPU", 0)))
            if cpus == 0:
                return Searcher.FINISHED
            return None if cpus is None else {"slot": trial_id, "cpus": cpus}

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
        serve_slot(hub, config["slot"], config["cpus"], run_leg)

    sized = tune.with_resources(slot, lambda config: tune.PlacementGroupFactory([{"CPU": config["cpus"]}]))
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


def serve_slot(hub: Any, slot: str, cpus: int, run_leg: str) -> None:
    """Body of a slot: take a leg, run it, report; until the hub closes it, or a leg may have spoilt the process."""
    import ray

    try:
        work = _function(run_leg)
    except Exception as error:  # every other slot would fail alike, and Tune would restart them for ever
        ray.get(hub.give_up.remote(f"a slot cannot load {run_leg}: {type(error).__name__}: {error}"))
        return
    first = True
    while True:
        leg = ray.get(hub.take.remote(slot, cpus, os.getpid(), first=first))
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


def _quiet() -> None:
    """Send messages of the cluster to our log: Ray prints them to standard output, where ``--json`` has the floor."""
    import ray._private.worker as worker

    def log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        _log.info("%s", "\n".join(data.get("lines", ())))

    worker.print_to_stdstream = log


def _locked(folder: Path) -> int:
    """Take the lock that says that a folder has a living owner; the kernel gives it back when the process ends."""
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _remove_abandoned() -> None:
    """Remove folders of drivers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        try:
            if time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            os.close(_locked(folder))
        except OSError:
            continue  # in use, or another user's
        shutil.rmtree(folder, ignore_errors=True)


_log = logging.getLogger(__name__)
