"""What compose.yaml starts is up, keeps out who has no login, and lets each part reach no more than its own."""

from collections.abc import Iterator

import pytest

from tests.integration.infra.parity import Parity

QUERY = """
import os, sqlalchemy as sql
print(sql.create_engine(os.environ["SEGSEARCH_JOURNAL"]).connect().scalar(sql.text({0!r})))
"""
S3 = """
import boto3, botocore
client = boto3.client("s3")
try:
    {0}
    print("allowed")
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""
PUT = "client.put_object(Bucket={0!r}, Key={1!r}, Body=b'x')"
GET = "client.get_object(Bucket={0!r}, Key={1!r})['Body'].read()"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    """All services but Ray's."""
    with Parity(tmp_path_factory.mktemp("parity")) as parity:
        parity.up("bootstrap")
        yield parity


def python(cluster: Parity, service: str, code: str, **environment: str) -> str:
    """What a program prints in the container of a service; its error where it fails."""
    done = cluster.run(service, ["python", "-W", "ignore", "-c", code], **environment)
    return done.stdout.strip() if done.returncode == 0 else done.stderr


def s3(cluster: Parity, service: str, call: str, **environment: str) -> str:
    return python(cluster, service, S3.format(call), **environment)


# PostgreSQL


def test_ray_nodes_log_in_to_the_journal_with_the_mounted_password(cluster: Parity) -> None:
    assert python(cluster, "ray-head", QUERY.format("select current_user")) == "segsearch"


def test_the_server_is_of_the_major_version_of_the_image(cluster: Parity) -> None:
    assert python(cluster, "ray-head", QUERY.format("show server_version")).startswith("18.")


def test_no_password_is_refused(cluster: Parity) -> None:
    assert "no password supplied" in python(cluster, "ray-head", QUERY.format("select 1"), PGPASSFILE="")


def test_a_wrong_password_is_refused(cluster: Parity) -> None:
    refused = python(cluster, "ray-head", QUERY.format("select 1"), PGPASSFILE="", PGPASSWORD="wrong")
    assert "password authentication failed" in refused


def test_the_socket_inside_the_container_asks_for_a_password_too(cluster: Parity) -> None:
    done = cluster.run(
        "postgres", ["psql", "--no-password", "--username=postgres", "--host=/tmp", "-c", "select 1"]
    )
    assert "no password supplied" in done.stderr


def test_a_password_file_that_its_group_may_read_counts_for_nothing(cluster: Parity) -> None:
    """Why secrets keep mode 0600 here, and why pods on Kubernetes copy theirs."""
    copy = 'install --mode={0} /run/secrets/pgpass /tmp/pgpass; exec python -W ignore -c "$1"'
    query = QUERY.format("select current_user")
    outputs = []
    for mode in ("0440", "0600"):
        shell = ["bash", "-c", copy.format(mode), "bash", query]
        done = cluster.run("ray-head", shell, PGPASSFILE="/tmp/pgpass")
        outputs.append(done.stdout.strip() or done.stderr)
    assert "no password supplied" in outputs[0]
    assert outputs[1] == "segsearch"


@pytest.mark.parametrize("database", ["mlflow", "postgres"])
def test_the_journals_role_opens_no_other_database(cluster: Parity, database: str) -> None:
    url = f"postgresql+psycopg://segsearch@postgres:5432/{database}"
    password = (cluster.secrets / "postgres_segsearch_password").read_text().strip()
    refused = python(
        cluster, "ray-head", QUERY.format("select 1"), SEGSEARCH_JOURNAL=url, PGPASSWORD=password
    )
    assert "permission denied for database" in refused


# SeaweedFS


@pytest.mark.parametrize(
    ("service", "call", "answer"),
    [
        ("bootstrap", PUT.format("segsearch", "datasets/a"), "allowed"),
        ("ray-head", PUT.format("segsearch", "runs/a"), "allowed"),
        ("ray-head", PUT.format("segsearch", "datasets/b"), "AccessDenied"),
        ("ray-head", "client.delete_object(Bucket='segsearch', Key='datasets/a')", "AccessDenied"),
        ("ray-head", PUT.format("mlflow", "a"), "AccessDenied"),
        ("ray-head", GET.format("mlflow", "a"), "AccessDenied"),
        ("ray-head", "client.create_bucket(Bucket='other')", "AccessDenied"),
        ("mlflow", PUT.format("mlflow", "a"), "allowed"),
        ("mlflow", PUT.format("segsearch", "runs/b"), "AccessDenied"),
        ("mlflow", "client.list_objects_v2(Bucket='segsearch')", "AccessDenied"),
    ],
)
def test_each_identity_writes_its_own_prefix_only(
    cluster: Parity, service: str, call: str, answer: str
) -> None:
    assert s3(cluster, service, call) == answer


