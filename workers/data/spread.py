"""The same function over many tasks, in threads of this process and in others; the results do not depend on which.

Threads start at once and share memory. Decoders, hashes, zstd and numpy let go of Python's lock; it is held for three tenths of
the CPU time of a picture of 480 x 360 pixels and a sixth of one of 2048 x 1024, which bounds how many threads pay.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from workers.data.room import Room
from workers.errors import DataError, WorkerError

THREADS = 4  # of one process, the one that asks included; further jobs are processes
PAYS_S = 1.0  # what is left to wait for from which on processes are worth their start, a third of a second
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


@dataclass(frozen=True, slots=True)
class _Call(Generic[Task]):
    """One call of ``each``. It has its own queues: a thread of the call before may not have seen yet that its tasks are over.

    Attributes:
        function: What is done.
        tasks: Of all.
        waiting: Numbers of the tasks that nobody has begun.
        room: Memory that the tasks share.
        told: What came of tasks, by number.
    """

    function: Callable[[Task], Any]
    tasks: Sequence[Task]
    waiting: SimpleQueue[int]
    room: Room
    told: SimpleQueue[tuple[int, Told]] = field(default_factory=SimpleQueue)


class LocalSpread:
    """Threads of this process, and other processes of this machine, which start when the tasks so far say that it pays, take
    tasks while this one goes on with its own, and end with it, whatever ends it.

    Args:
        jobs: Threads and processes at most, the thread that asks counted.
        room: Memory that their tasks share; a task waits until there is enough.
    """

    def __init__(self, jobs: int, *, room: Room | None = None) -> None:
        self._jobs = jobs
        self._room = room or Room()
        self._pipes: list[Connection[Any, Any]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []
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
        for thread in self._threads:
            thread.join()
        for pipe in self._pipes:
            pipe.close()  # an idle process sees the end of its pipe and ends
        for process in self._processes:
            process.wait()

    def each(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        waiting = self._waiting = SimpleQueue()
        for number in range(len(tasks)):
            waiting.put(number)
        call = _Call(function, tasks, waiting, self._room)
        for _ in range(1, min(self._jobs, THREADS, len(tasks))):
            self._begin(_work, call)
        for pipe in self._pipes:
            self._begin(_feed, call, pipe)
        begin = time.monotonic()
        for num_done in range(len(tasks)):
            expected_s = (time.monotonic() - begin) / max(1, num_done) * waiting.qsize()
            if num_done and expected_s > PAYS_S:
                for pipe in self._start(waiting.qsize()):
                    self._begin(_feed, call, pipe)
            own = _next(waiting) if call.told.empty() else None
            if own is not None:
                call.told.put((own, _outcome(call, own)))
            number, result = call.told.get()
            yield number, result_of(result)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = Thread(target=work, args=arguments, daemon=True)
        with suppress(RuntimeError):  # no memory for one more: the others do its share
            thread.start()
            self._threads.append(thread)

    def _start(self, num_tasks: int) -> "list[Connection[Any, Any]]":
        """Pipes to as many new processes as there are jobs left and tasks for them."""
        started = len(self._pipes)
        while len(self._pipes) < min(self._jobs - THREADS, num_tasks):
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
        return self._pipes[started:]


def _work(call: _Call[Any]) -> None:
    """Do one task after another; what is no error of a user is raised where the results are asked for."""
    while (number := _next(call.waiting)) is not None:
        try:
            call.told.put((number, _outcome(call, number)))
        except BaseException as error:
            call.told.put((number, (False, error)))


def _feed(call: _Call[Any], pipe: "Connection[Any, Any]") -> None:
    """Hand a process one task after another, and pass on what it tells."""
    while (number := _next(call.waiting)) is not None:
        try:
            with call.room.hold(call.tasks[number]):
                pipe.send((call.function, call.tasks[number]))
                answer: Told = pipe.recv()
        except (EOFError, OSError, MemoryError):
            what = "a process of the ingest died, perhaps for lack of memory; give fewer --jobs."
            call.told.put((number, (False, DataError(what))))
            return
        except BaseException as error:  # what cannot be pickled, such as a user's own source
            answer = False, error
        call.told.put((number, answer))


def _outcome(call: _Call[Any], number: int) -> Told:
    with call.room.hold(call.tasks[number]):
        return outcome(call.function, call.tasks[number])


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
    except MemoryError:
        return False, DataError("no memory for a task of the ingest; give fewer --jobs.")
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
