"""A driver: the process that leads a search, and whether it is known to be dead."""

import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from workers.contract import JSON


@dataclass(frozen=True, slots=True)
class Driver:
    """Identity of a process across machines and across reuse of process numbers.

    Attributes:
        host: Name of the machine, for people.
        machine: Boot and process-number space: within one, a ``pid`` means one process. Empty where the system tells
            neither.
        pid: Process number.
        started: When the process began, as the system counts; empty where it does not tell.
        since: Unix time at which it became a driver.
    """

    host: str
    machine: str
    pid: int
    started: str
    since: float

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _started(pid), time.time())

    @classmethod
    def from_json(cls, data: JSON) -> Self:
        """What ``to_json`` made."""
        return cls(**data)

    def to_json(self) -> JSON:
        """As a JSON object."""
        return asdict(self)

    def since_text(self) -> str:
        """``since`` for people, in UTC."""
        return datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def is_dead(self) -> bool:
        """Whether the process is certainly gone; False where this machine cannot know."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return bool(self.started) and _started(self.pid) != self.started


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Field 22 of ``/proc/<pid>/stat``, counted behind the command's closing bracket; empty for a zombie too."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
