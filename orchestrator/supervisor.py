"""The submitted job: keeps a driver alive until the search is over. A driver that dies is no event.

    python3 -m orchestrator.supervisor run job.yaml [--dataset D] [--storage S]
    python3 -m orchestrator.supervisor fork OTHER --with job.yaml [--dataset D] [--storage S]
    python3 -m orchestrator.supervisor resume NAME [--storage S]

The driver is a process of its own. When it is killed, or loses the database or the cluster, it is started again and goes on by
name. When it says that the job is wrong, or is done, the supervisor ends with its exit code.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.errors import OrchestratorError
from orchestrator.job import load_job
from orchestrator.journal import LEASE_S, Journal
from orchestrator.places import DEFAULT_STORAGE, absolute, journal_url
from orchestrator.yaml_document import DocumentError

FINAL = (0, 2, 130)  # done, told that something is wrong, interrupted
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)  # before each start that follows a driver which did nothing
PATIENCE_S = LEASE_S + 15.0  # for the lease of a driver that died with its machine


@dataclass(slots=True)
class Supervisor:
    """Starts drivers of one search, one after another.

    Attributes:
        search: Name of the search.
        command: The driver's command line.
        journal: Where its progress shows.
        say: Told what happens.
    """

    search: str
    command: Sequence[str]
    journal: Journal
    say: Callable[[str], None]

    def run(self) -> int:
        """Exit code of the last driver."""
        fruitless = 0
        if (holder := self._wait_until_free()) is not None:
            self.say(f"error: search {self.search!r} is led by {holder}; stop that driver first.")
            return 2
        while True:
            before = self._progress()
            code = self._drive()
            if code in FINAL:
                return code
            after = self._progress()
            fruitless = fruitless + 1 if after == before else 0
            if fruitless == len(PAUSES_S) or (fruitless and after.finished):
                self.say(f"the driver ended with {_reason(code)} and got nothing done; giving up.")
                return 1
            pause = PAUSES_S[fruitless]
            self.say(f"the driver ended with {_reason(code)}; it starts again in {pause:.0f} s and goes on.")
            time.sleep(pause)
            self._wait_until_free()

    def _drive(self) -> int:
        process = subprocess.Popen(self.command)

        def forward(number: int, _frame: object) -> None:
            process.send_signal(number)

        before = signal.signal(signal.SIGTERM, forward)
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)

    def _wait_until_free(self) -> str | None:
        """Wait for the lease of a dead driver to end; the living one that leads, if there is one."""
        end, said = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                leader = self.journal.leader(self.search) if self.search in self.journal.names() else None
            except OrchestratorError:
                leader = None  # the driver will say it
            if leader is None:
                return None
            who = f"process {leader.pid} on {leader.host} since {leader.since_text()}"
            if time.monotonic() > end:
                return who
            if not said:
                said = True
                self.say(
                    f"search {self.search!r} is led by {who}; waiting up to {PATIENCE_S:.0f} s for its end."
                )
            time.sleep(1.0)

    def _progress(self) -> "_Progress":
        try:
            if self.search not in self.journal.names():
                return _Progress(0, False)
            written = self.journal.read(self.search)
        except OrchestratorError:
            return _Progress(-1, False)
        kinds = [event.kind for event in written if event.kind != "leading"]
        ends = [kind for kind in kinds if kind in ("finished", "extended")]
        return _Progress(len(kinds), ends[-1:] == ["finished"])


@dataclass(frozen=True, slots=True)
class _Progress:
    """Events that say more than that a driver began, and whether the search is over."""

    events: int
    finished: bool


def _reason(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _option(arguments: Sequence[str], name: str) -> str | None:
    return arguments[arguments.index(name) + 1] if name in arguments else None


def main(arguments: Sequence[str]) -> int:
    """Supervise ``run JOB …``, ``fork OTHER --with JOB …`` or ``resume NAME …``."""
    verb, target, *rest = arguments
    storage = _option(rest, "--storage")
    command = [sys.executable, "-P", "-m", "orchestrator.cli.main", verb, target, "--cluster", "auto", *rest]
    if verb in ("run", "fork"):
        try:
            job = load_job(_option(rest, "--with") or target)
        except DocumentError as error:
            print("\n".join(error.lines()), flush=True)
            return 2
        target, storage = job.name, storage or job.storage
        command.append("--resume")
    journal = Journal(journal_url(absolute(storage or DEFAULT_STORAGE)))
    return Supervisor(target, command, journal, lambda text: print(text, flush=True)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
