"""Where things are by default: journal, MLflow's store, and the folder of a search."""

import os
from pathlib import Path

JOURNAL_VARIABLE = "SEGSEARCH_JOURNAL"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_STORAGE = "runs"
NO_RAW = "none"  # for --raw: prove exports from the stored cases


def absolute(location: str) -> str:
    """A path made absolute; an ``s3://`` location as it is."""
    return location if "://" in location else str(Path(location).expanduser().resolve())


def journal_url(storage: str = DEFAULT_STORAGE) -> str:
    """The journal's database: ``SEGSEARCH_JOURNAL``, else SQLite in the storage folder."""
    return os.environ.get(JOURNAL_VARIABLE) or f"sqlite:///{_folder(storage)}/journal.db"


def is_missing(url: str) -> bool:
    """Whether a journal's URL names an SQLite file that is not there."""
    scheme, _, file = url.partition(":///")
    return scheme == "sqlite" and file not in ("", ":memory:") and not Path(file).exists()


def journal_fault(storage: str, *, nodes: int) -> str:
    """Why the journal of this process would not serve a search on a cluster; empty where it does."""
    wanted = (
        f"set {JOURNAL_VARIABLE} to postgresql+psycopg://USER@HOST/DATABASE where the driver runs, with the password in the "
        "file that PGPASSFILE names."
    )
    if not os.environ.get(JOURNAL_VARIABLE) and "://" in storage:
        return f"journal: the storage is {storage}, which holds no SQLite file; {wanted}"
    if nodes > 1 and journal_url(storage).startswith("sqlite"):
        return f"journal: {nodes} nodes run trials, and an SQLite file is lost with the node that holds it; {wanted}"
    return ""


def tracking_uri(storage: str = DEFAULT_STORAGE) -> str:
    """MLflow's server or database: ``MLFLOW_TRACKING_URI``, else SQLite in the storage folder."""
    return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{_folder(storage)}/mlflow.db"


def search_folder(storage: str, search: str) -> str:
    """Location under which the checkpoints, pictures and exports of a search lie."""
    return f"{absolute(storage).rstrip('/')}/{search}"


def _folder(storage: str) -> str:
    return absolute(DEFAULT_STORAGE if "://" in storage else storage)
