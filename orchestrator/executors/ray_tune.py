"""Legs on a Ray cluster: Tune trials are slots, long-lived workers that take one leg after another.

Tune places the slots, restarts the ones that die and scales the cluster; it knows nothing of candidates and keeps
nothing worth saving. The hub (a small actor) hands legs to slots and collects what they report. The searcher opens a
slot when a leg waits for its shape; a slot whose shape nobody waits for closes when another shape is waited for.

On a cluster, every node that can run slots first shows that it reaches data, storage and the driver's code; a node that joins
later shows it when its first slot opens.

A local Ray listens on loopback only, with a token that lives in the environment of its processes. It ends with the
driver, however the driver ends: the kernel kills its servers, workers follow, its agents notice within a minute. The
folder that a killed driver left behind is removed by the next one.
"""

import fcntl
import importlib
import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from orchestrator.errors import ExecutorError, PlaceError
from orchestrator.executor import Result
from orchestrator.executors.hub import TOUCH, Hub
from orchestrator.executors.ray_fleet import Reach, run_fleet
from orchestrator.slots import Node
from workers.contract import Leg, LegResult
from workers.reach import find_fault

RUN_LEG = "workers.leg:run_leg"
PACKAGES = ("orchestrator", "search_spaces", "workers")
FOLDER = "segsearch-ray-"  # short: paths of sockets below it may have 107 characters
CLOSE_S = 5.0
KNOCK_S = 10.0  # for a cluster's port to open
YOUNG_S = 60.0  # a folder younger than this may belong to a driver that has not locked it yet
PROOF_S = 60.0  # for every node to show what it reaches
LOCAL_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a local Ray then binds 127.0.0.1, not all interfaces
    "RAY_USAGE_STATS_ENABLED": "0",
}
TUNE_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a slot has no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def refuse_shadows(folder: Path) -> None:
    """Ray looks for modules in the driver's folder first: one that is called like a package of ours would be taken for it.

    Raises:
        ExecutorError: There is one.
    """
    for name in PACKAGES:
        own = importlib.import_module(name).__file__
        for path in (folder / f"{name}.py", folder / name / "__init__.py"):
            if path.exists() and own is not None and not path.samefile(own):
                raise ExecutorError(
                    f"{path} would be imported in place of segsearch's package of that name by Ray's workers; rename it, "
                    "run segsearch from another folder, or without Ray: --in-process."
                )


def join(address: str) -> tuple[Node, ...]:
    """Connect this process to a running cluster; its nodes.

    Args:
        address: ``auto`` on a node of the cluster, or ``HOST:6379``.

    Raises:
        ExecutorError: It does not answer.
    """
    _set_defaults(TUNE_SETTINGS)
    import ray

    if not ray.is_initialized():
        try:
            _knock(address)
            _quiet()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="segsearch")
        except Exception as error:
            raise ExecutorError(
                f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); check the address, the token "
                "in RAY_AUTH_TOKEN_PATH, and RAY_AUTH_MODE=token."
            ) from error
    return tuple(_node(found) for found in _alive())


def _knock(address: str) -> None:
    """Where nothing listens Ray itself waits for minutes before it says so.

    Raises:
        OSError: Nothing listens.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        with socket.create_connection((host, int(port)), timeout=KNOCK_S):
            pass


class RayTuneExecutor:
    """Runs legs on Ray, each with ``leg.threads`` cores, and a card where its device is one.

    Args:
        slots: How many legs of one slot run side by side.
        slot_cpus: Cores of a slot.
        slot_gpus: Cards of a slot, 0, 1, or the part of one that it shares.
        reach: What the nodes of the cluster must reach that this process has joined (``join``); None starts a Ray of its
            own on loopback.
        run_leg: ``module:function`` that every slot imports.
    """

    def __init__(
        self,
        *,
        slots: int,
        slot_cpus: int = 1,
        slot_gpus: float = 0,
        reach: Reach | None = None,
        run_leg: str = RUN_LEG,
    ) -> None:
        self.slots, self.slot_cpus, self.slot_gpus = slots, slot_cpus, slot_gpus
        self.reach, self.run_leg = reach, run_leg
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
        self.open()
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

    def open(self) -> None:
        """Start Ray, or check the nodes of the cluster; nothing where that is done. The first leg does it otherwise.

        Raises:
            ExecutorError: Ray could not be started, or is gone.
            PlaceError: A node does not reach what legs need.
        """
        if self._hub is not None:
            return
        if self.reach is not None:
            check_nodes(self.reach)
        _remove_abandoned()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._lock = _locked(self._folder)
        if self.reach is None:
            self._start_ray()
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        hub = ray.remote(Hub).options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
        self._hub = hub.remote()
        self._fleet = threading.Thread(target=self._run_fleet, daemon=True, name="tune")
        self._fleet.start()

    def _start_ray(self) -> None:
        refuse_shadows(Path.cwd())
        _set_defaults(LOCAL_SETTINGS | TUNE_SETTINGS)
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # a token for this process and its children only
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        try:
            _quiet()
            ray.init(
                address="local",
                num_cpus=self.slots * self.slot_cpus,
                num_gpus=math.ceil(self.slots * self.slot_gpus - TOUCH),
                include_dashboard=False,
                object_store_memory=128 << 20,
                _temp_dir=str(self._folder),
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="segsearch",
            )
        except Exception as error:
            raise ExecutorError(
                f"Ray could not be started ({error}); look into {self._folder}, or run without it: --in-process."
            ) from error

    def _run_fleet(self) -> None:
        try:
            run_fleet(self._hub, self.run_leg, self._folder, self.reach)
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


def check_nodes(reach: Reach) -> None:
    """Let every node that can run slots show that it reaches what legs need.

    Raises:
        PlaceError: Some do not, each with its reason.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    able = [found for found in _alive() if _node(found).cpus]
    asked = [
        ray.remote(find_fault)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(found["NodeID"], soft=False))
        .remote(reach.data, reach.storage, reach.mark, reach.code)
        for found in able
    ]
    faults = []
    for found, answer in zip(able, asked, strict=True):
        try:
            fault = str(ray.get(answer, timeout=PROOF_S))
        except RayError as error:
            fault = f"cannot run a task: {str(error).strip().splitlines()[-1]}"
        faults += [f"node {_node(found).name} {fault}"] if fault else []
    if faults:
        raise PlaceError("\n  - ".join(["the cluster cannot run this job, nothing was started:", *faults]))


def _set_defaults(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _alive() -> list[dict[str, Any]]:
    import ray

    return [found for found in ray.nodes() if found["Alive"]]  # type: ignore[no-untyped-call]  # Ray annotates a part of itself


def _node(found: dict[str, Any]) -> Node:
    resources = found["Resources"]
    name = f"{found['NodeManagerHostname']} ({found['NodeManagerAddress']})"
    return Node(name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


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
