"""Legs on a Ray cluster: Tune trials are slots, long-lived workers that take one leg after another.

Tune places the slots, restarts the ones that die and scales the cluster; it knows nothing of candidates and keeps nothing worth
saving. A small actor, the hub, hands legs to slots and collects what they report. The searcher opens a slot when a leg waits
for its shape; a slot whose shape nobody waits for closes when another shape is waited for.
"""

import asyncio
import importlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ExecutorError
from orchestrator.executor import Result
from workers.contract import EpochResult, Leg, LegResult

RUN_LEG = "workers.leg:run_leg"
IDLE_S = 5.0  # a slot asks again after this long, so that a dead hub is noticed
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


@dataclass(frozen=True, slots=True)
class Lost:
    """What the hub puts in the place of a result when a slot died under its leg."""

    leg: Leg
    seconds: float


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
        self._folder = ""

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
            ExecutorError: Ray or Tune is gone.
        """
        if self._hub is None:
            time.sleep(timeout_s)
            return []
        results: list[Result] = []
        for item in self._call(self._hub.collect, timeout_s):
            if isinstance(item, Lost):
                item = _lost_result(item)
            if isinstance(item, LegResult):
                self._busy.pop(item.trial, None)
            results.append(item)
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
                ray.get(self._hub.close.remote(), timeout=5)
        except Exception as error:  # Ray is gone already, which is what close is for
            _log.debug("closing: %s", error)
        _stop_tune(self._fleet)
        ray.shutdown()
        self._hub = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        if self.address is None and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault(
                "RAY_AUTH_TOKEN", secrets.token_hex(32)
            )  # lives in this process and its children only
        self._folder = tempfile.mkdtemp(prefix="segsearch-ray-")
        import ray

        try:
            if self.address is None:
                ray.init(
                    address="local",
                    num_cpus=self.slots * self.slot_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=128 << 20,
                    _temp_dir=self._folder,
                    namespace="segsearch",
                )
            else:
                ray.init(
                    address=self.address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    namespace="segsearch",
                )
        except Exception as error:
            raise ExecutorError(
                f"Ray could not be started ({error}); 'ray stop' ends a half-started one."
            ) from error
        self._hub = ray.remote(Hub).options(num_cpus=0, max_concurrency=10_000).remote()
        ray.get(self._hub.ready.remote())
        self._fleet = threading.Thread(target=self._run_fleet, daemon=True, name="tune")
        self._fleet.start()

    def _run_fleet(self) -> None:
        try:
            run_fleet(self._hub, self.run_leg, self._folder)
        except BaseException as error:  # handed to the driver's thread by the next call
            self._failure = error

    def _call(self, method: Any, *arguments: Any) -> Any:
        import ray
        from ray.exceptions import RayError

        if self._failure is not None:
            raise ExecutorError(f"Ray Tune ended: {self._failure}") from self._failure
        try:
            return ray.get(method.remote(*arguments))
        except RayError as error:
            raise ExecutorError(f"the Ray cluster does not answer: {error}") from error


class Hub:
    """Hands legs to slots and keeps what they report until the driver collects it. An asynchronous actor."""

    def __init__(self) -> None:
        self.waiting: deque[Leg] = deque()
        self.opening: Counter[int] = Counter()
        self.slots: dict[str, int] = {}
        self.idle: Counter[int] = Counter()
        self.running: dict[str, tuple[Leg, float, int]] = {}
        self.results: list[Any] = []
        self.stopping: set[int] = set()
        self.closed = False
        self.changed = asyncio.Condition()

    async def ready(self) -> bool:
        """True once the actor runs."""
        return True

    async def submit(self, leg: Leg) -> None:
        """Queue a leg."""
        self.waiting.append(leg)
        await self._notify()

    async def wanted(self, capacity: float) -> int | None:
        """Cores of a slot that should be opened now, on a cluster of ``capacity``; 0 when the fleet is to end."""
        if self.closed:
            return 0
        taken = sum(self.slots.values()) + sum(cpus * count for cpus, count in self.opening.items())
        need = Counter(leg.threads for leg in self.waiting)
        for cpus, count in need.items():
            if count > self.opening[cpus] + self.idle[cpus] and taken + cpus <= capacity:
                self.opening[cpus] += 1
                return cpus
        return None

    async def take(self, slot: str, cpus: int, pid: int, *, first: bool) -> Leg | bool | None:
        """The next leg of this shape; None to ask again; False to close the slot."""
        if first:
            await self.lost(slot)
            if slot not in self.slots:  # else it was restarted in its place
                self.opening[cpus] -= 1
            self.slots[slot] = cpus
        self.idle[cpus] += 1
        try:
            async with self.changed:
                end = time.monotonic() + IDLE_S
                while (left := end - time.monotonic()) > 0:
                    if self.closed or (self.waiting and not any(leg.threads == cpus for leg in self.waiting)):
                        self.slots.pop(slot, None)
                        return False
                    for leg in self.waiting:
                        if leg.threads == cpus:
                            self.waiting.remove(leg)
                            self.running[slot] = (leg, time.monotonic(), pid)
                            return leg
                    try:
                        await asyncio.wait_for(self.changed.wait(), left)
                    except TimeoutError:
                        break
            return None
        finally:
            self.idle[cpus] -= 1

    async def report(self, slot: str, result: EpochResult) -> bool:
        """Keep an epoch's result; True asks the leg to stop."""
        if self._is_current(slot, result.fence):
            self.results.append(result)
            await self._notify()
        return self.closed or result.trial in self.stopping

    async def finish(self, slot: str, result: LegResult) -> None:
        """Keep a leg's result."""
        if self._is_current(slot, result.fence):
            del self.running[slot]
            self.stopping.discard(result.trial)
            self.results.append(result)
            await self._notify()

    async def ended(self, slot: str) -> None:
        """A slot is gone for good."""
        await self.lost(slot)
        self.slots.pop(slot, None)

    async def lost(self, slot: str) -> None:
        """A slot died and is started anew; its leg, if it had one, is reported as lost."""
        running = self.running.pop(slot, None)
        if running is not None:
            leg, since, _ = running
            self.stopping.discard(leg.trial)
            self.results.append(Lost(leg, time.monotonic() - since))
            await self._notify()

    async def collect(self, timeout_s: float) -> list[Any]:
        """Results since the last call, waiting for the first."""
        async with self.changed:
            if not self.results:
                try:
                    await asyncio.wait_for(self.changed.wait_for(lambda: bool(self.results)), timeout_s)
                except TimeoutError:
                    return []
            results, self.results = self.results, []
            return results

    async def stop(self, trial: int) -> None:
        """Ask a trial's leg to end after its epoch."""
        self.stopping.add(trial)

    async def pids(self) -> dict[int, int]:
        """Process of each trial that runs."""
        return {leg.trial: pid for leg, _, pid in self.running.values()}

    async def close(self) -> None:
        """Let every slot end."""
        self.closed = True
        await self._notify()

    def _is_current(self, slot: str, fence: int) -> bool:
        return slot in self.running and self.running[slot][0].fence == fence

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def run_fleet(hub: Any, run_leg: str, folder: str) -> None:
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

    def slot(config: dict[str, Any]) -> None:
        serve_slot(hub, config["slot"], config["cpus"], run_leg)

    sized = tune.with_resources(slot, lambda config: tune.PlacementGroupFactory([{"CPU": config["cpus"]}]))
    tuner = tune.Tuner(
        sized,
        tune_config=tune.TuneConfig(search_alg=OpenSlots(), num_samples=-1, reuse_actors=False),
        run_config=tune.RunConfig(
            name="slots",
            storage_path=f"{folder}/tune",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),
            callbacks=[ReportLost(metric=None)],
        ),
    )
    for name in ("ray.tune", "ray.tune.execution.tune_controller", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a slot that died is told by the hub
    tuner.fit()


def serve_slot(hub: Any, slot: str, cpus: int, run_leg: str) -> None:
    """Body of a slot: take a leg, run it, report; until the hub closes it."""
    import ray

    module, _, function = run_leg.partition(":")
    work: Callable[..., LegResult] = getattr(importlib.import_module(module), function)
    first = True
    while True:
        leg = ray.get(hub.take.remote(slot, cpus, os.getpid(), first=first))
        first = False
        if leg is False:
            return
        if leg is None:
            continue
        answers = [False]

        def report(result: EpochResult, answers: list[bool] = answers) -> None:
            answers[0] = ray.get(hub.report.remote(slot, result))

        ray.get(hub.finish.remote(slot, work(leg, report, lambda answers=answers: answers[0])))


def _lost_result(lost: Lost) -> LegResult:
    leg = lost.leg
    return LegResult(
        leg.search,
        leg.trial,
        leg.fence,
        "failed",
        leg.first_epoch,
        lost.seconds,
        time.time(),
        "slot lost: its process died",
    )


def _stop_tune(fleet: threading.Thread | None) -> None:
    if fleet is not None:
        fleet.join(timeout=5)


_log = logging.getLogger(__name__)
