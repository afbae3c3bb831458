"""Ray head and worker as compose.yaml starts them, with all that they need; jobs and a search through the published ports."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.infra.parity import REPOSITORY, Parity

pytestmark = pytest.mark.slow
ADDRESS = "http://127.0.0.1:8265"
JOB = """
import os, ray
ray.init(log_to_driver=False)
print(len(ray.nodes()), ray.cluster_resources()["CPU"], "RAY_AUTH_TOKEN" in os.environ)
"""
KEYS = """
import boto3
for each in boto3.client("s3").list_objects_v2(Bucket="segsearch")["Contents"]:
    print(each["Key"])
"""
RUNS = """
import mlflow
print(len(mlflow.search_runs(search_all_experiments=True, output_format="list")))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    with Parity(tmp_path_factory.mktemp("parity")) as parity:
        parity.up("ray-worker")
        yield parity


def submit(cluster: Parity, token: Path) -> "tuple[int, str]":
    done = cluster.run_on_host(
        ["ray", "job", "submit", f"--address={ADDRESS}", "--", "python", "-c", JOB],
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


def test_the_example_job_runs_to_its_export(cluster: Parity, tmp_path: Path) -> None:
    """As README.md says it, with a smaller budget: ingest with the operator's keys, submit with the token, read the journal."""
    small = yaml.safe_load((REPOSITORY / "examples" / "hippocampus.yaml").read_text())
    small["data"]["epoch_samples"] = 32
    small["search"]["scheduler"]["max_epochs"] = 1
    small |= {"budget": {"trials": 2}, "retrain": {"top": 1, "seeds": 1, "epochs": 1}}
    job = tmp_path / "hippocampus.yaml"
    job.write_text(yaml.safe_dump(small))
    secrets = cluster.secrets
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(secrets / "ray_token"),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:8333",
        "AWS_SHARED_CREDENTIALS_FILE": str(secrets / "aws_operator"),
        "AWS_REGION": "us-east-1",
        "SEGSEARCH_JOURNAL": "postgresql+psycopg://segsearch@127.0.0.1:5432/segsearch",
        "PGPASSFILE": str(secrets / "pgpass"),
    }

    def segsearch(*arguments: str) -> str:
        done = cluster.run_on_host(["segsearch", *arguments], timeout_s=500, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    dataset, storage = "s3://segsearch/datasets/hippocampus", "s3://segsearch/runs"
    segsearch("data", "ingest", str(REPOSITORY / "examples" / "data" / "hippocampus"), dataset)
    printed = segsearch(
        *("submit", str(job), "--address", ADDRESS, "--dataset", dataset, "--storage", storage, "--follow")
    )
    trials = json.loads(segsearch("leaderboard", "hippocampus", "--json"))
    assert trials, printed
    keys = cluster.run("bootstrap", ["python", "-c", KEYS]).stdout.splitlines()
    assert any(key.startswith("runs/hippocampus/checkpoints/") for key in keys)
    assert any(key.startswith("runs/hippocampus/exports/") and key.endswith("proof.json") for key in keys)
    runs = cluster.run("ray-head", ["python", "-W", "ignore", "-c", RUNS])
    assert int(runs.stdout) >= len(trials), "MLflow, asked as a node, has a run for each trial"
