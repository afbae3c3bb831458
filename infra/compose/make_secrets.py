#!/usr/bin/env python3
"""Write the secrets of compose.yaml: random values, one file for each thing that reads them. Standard library only.

    python infra/compose/make_secrets.py            # writes secrets/ and .env beside this file; never overwrites

The files have mode 0600 and belong to one user; ``.env`` tells Compose to run the containers as that user, because Docker
mounts a secret's file as it is, with the owner and mode it has on the host. So each container reads its secrets, nobody else
on the host does, and libpq, which ignores a password file that others may read, accepts its own.
"""

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOTS_STAND_IN = (
    10001,
    10001,
)  # the user of the images; containers do not run as root where root makes the secrets


def build_secrets() -> dict[str, str]:
    """Fresh random secrets: name of the file -> its content. URL-safe characters only, as pgpass and INI files need it."""
    passwords = {name: secrets.token_urlsafe(32) for name in ("postgres", "segsearch", "mlflow")}
    tracking = {name: secrets.token_urlsafe(32) for name in ("admin", "segsearch")}
    keys = {
        name: (secrets.token_hex(10), secrets.token_urlsafe(32)) for name in ("operator", "ray", "mlflow")
    }
    return {
        "ray_token": secrets.token_hex(
            32
        ),  # without a line break: a Kubernetes Secret takes the file as it is
        "postgres_password": passwords["postgres"] + "\n",
        "postgres_segsearch_password": passwords["segsearch"] + "\n",
        "postgres_mlflow_password": passwords["mlflow"] + "\n",
        "pgpass": _pgpass("segsearch", passwords["segsearch"]),
        "pgpass_mlflow": _pgpass("mlflow", passwords["mlflow"]),
        "s3_identities.json": _identities(keys),
        "aws_operator": _aws(*keys["operator"]),
        "aws_ray": _aws(*keys["ray"]),
        "aws_mlflow": _aws(*keys["mlflow"]),
        "mlflow_auth.ini": _mlflow_auth(tracking["admin"]),
        "mlflow_admin": _mlflow_login("admin", tracking["admin"]),
        "mlflow_credentials": _mlflow_login("segsearch", tracking["segsearch"]),
        "mlflow_flask_key": secrets.token_hex(32) + "\n",
    }


def write_secrets(folder: Path, *, user: tuple[int, int]) -> Path:
    """Write ``secrets/`` and ``.env`` into a folder and return the folder of the secrets.

    Args:
        folder: Where compose.yaml is.
        user: Numbers of the user and the group that own the files and run the containers.

    Raises:
        FileExistsError: Secrets are there already; replacing them would lock out what runs with the old ones.
    """
    target, env = folder / "secrets", folder / ".env"
    for there in (target, env):
        if there.exists() or there.is_symlink():
            raise FileExistsError(f"{there} exists; remove it first if the old secrets may go.")
    target.mkdir(mode=0o700)
    for name, content in build_secrets().items():
        _write(target / name, content, user)
    _write(env, f"SEGSEARCH_UID={user[0]}\nSEGSEARCH_GID={user[1]}\n", user)
    if os.getuid() == 0:
        os.chown(target, *user)
    return target


def main() -> int:
    """Command line; 0 done, 2 where secrets exist."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where compose.yaml is (default: %(default)s)"
    )
    parser.add_argument(
        "--container-user",
        type=_user,
        default=ROOTS_STAND_IN if os.getuid() == 0 else (os.getuid(), os.getgid()),
        metavar="UID:GID",
        help="who the containers run as (default: you, or %(default)s for root); 0:0 for rootless Docker, "
        "where the container's root is you",
    )
    arguments = parser.parse_args()
    try:
        target = write_secrets(arguments.folder, user=arguments.container_user)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"{target}: {len(list(target.iterdir()))} files, mode 0600. Keep them out of backups and repositories."
    )
    return 0


def _write(path: Path, content: str, user: tuple[int, int]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    if os.getuid() == 0:
        os.chown(path, *user)


def _user(text: str) -> tuple[int, int]:
    uid, separator, gid = text.partition(":")
    if not separator or not uid.isdecimal() or not gid.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: give two numbers, as in 1000:1000")
    return int(uid), int(gid)


def _pgpass(role: str, password: str) -> str:
    """Lines for the network of the containers and for the host; the role's name is its database's."""
    return "".join(f"{host}:5432:{role}:{role}:{password}\n" for host in ("postgres", "127.0.0.1"))


def _aws(key: str, secret: str) -> str:
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"


def _identities(keys: dict[str, tuple[str, str]]) -> str:
    actions = {
        "operator": ["Admin", "Read", "Write", "List", "Tagging"],
        "ray": ["Read:segsearch", "List:segsearch", "Write:segsearch/runs/*"],
        "mlflow": ["Read:mlflow", "List:mlflow", "Write:mlflow"],
    }
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions[name]}
        for name, (key, secret) in keys.items()
    ]
    return json.dumps({"identities": identities}, indent=2) + "\n"


def _mlflow_auth(password: str) -> str:
    return (
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        "database_uri = postgresql+psycopg://mlflow@postgres:5432/mlflow\n"
        "admin_username = admin\n"
        f"admin_password = {password}\n"
    )


def _mlflow_login(user: str, password: str) -> str:
    return f"[mlflow]\nmlflow_tracking_username = {user}\nmlflow_tracking_password = {password}\n"


if __name__ == "__main__":
    sys.exit(main())
