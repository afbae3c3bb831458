"""What a fresh cluster lacks: two buckets, and the user with whom Ray's nodes write to MLflow. Repeating it changes nothing.

Environment: ``AWS_ENDPOINT_URL`` and ``AWS_SHARED_CREDENTIALS_FILE`` of the store's operator, ``MLFLOW_TRACKING_URI``. The
logins of MLflow's administrator and of the new user are read from ``/run/secrets``.
"""

import base64
import configparser
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import boto3

SECRETS = Path("/run/secrets")
BUCKETS = ("segsearch", "mlflow")
TIMEOUT_S = 30


def main() -> int:
    """Create what is missing."""
    create_buckets()
    create_user(os.environ["MLFLOW_TRACKING_URI"])
    return 0


def create_buckets() -> None:
    """Both buckets exist afterwards."""
    client = boto3.client("s3")
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in BUCKETS:
        if name not in existing:
            client.create_bucket(Bucket=name)
            print(f"bucket {name}: created")


def create_user(server: str) -> None:
    """MLflow knows the user of Ray's nodes afterwards, an ordinary one, who sees the experiments it made."""
    admin, user = (_login(SECRETS / name) for name in ("mlflow_admin", "mlflow_credentials"))
    try:
        _call(f"{server}/api/2.0/mlflow/users/get?username={user[0]}", admin)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        _call(f"{server}/api/2.0/mlflow/users/create", admin, body={"username": user[0], "password": user[1]})
        print(f"MLflow user {user[0]}: created")


def _login(path: Path) -> tuple[str, str]:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(path.read_text())
    return config["mlflow"]["mlflow_tracking_username"], config["mlflow"]["mlflow_tracking_password"]


def _call(url: str, login: tuple[str, str], body: dict[str, str] | None = None) -> None:
    credentials = base64.b64encode(":".join(login).encode()).decode()
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        answer.read()


if __name__ == "__main__":
    sys.exit(main())
