"""Where things are by default: journal, MLflow's store, and the folder of a search."""

import os
from pathlib import Path

JOURNAL_VARIABLE = "SEGSEARCH_JOURNAL"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_STORAGE = "runs"


def absolute(location: str) -> str:
    """A path made absolute; an ``s3://`` location as it is."""
    return location if "://" in location else str(Path(location).expanduser().resolve())


def journal_url(storage: str = DEFAULT_STORAGE) -> str:
    """The journal's database: ``SEGSEARCH_JOURNAL``, else SQLite in the storage folder."""
    return os.environ.get(JOURNAL_VARIABLE) or f"sqlite:///{_folder(storage)}/journal.db"


def tracking_uri(storage: str = DEFAULT_STORAGE) -> str:
    """MLflow's server or database: ``MLFLOW_TRACKING_URI``, else SQLite in the storage folder."""
    return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{_folder(storage)}/mlflow.db"


def search_folder(storage: str, search: str) -> str:
    """Location under which the checkpoints, pictures and exports of a search lie."""
    return f"{absolute(storage).rstrip('/')}/{search}"


def _folder(storage: str) -> str:
    return absolute(DEFAULT_STORAGE if "://" in storage else storage)
