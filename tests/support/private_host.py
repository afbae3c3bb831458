"""A machine of its own for servers that would listen on all interfaces: a network and process namespace with loopback only.

Several raylets on one machine bind its outer address. Inside the namespace there is none: every port is on 127.0.0.1 and
out of reach from outside, fixed ports are free, and all processes die with the first one. Without root it is made by a user
namespace.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

BEGIN = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
print("up", flush=True)
sys.stdin.read()
"""


class PrivateHost:
    """Starts processes in a namespace, and ends all of them."""

    def __init__(self) -> None:
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", *user, "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._outer = subprocess.Popen(
            [*command, sys.executable, "-c", BEGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._outer.stdout is not None
        assert self._outer.stdout.readline() == "up\n", "namespaces are not allowed here"
        [self.pid] = map(
            int, Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        )
        self._enter = ["nsenter", "-t", str(self.pid), "-n", "-p", "-m"]
        if user:
            self._enter += ["-U", "--preserve-credentials"]
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, command: list[str], env: dict[str, str], *, cwd: Path | None = None, log: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start a process inside; what it prints goes to a file, else into pipes."""
        output: IO[str] | int = subprocess.PIPE
        with contextlib.ExitStack() as stack:
            if log is not None:
                output = stack.enter_context(log.open("a"))
            process = subprocess.Popen(
                [*self._enter, "--", "env", "-C", str(cwd or "/"), *command],
                env=env,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if log is not None else subprocess.PIPE,
            )
        self._started.append(process)
        return process

    def wait_for_port(self, port: int, *, timeout_s: float = 60.0) -> None:
        """Wait until something listens on a port inside."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for table in ("tcp", "tcp6"):
                for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        return
            time.sleep(0.1)
        raise AssertionError(f"nothing listens on port {port} after {timeout_s:.0f} s")

    def pids(self, *words: str) -> list[int]:
        """Processes inside whose command line holds all these words, by their numbers outside."""
        mine = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.joinpath("ns/pid").readlink() != mine:
                    continue
                line = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry.name))
        return sorted(found)

    def close(self) -> None:
        """End everything inside."""
        assert self._outer.stdin is not None and self._outer.stdout is not None
        self._outer.stdin.close()
        self._outer.wait(30)
        self._outer.stdout.close()
        for process in self._started:
            process.wait(30)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def connect(one: PrivateHost, other: PrivateHost, *, ips: tuple[str, str]) -> None:
    """A cable between two private hosts, with an address at each end; both were made by root."""
    name = f"sg{one.pid}"
    for command in (
        [
            "ip",
            "link",
            "add",
            name,
            "netns",
            str(one.pid),
            "type",
            "veth",
            "peer",
            "name",
            name,
            "netns",
            str(other.pid),
        ],
        *(
            ["nsenter", "-t", str(host.pid), "-n", "ip", *words]
            for host, ip in zip((one, other), ips, strict=True)
            for words in (["addr", "add", f"{ip}/24", "dev", name], ["link", "set", name, "up"])
        ),
    ):
        subprocess.run(command, check=True)


def set_cable(one: PrivateHost, *, up: bool) -> None:
    """Pull the cable at this end, or put it back."""
    command = [
        "nsenter",
        "-t",
        str(one.pid),
        "-n",
        "ip",
        "link",
        "set",
        f"sg{one.pid}",
        "up" if up else "down",
    ]
    subprocess.run(command, check=True)
