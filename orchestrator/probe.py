"""What the head of a cluster has and reaches; runs there, by any Python, and prints one line of JSON.

Only the standard library is imported at first, as what is missing shall be named.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

MARK = "SEGSEARCH-PROBE "
OLDEST = (3, 11)
HTTP_S = 2.0


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Look at everything that is asked for.

    Args:
        asked: ``requirements`` of the code; ``storage``, ``dataset``, ``raw``, ``search`` and ``warm_start`` where a job
            names them.
    """
    facts: dict[str, Any] = {"python": sys.version.split()[0], "executable": sys.executable}
    facts["missing"] = _missing(asked["requirements"])
    if sys.version_info < OLDEST or facts["missing"]:
        return facts
    from orchestrator.places import TRACKING_VARIABLE

    facts["journal"] = _journal(asked)
    if asked.get("storage"):
        facts["storage"] = _storage(asked["storage"])
    if asked.get("dataset"):
        facts["dataset"] = _dataset(asked["dataset"])
    if asked.get("raw"):
        facts["raw"] = Path(asked["raw"]).is_dir()
    facts["mlflow"], facts["tracked"] = _mlflow(), bool(os.environ.get(TRACKING_VARIABLE))
    return facts


def _missing(requirements: list[str]) -> list[str]:
    """Requirements that are not met here, each with what there is."""
    from importlib import metadata

    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging: not installed"]
    found = []
    for text in requirements:
        wanted = Requirement(text)
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found.append(f"{wanted.name}: not installed, needed {wanted.specifier}")
            continue
        if not wanted.specifier.contains(version.partition("+")[0], prereleases=True):
            found.append(f"{wanted.name}: {version}, needed {wanted.specifier}")
    return found


def _journal(asked: dict[str, Any]) -> dict[str, Any]:
    from orchestrator.errors import OrchestratorError
    from orchestrator.journal import Journal
    from orchestrator.places import journal_fault, journal_url

    storage, search = asked.get("storage") or "runs", asked.get("search")
    if fault := journal_fault(storage, nodes=asked.get("nodes", 1)):
        return {"error": fault}
    journal = Journal(journal_url(storage))
    facts: dict[str, Any] = {"database": journal.url.partition(":")[0]}
    try:
        names = journal.names()
        lacking = [name for name in asked.get("warm_start", ()) if name not in names]
        if lacking:
            return facts | {
                "error": f"search.warm_start: the journal there has no search {', '.join(lacking)}"
            }
        if search in names:
            facts["job"] = journal.read(search, limit=1)[0].body["job"]
            leader = journal.leader(search)
            facts["leader"] = leader and f"process {leader.pid} on {leader.host} since {leader.since_text()}"
    except OrchestratorError as error:
        return {"error": str(error)}
    return facts


def _storage(storage: str) -> str:
    from workers.errors import WorkerError
    from workers.reach import leave_mark, remove_marks

    try:
        remove_marks(storage, leave_mark(storage))
    except (WorkerError, OSError) as error:
        return str(error)
    return ""


def _dataset(dataset: str) -> dict[str, str]:
    from workers.data.dataset import open_dataset
    from workers.errors import WorkerError

    try:
        return {"digest": open_dataset(dataset).digest}
    except WorkerError as error:
        return {"error": str(error)}


def _mlflow() -> str:
    """What is wrong with MLflow, empty where nothing is; a search would go on without it."""
    import base64
    import urllib.error
    import urllib.request

    from orchestrator.places import TRACKING_VARIABLE

    uri = os.environ.get(TRACKING_VARIABLE, "")
    if not uri:
        return f"{TRACKING_VARIABLE} is not set where the driver runs"
    if not uri.startswith(("http://", "https://")):
        return ""
    headers = {"Content-Type": "application/json"}
    user, password = _mlflow_login()
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search", b'{"max_results": 1}', headers
    )
    try:
        urllib.request.urlopen(request, timeout=HTTP_S).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return (
                f"MLflow at {uri} refused the login; check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
                "or ~/.mlflow/credentials"
            )
        return f"MLflow at {uri} answers {error.code}"
    except OSError as error:
        return f"nothing answers at {TRACKING_VARIABLE} {uri} ({getattr(error, 'reason', error)})"
    return ""


def _mlflow_login() -> tuple[str, str]:
    import configparser

    user, password = (
        os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
        os.environ.get("MLFLOW_TRACKING_PASSWORD", ""),
    )
    if not user:
        known = configparser.ConfigParser()
        known.read(Path.home() / ".mlflow" / "credentials")
        user = known.get("mlflow", "mlflow_tracking_username", fallback="")
        password = known.get("mlflow", "mlflow_tracking_password", fallback="")
    return user, password


if __name__ == "__main__":
    print(MARK + json.dumps(main(json.loads(sys.argv[1]))), flush=True)
