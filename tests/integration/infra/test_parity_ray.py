"""Ray head and worker as compose.yaml starts them, with all that they need, and a job through the head's published port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.infra.parity import Parity

JOB = """
import os, ray
ray.init(log_to_driver=False)
print(len(ray.nodes()), ray.cluster_resources()["CPU"], "RAY_AUTH_TOKEN" in os.environ)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    with Parity(tmp_path_factory.mktemp("parity")) as parity:
        parity.up("ray-worker")
        yield parity


def submit(cluster: Parity, token: Path) -> "tuple[int, str]":
    done = cluster.run_on_host(
        ["ray", "job", "submit", "--address=http://127.0.0.1:8265", "--", "python", "-c", JOB],
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
    )
    return done.returncode, done.stdout + done.stderr


def test_a_job_from_the_host_finds_head_and_worker(cluster: Parity) -> None:
    status, output = submit(cluster, cluster.secrets / "ray_token")
    assert status == 0, output
    assert "2 2.0 False" in output, "two nodes; the worker's CPUs, and none of the head's"


def test_a_job_with_another_token_is_refused(cluster: Parity, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    status, output = submit(cluster, tmp_path / "token")
    assert status != 0
    assert "403" in output or "invalid" in output.lower()
