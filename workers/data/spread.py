"""The same function over many tasks, in this process or spread over several; the results do not depend on which."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, TypeVar

from workers.errors import DataError, WorkerError

PAYS_S = (
    1.0  # work that is left from which on processes are worth their start, which takes about half a second
)
# A program of its own, so that a script that calls ``ingest`` needs no ``if __name__ == "__main__"``.
_CHILD = "import sys; from workers.data.spread import serve; serve(int(sys.argv[1]))"

Task = TypeVar("Task")
Result = TypeVar("Result")
Told = tuple[bool, Any]
"""Whether a function went right, and what it gave, or the error."""


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
    """This process and others of this machine. They start when the tasks so far say that it pays, take tasks while this
    one goes on with its own, and end with it, whatever ends it.

    Args:
        jobs: Processes at most, this one counted.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pipes: list[Connection[Any, Any]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._feeders: list[Thread] = []
        self._waiting: SimpleQueue[int] = SimpleQueue()  # numbers of the tasks at hand that nobody has begun

    def __enter__(self) -> "LocalSpread":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while _next(self._waiting) is not None:
            pass  # what an error left undone
        if kind is not None:
            for process in self._processes:
                process.terminate()
        for feeder in self._feeders:
            feeder.join()
        for pipe in self._pipes:
            pipe.close()  # an idle process sees the end of its pipe and ends
        for process in self._processes:
            process.wait()

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        begin = time.monotonic()
        for number, task in enumerate(tasks):
            left = len(tasks) - number
            if self._jobs > 1 and left > 1:
                expected_s = (time.monotonic() - begin) / number * left if number else 0.0
                if self._pipes or expected_s > PAYS_S:
                    yield from self._together(function, tasks, number)
                    return
            yield number, result_of(outcome(function, task))

    def _together(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], first: int
    ) -> Iterator[tuple[int, Result]]:
        self._start(len(tasks) - first - 1)
        told: SimpleQueue[tuple[int, Told]] = SimpleQueue()
        # One a call: a feeder of the call before may not have seen yet that its tasks are over.
        waiting = self._waiting = SimpleQueue()
        for number in range(first, len(tasks)):
            waiting.put(number)
        for pipe in self._pipes:
            feeder = Thread(target=_feed, args=(pipe, function, tasks, waiting, told), daemon=True)
            self._feeders.append(feeder)
            feeder.start()
        for _ in range(first, len(tasks)):
            own = _next(waiting) if told.empty() else None
            if own is not None:
                told.put((own, outcome(function, tasks[own])))
            number, result = told.get()
            yield number, result_of(result)

    def _start(self, num_tasks: int) -> None:
        while len(self._pipes) < min(self._jobs - 1, num_tasks):
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


def _feed(
    pipe: "Connection[Any, Any]",
    function: Callable[[Task], Any],
    tasks: Sequence[Task],
    waiting: "SimpleQueue[int]",
    told: "SimpleQueue[tuple[int, Told]]",
) -> None:
    """Hand a process one task after another, and pass on what it tells."""
    while (number := _next(waiting)) is not None:
        try:
            pipe.send((function, tasks[number]))
            told.put((number, pipe.recv()))
        except (EOFError, OSError, MemoryError):
            what = "a process of the ingest died, perhaps for lack of memory; give fewer --jobs."
            told.put((number, (False, DataError(what))))
            return


def _next(waiting: "SimpleQueue[int]") -> int | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def outcome(
    function: Callable[[Task], Any],
    task: Task,
    *,
    advice: str = "leave the source folder as it is, and ingest again",
) -> Told:
    """Errors that a user should read come as values; a file may go away or become unreadable at any time."""
    try:
        return True, function(task)
    except WorkerError as error:
        return False, error
    except OSError as error:
        what = f"{error.filename or 'a file'}: cannot be read ({error.strerror or error})"
        return False, DataError(f"{what}; {advice}.")


def result_of(told: Told) -> Any:
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
