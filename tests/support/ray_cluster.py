"""A cluster as a user has it, on a private host: Ray head and workers with a token, object storage, PostgreSQL, MLflow.

The servers' secrets are in the environment of the cluster's nodes only. The client has the token, and nothing else.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from private_host import PrivateHost
from servers import PROGRAMS, free_ports, weed

BUCKET = "segsearch"
ADDRESS = "http://127.0.0.1:8265"
MLFLOW = "http://127.0.0.1:5000"
S3_PORT = 8333
UP_S = 120.0


@dataclass
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


@dataclass
class RayCluster:
    """Servers on a private host.

    Attributes:
        folder: Where everything is kept.
        host: The private host.
        postgres: URL of a database that is reached through a Unix socket.
        ip: Address of the host, on which store and Ray listen.
        store_keys: Key id and secret of the identity that may use the bucket.
    """

    folder: Path
    host: PrivateHost
    postgres: str
    ip: str = "127.0.0.1"
    store_keys: tuple[str, str] = field(
        default_factory=lambda: ("cluster", f"canary-{secrets.token_hex(12)}")
    )
    token: str = field(default_factory=lambda: f"canary{secrets.token_hex(20)}")
    head_raylet: int = 0

    @property
    def ray(self) -> Path:
        """Where Ray's head keeps its files."""
        return self.folder / "r"

    @property
    def base_env(self) -> dict[str, str]:
        """What every process gets: no variable of this machine's user, but its programs."""
        return {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AWS_EC2_METADATA_DISABLED": "true",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def store_env(self) -> dict[str, str]:
        """What a process needs to use the bucket."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.ip}:{S3_PORT}",
            "AWS_ACCESS_KEY_ID": self.store_keys[0],
            "AWS_SECRET_ACCESS_KEY": self.store_keys[1],
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def token_env(self) -> dict[str, str]:
        """What a client of the cluster needs."""
        return {"RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}

    @property
    def node_env(self) -> dict[str, str]:
        """What every node of the cluster has."""
        return {
            **self.base_env,
            **self.store_env,
            **self.token_env,
            "RAY_AUTH_MODE": "token",
            "SEGSEARCH_JOURNAL": self.postgres,
            "SEGSEARCH_CACHE": str(self.folder / "cache"),
            "MLFLOW_TRACKING_URI": MLFLOW,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        }

    def start_store(self) -> None:
        """SeaweedFS with two identities: one that may do all, one that may only read."""
        read_only = {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}]}
        identities = [
            {
                "name": "cluster",
                "credentials": [{"accessKey": self.store_keys[0], "secretKey": self.store_keys[1]}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            },
            {**read_only, "actions": ["Read", "List"]},
        ]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        place = self.folder / "weed"
        place.mkdir()
        command = [
            weed(),
            "server",
            f"-ip={self.ip}",
            f"-ip.bind={self.ip}",
            f"-dir={place}",
            "-s3",
            f"-s3.port={S3_PORT}",
        ]
        command += [
            f"-s3.config={self.folder / 's3.json'}",
            "-filer",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=20",
        ]
        command += ["-master.telemetry=false", "-s3.autoCreateBucket=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        # Its parts also talk through sockets in /tmp that are named by port, which servers on other private hosts share.
        servers = ("master", "volume", "filer", "s3")
        ports = free_ports(2 * len(servers))
        for name, http, grpc in zip(servers, ports[: len(servers)], ports[len(servers) :], strict=True):
            command.append(f"-{name}.port.grpc={grpc}")
            if name != "s3":
                command.append(f"-{name}.port={http}")
        self.host.start(command, self.base_env, cwd=place, log=self.folder / "weed.log")

    def start_mlflow(self) -> None:
        """An MLflow server of one process."""
        env = {
            **self.base_env, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        place = self.folder / "mlflow"
        place.mkdir()
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            "5000",
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{place}/server.db"]
        command += ["--artifacts-destination", str(place / "artifacts"), "--serve-artifacts"]
        self.host.start(command, env, cwd=place, log=self.folder / "mlflow.log")

    def start_head(self, *, cpus: int = 1, env: dict[str, str] | None = None) -> None:
        """Ray's head with its dashboard."""
        command = [
            str(PROGRAMS / "ray"),
            "start",
            "--head",
            f"--node-ip-address={self.ip}",
            "--dashboard-host=127.0.0.1",
        ]
        self._start_ray([*command, f"--num-cpus={cpus}", f"--temp-dir={self.ray}"], env)
        self.host.wait_for_port(8265)
        [self.head_raylet] = self.host.pids("/raylet/raylet")

    def start_worker(
        self,
        *,
        cpus: int = 1,
        gpus: int = 0,
        env: dict[str, str] | None = None,
        host: PrivateHost | None = None,
        ip: str | None = None,
    ) -> int:
        """One more node; the process of its raylet.

        Ray keeps its files in the head's folder; as on a machine of its own, this node sees another one in its place.

        Args:
            cpus: Cores that it offers.
            gpus: Cards that it offers; none needs to be there.
            env: More variables.
            host: Where it runs; else beside the head.
            ip: Address of that host.
        """
        where = host or self.host
        before = set(where.pids("/raylet/raylet"))
        mine = self.folder / f"node-{len(before)}-{ip or self.ip}"
        mine.mkdir(exist_ok=True)
        bind = 'mount --bind "$0" "$1" && shift && exec "$@"'
        command = [
            "unshare",
            "-m",
            "sh",
            "-c",
            bind,
            str(mine),
            str(self.ray),
            str(PROGRAMS / "ray"),
            "start",
        ]
        command += [f"--address={self.ip}:6379", f"--node-ip-address={ip or self.ip}"]
        self._start_ray([*command, f"--num-cpus={cpus}", f"--num-gpus={gpus}"], env, where)
        [raylet] = set(where.pids("/raylet/raylet")) - before
        return raylet

    def kill_all(self) -> None:
        """kill -9 of every process of Ray and of every driver, as when all machines of a cluster lose power."""
        for word in ("ray", "orchestrator.supervisor", "orchestrator.cli.main", "orchestrator.tracking"):
            for pid in self.host.pids(word):
                if pid != self.host.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self.until("the end of Ray", lambda: not self.host.pids("raylet"))

    def call(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float = 400,
    ) -> Done:
        """Run a command of segsearch as a client on the private host."""
        command = [sys.executable, "-m", "orchestrator.cli.main", *arguments]
        environment = {**self.base_env, **self.token_env, **(env or {})}
        process = self.host.start(command, environment, cwd=cwd or self.folder)
        out, err = process.communicate(timeout=timeout_s)
        assert "Traceback" not in out + err, out + err
        return Done(process.returncode, out, err)

    def json(self, *arguments: str, **options: Any) -> Any:
        """A command that must succeed, with ``--json``: what it printed."""
        done = self.call(*arguments, "--json", **options)
        assert done.code == 0, done
        return json.loads(done.out)

    def until(self, what: str, condition: Any, *, timeout_s: float = UP_S) -> Any:
        """Wait for something to become true, and give it back."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < end, f"{what} did not happen within {timeout_s:.0f} s"
            time.sleep(0.5)
        return found

    def _start_ray(
        self, command: Sequence[str], env: dict[str, str] | None, host: PrivateHost | None = None
    ) -> None:
        log = self.folder / "ray.log"
        more = ["--object-store-memory=100000000", "--disable-usage-stats"]
        where = host or self.host
        process = where.start([*command, *more], {**self.node_env, **(env or {})}, log=log)
        assert process.wait(UP_S) == 0, log.read_text()[-3000:]


def make_bucket(cluster: RayCluster) -> None:
    """Make the bucket with the key that may."""
    code = f"import boto3; boto3.client('s3').create_bucket(Bucket={BUCKET!r})"
    environment = {**cluster.base_env, **cluster.store_env}
    end = time.monotonic() + UP_S
    while True:
        process = cluster.host.start([sys.executable, "-c", code], environment)
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            return
        assert time.monotonic() < end, out + err
        time.sleep(0.5)


def start_servers(cluster: RayCluster) -> None:
    """Store with its bucket, and MLflow, which takes a little longer than this."""
    (cluster.folder / "token").write_text(cluster.token)
    cluster.ray.mkdir()
    cluster.start_store()
    cluster.start_mlflow()
    cluster.host.wait_for_port(S3_PORT)
    make_bucket(cluster)


def start_all(folder: Path, postgres: str) -> RayCluster:
    """All servers, a head that runs no trials and two workers with a core each."""
    cluster = RayCluster(folder, PrivateHost(), postgres)
    try:
        start_servers(cluster)
        cluster.start_head(cpus=0)
        cluster.start_worker(cpus=1)
        cluster.start_worker(cpus=1)
        cluster.host.wait_for_port(5000)
    except BaseException:
        cluster.host.close()
        raise
    return cluster
