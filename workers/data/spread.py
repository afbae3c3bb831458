"""The same function over many tasks, in this process or spread over several; the results do not depend on which."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from workers.errors import DataError, WorkerError

PAYS_S = (
    1.5  # work that is left from which on processes are worth their start, which takes about half a second
)
# A program of its own, so that a script that calls ``ingest`` needs no ``if __name__ == "__main__"``.
_CHILD = "import sys; from workers.data.spread import serve; serve(int(sys.argv[1]))"

Task = TypeVar("Task")
Result = TypeVar("Result")


class Spread(Protocol):
    """Where the work of an ingest is done."""

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Results as they come, each with the number of its task.

        Args:
            function: Of a module, so that another process finds it.
            tasks: What it is called with.

        Raises:
            WorkerError: As the function raises.
            DataError: A process died, or a file cannot be read.
        """


def default_jobs() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class LocalSpread:
    """Processes of this machine. They start when the tasks so far say that it pays, and end with this process, whatever
    ends it.

    Args:
        jobs: Processes at most; 1 does all work in this one.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pipes: list[Connection[Any, Any]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "LocalSpread":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # an idle process sees the end of its pipe and ends
        for process in self._processes:
            if kind is not None:
                process.terminate()
            process.wait()

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        begin = time.monotonic()
        for number, task in enumerate(tasks):
            left = len(tasks) - number
            if self._jobs > 1 and left > 1:
                expected_s = (time.monotonic() - begin) / number * left if number else 0.0
                if self._pipes or expected_s > PAYS_S:
                    yield from self._elsewhere(function, tasks, number)
                    return
            yield number, result_of(outcome(function, task))

    def _elsewhere(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], first: int
    ) -> Iterator[tuple[int, Result]]:
        self._start(len(tasks) - first)
        waiting = iter(range(first, len(tasks)))
        busy: dict[Any, int] = {}
        for pipe in self._pipes:
            number = next(waiting, None)
            if number is not None:
                _hand(pipe, function, tasks[number])
                busy[pipe] = number
        while busy:
            for ready in wait(list(busy)):
                pipe = cast("Connection[Any, Any]", ready)
                done, result = busy.pop(pipe), _answer(pipe)
                following = next(waiting, None)
                if following is not None:
                    _hand(pipe, function, tasks[following])
                    busy[pipe] = following
                yield done, result

    def _start(self, num_tasks: int) -> None:
        while len(self._pipes) < min(self._jobs, num_tasks):
            mine, theirs = socket.socketpair()
            with theirs:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-c", _CHILD, str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    )
                )
            self._pipes.append(Connection(mine.detach()))


def _hand(pipe: "Connection[Any, Any]", function: Callable[[Task], Any], task: Task) -> None:
    with contextlib.suppress(OSError):  # a process that died is told of when its answer is asked for
        pipe.send((function, task))


def _answer(pipe: "Connection[Any, Any]") -> Any:
    try:
        answer = pipe.recv()
    except (EOFError, OSError):
        raise DataError(
            "a process of the ingest died, perhaps for lack of memory; give fewer --jobs."
        ) from None
    return result_of(answer)


def outcome(
    function: Callable[[Task], Any],
    task: Task,
    *,
    advice: str = "leave the source folder as it is, and ingest again",
) -> tuple[bool, Any]:
    """Errors that a user should read come as values; a file may go away or become unreadable at any time."""
    try:
        return True, function(task)
    except WorkerError as error:
        return False, error
    except OSError as error:
        what = f"{error.filename or 'a file'}: cannot be read ({error.strerror or error})"
        return False, DataError(f"{what}; {advice}.")


def result_of(told: tuple[bool, Any]) -> Any:
    """What a function gave, or its error raised."""
    is_right, answer = told
    if not is_right:
        raise answer
    return answer


def serve(handle: int) -> None:
    """Do what comes through a socket until it closes, as it does when the other side dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    pipe: Connection[Any, Any] = Connection(handle)
    while True:
        try:
            function, task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(outcome(function, task))
        except OSError:
            return