def test_ray_nodes_read_data_sets(cluster: Parity) -> None:
    assert s3(cluster, "bootstrap", PUT.format("segsearch", "datasets/read")) == "allowed"
    assert s3(cluster, "ray-worker", GET.format("segsearch", "datasets/read")) == "allowed"


def test_a_wrong_secret_and_no_key_are_refused(cluster: Parity) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "unknown", "AWS_SECRET_ACCESS_KEY": "wrong"}
    assert s3(cluster, "ray-head", "client.list_buckets()", **keys) == "InvalidAccessKeyId"
    anonymous = "import urllib.request; urllib.request.urlopen('http://seaweedfs:8333/segsearch/datasets/a')"
    assert "403" in python(cluster, "ray-head", anonymous)


def test_only_s3_leaves_the_container_of_the_store(cluster: Parity) -> None:
    listening = cluster.run_on_host(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout.split("\n")
    fields = [line.split() for line in listening if " 0A " in line]  # 0A: listening
    anywhere = {int(each[1].split(":")[1], 16) for each in fields if set(each[1].split(":")[0]) == {"0"}}
    assert anywhere.isdisjoint({9333, 8080, 8888, 19333, 18080, 18888})
    assert 8333 in anywhere


# MLflow


def test_mlflow_asks_for_a_login(cluster: Parity) -> None:
    search = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search?max_results=1"
    ask = f"import urllib.request; print(urllib.request.urlopen({search!r}).status)"
    assert "401" in python(cluster, "mlflow", ask)


def test_mlflow_refuses_another_host_name(cluster: Parity) -> None:
    """A page that a browser loads from elsewhere cannot speak to the server under a name of its own."""
    ask = """
import urllib.error, urllib.request as http
try:
    http.urlopen(http.Request("http://127.0.0.1:5000/", headers={{"Host": "{0}"}}))
except urllib.error.HTTPError as error:
    print(error.code)
"""
    assert python(cluster, "mlflow", ask.format("127.0.0.1:5000")) == "401"
    assert python(cluster, "mlflow", ask.format("evil.example")) == "403"


def test_an_artifact_of_a_ray_node_lands_in_the_store_through_mlflow(cluster: Parity) -> None:
    code = """
import mlflow
mlflow.set_experiment("parity")
with mlflow.start_run() as run:
    mlflow.log_text("hello", "note.txt")
print(run.info.run_id)
"""
    run = python(cluster, "ray-head", code).splitlines()[-1]
    listing = "print([each['Key'] for each in client.list_objects_v2(Bucket='mlflow')['Contents']])"
    assert f"{run}/artifacts/note.txt" in s3(cluster, "mlflow", listing)


def test_the_user_of_ray_nodes_is_no_administrator(cluster: Parity) -> None:
    code = """
import mlflow, mlflow.server
from mlflow.server.auth.client import AuthServiceClient
AuthServiceClient("http://mlflow:5000").create_user("intruder", "a password long enough")
"""
    assert "Permission denied" in python(cluster, "ray-head", code)


def test_bootstrap_runs_again_without_changing_anything(cluster: Parity) -> None:
    again = cluster.run("bootstrap", cluster.services["bootstrap"].command)
    assert (again.returncode, again.stdout) == (0, "")


# Secrets


def test_no_secret_is_printed_or_stands_in_a_command(cluster: Parity) -> None:
    values = {
        path.read_text().strip()
        for path in cluster.secrets.iterdir()
        if path.name.endswith(("password", "key", "token"))
    }
    logs = "".join(cluster.log(name) for name in ("postgres", "seaweedfs", "mlflow", "bootstrap"))
    commands = " ".join(" ".join(service.command) for service in cluster.services.values())
    environments = " ".join(str(dict(service.environment)) for service in cluster.services.values())
    for value in values:
        assert len(value) >= 32
        assert value not in logs + commands + environments


def test_a_service_sees_its_own_secrets_only(cluster: Parity) -> None:
    listing = cluster.run("ray-worker", ["ls", "/run/secrets"]).stdout.split()
    assert sorted(listing) == ["aws_credentials", "pgpass", "ray_token"]
