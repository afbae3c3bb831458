"""Whether a node reaches what a leg needs: the data set, the storage that others see, and the driver's own code."""

import hashlib
import uuid

from search_spaces.foreign import code_digest
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.errors import MissingKeyError, WorkerError
from workers.store import open_store


def code_of_this_process() -> str:
    """Digest of the code that legs run in this process."""
    text = code_digest("search_spaces") + code_digest("workers")
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def leave_mark(storage: str) -> str:
    """Write a small file that other nodes shall find; its key.

    Raises:
        StoreError: The storage cannot be written.
    """
    mark = f"probes/{uuid.uuid4().hex}"
    open_store(storage).put(mark, mark.encode())
    return mark


def remove_marks(storage: str, mark: str) -> None:
    """Remove a mark and the answers to it."""
    store = open_store(storage)
    for key in store.list(mark):
        store.delete(key)


def find_fault(data: DataView, storage: str, mark: str, code: str) -> str:
    """What keeps this node from running legs, in a sentence; empty where nothing does.

    Args:
        data: What legs read.
        storage: Where they write.
        mark: What the driver left there.
        code: The driver's ``code_of_this_process``.
    """
    mine = code_of_this_process()
    if mine != code:
        return "runs other code of segsearch than the driver; give all nodes one version, or submit the job."
    try:
        open_dataset(data.dataset, digest=data.digest)
    except WorkerError as error:
        hint = (
            ""
            if "://" in data.dataset
            else " A plain path must be shared by all nodes; else use --dataset s3://…"
        )
        return f"does not reach the data set: {error}{hint}"
    store = open_store(storage)
    try:
        seen = store.get(mark)
    except MissingKeyError:
        seen = b""
    except WorkerError as error:
        return f"does not reach the storage: {error}"
    if seen != mark.encode():
        return (
            f"does not see what the driver wrote to {storage}; a plain path must be shared by all nodes, "
            "else use --storage s3://…"
        )
    try:
        store.put(f"{mark}-{uuid.uuid4().hex}", b"")
    except WorkerError as error:
        return f"cannot write to the storage: {error}"
    return ""
