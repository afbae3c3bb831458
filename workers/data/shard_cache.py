"""Local copies of the shards of an ``s3://`` data set, named by their hash. A local data set needs none."""

import hashlib
import os
import uuid
from pathlib import Path

from workers.data.manifest import ShardInfo
from workers.errors import DataError, MissingKeyError
from workers.store import Store

ATTEMPTS = 3


def default_cache() -> Path:
    """``SEGSEARCH_CACHE``, else ``~/.cache/segsearch``."""
    given = os.environ.get("SEGSEARCH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "segsearch"


class ShardCache:
    """A folder of shards, ``<sha256[:2]>/<sha256>.arrow``. A file is admitted only whole and with the right hash.

    Nothing is evicted: the folder grows to the size of the data sets that are read through it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, store: Store, info: ShardInfo) -> Path:
        """A local file with the shard's bytes; whoever opens it verifies it.

        Raises:
            DataError: The store lacks the shard, or keeps giving other bytes.
        """
        local = store.local_path(info.key)
        if local is not None:
            return local
        path = self._folder / info.sha256[:2] / f"{info.sha256}.arrow"
        if path.exists():
            if hashlib.sha256(path.read_bytes()).hexdigest() == info.sha256:
                return path
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.tmp.{os.getpid()}.{uuid.uuid4().hex}")
        try:
            aside.write_bytes(_download(store, info))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return path


def _download(store: Store, info: ShardInfo) -> bytes:
    where = f"{store.location}/{info.key}"
    for _ in range(ATTEMPTS):
        try:
            data = store.get(info.key)
        except MissingKeyError:
            raise DataError(f"{where}: shard missing; ingest the data set again.") from None
        if hashlib.sha256(data).hexdigest() == info.sha256:
            return data
    raise DataError(
        f"{where}: {len(data)} bytes that differ from the manifest's sha256 in {ATTEMPTS} tries (it says {info.num_bytes} "
        "bytes); ingest the data set again."
    )
