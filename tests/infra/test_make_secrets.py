"""Secrets are random, readable by one user only, and never replaced."""

import configparser
import json
import os
import runpy
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.compose_file import INFRA

SCRIPT = INFRA / "compose" / "make_secrets.py"
MODULE = runpy.run_path(str(SCRIPT))
ME = (os.getuid(), os.getgid())


def test_files_and_folder_are_for_one_user(tmp_path: Path) -> None:
    folder = MODULE["write_secrets"](tmp_path, user=ME)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (*folder.iterdir(), tmp_path / ".env")} == {0o600}


def test_secrets_are_never_overwritten(tmp_path: Path) -> None:
    folder = MODULE["write_secrets"](tmp_path, user=ME)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="remove it first"):
        MODULE["write_secrets"](tmp_path, user=ME)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_runs_share_no_secret() -> None:
    first, second = MODULE["build_secrets"](), MODULE["build_secrets"]()
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_a_password_is_the_same_wherever_it_is_written() -> None:
    made = MODULE["build_secrets"]()
    for role, name in (("segsearch", "pgpass"), ("mlflow", "pgpass_mlflow")):
        password = made[f"postgres_{role}_password"].strip()
        expected = [f"{host}:5432:{role}:{role}:{password}" for host in ("postgres", "127.0.0.1")]
        assert made[name].splitlines() == expected
    identities = json.loads(made["s3_identities.json"])["identities"]
    for identity in identities:
        key = identity["credentials"][0]
        aws = _section(made[f"aws_{identity['name']}"], "default")
        assert aws == {"aws_access_key_id": key["accessKey"], "aws_secret_access_key": key["secretKey"]}
    admin = _section(made["mlflow_admin"], "mlflow")
    assert _section(made["mlflow_auth.ini"], "mlflow")["admin_password"] == admin["mlflow_tracking_password"]


def test_only_the_operator_administers_the_store_and_nobody_is_anonymous() -> None:
    identities = json.loads(MODULE["build_secrets"]()["s3_identities.json"])["identities"]
    rights = {each["name"]: set(each["actions"]) for each in identities}
    assert [name for name, actions in rights.items() if "Admin" in actions] == ["operator"]
    assert {action for action in rights["ray"] if action.startswith("Write")} == {"Write:segsearch/runs/*"}
    assert all(action.endswith(":mlflow") for action in rights["mlflow"])
    assert all(each["credentials"] for each in identities)


def test_the_command_line_says_where_secrets_are_and_refuses_twice(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path), "--container-user", f"{ME[0]}:{ME[1]}"]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 2)
    assert (tmp_path / ".env").read_text() == f"SEGSEARCH_UID={ME[0]}\nSEGSEARCH_GID={ME[1]}\n"
    printed = first.stdout + first.stderr + second.stdout + second.stderr
    secrets = [path.read_text().strip() for path in (tmp_path / "secrets").iterdir()]
    assert not any(secret in printed for secret in secrets)


def test_a_user_that_is_no_number_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path), "--container-user", "me"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give two numbers" in done.stderr
    assert not list(tmp_path.iterdir())


def _section(text: str, name: str) -> dict[str, str]:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text)
    return dict(config[name])
