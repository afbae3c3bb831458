"""The work of an ingest spread over a Ray cluster: a task for each shard and pass."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from orchestrator.errors import ExecutorError
from orchestrator.executors.ray_tune import join
from workers.data.spread import outcome, result_of

TASKS_A_CORE = 2  # handed out ahead, so that no core waits
ADVICE = "every node of the cluster must see the source folder"
RETRIES = 3  # of a task whose node was lost; writing a shard twice changes nothing

Task = TypeVar("Task")
Result = TypeVar("Result")


class RaySpread:
    """A ``workers.data.spread.Spread`` over the cores of a cluster.

    Every node must see the source folder and the destination under the same names. Rows that the first pass keeps on one node
    are read from the source again where the second pass runs on another.

    Args:
        address: ``auto`` on a node of the cluster, or ``HOST:6379``.

    Raises:
        ExecutorError: No cluster answers there.
    """

    def __init__(self, address: str) -> None:
        self._cores = max(1, int(sum(node.cpus for node in join(address))))

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        import ray

        remote: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(outcome)
        waiting = iter(range(len(tasks)))
        running: dict[Any, int] = {}
        while True:
            while len(running) < TASKS_A_CORE * self._cores:
                number = next(waiting, None)
                if number is None:
                    break
                running[remote.remote(function, tasks[number], advice=ADVICE)] = number
            if not running:
                return
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            done = running.pop(ready)
            try:
                told = ray.get(ready)
            except ray.exceptions.RayError as error:
                raise ExecutorError(
                    f"a task of the ingest was lost ({str(error).splitlines()[0]}); ingest again, finished shards stay."
                ) from error
            yield done, result_of(told)
