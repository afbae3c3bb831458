"""Small data sets: pictures, in a folder and on a server, and a few of the example's volumes."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from workers.data.dataset import Dataset
from workers.data.ingest import ingest

if TYPE_CHECKING:
    from bad_store import BadStore


HIPPOCAMPUS = Path(__file__).parents[2] / "examples" / "data" / "hippocampus"


def copy_hippocampus(folder: Path, counts: Mapping[str, int]) -> None:
    """Copy so many of the example's volumes of each split, in Decathlon layout."""
    shutil.copytree(HIPPOCAMPUS, folder, ignore=shutil.ignore_patterns("*.nii.gz"))
    (folder / "imagesTr").mkdir(exist_ok=True)
    (folder / "labelsTr").mkdir(exist_ok=True)
    described = json.loads((HIPPOCAMPUS / "dataset.json").read_text())
    splits = json.loads((HIPPOCAMPUS / "splits.json").read_text())
    kept = {split: splits[split][:count] for split, count in counts.items()}
    ids = {id for names in kept.values() for id in names}
    described["training"] = [
        pair for pair in described["training"] if Path(pair["image"]).name.removesuffix(".nii.gz") in ids
    ]
    described["numTraining"] = len(ids)
    for pair in described["training"]:
        for part in pair.values():
            shutil.copy(HIPPOCAMPUS / part, folder / part)
    (folder / "dataset.json").write_text(json.dumps(described))
    (folder / "splits.json").write_text(json.dumps(kept))


def make_set(folder: Path, *, cases: int = 12, size: int = 16, shard_bytes: int = 4000) -> str:
    """Ingest noise with labels; the cases of each split lie in shards of about this size.

    Returns:
        Where the data set is: ``set`` in the folder.
    """
    rng = np.random.default_rng(0)
    ids = [f"{number:03d}" for number in range(cases)]
    for id in ids:
        for kind, values in (
            ("images", rng.integers(0, 256, (size, size, 3), dtype=np.uint8)),
            ("masks", rng.integers(0, 2, (size, size), dtype=np.uint8)),
        ):
            (folder / "source" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / "source" / kind / f"{id}.png")
    splits = {"train": ids[:-4], "validation": ids[-4:-2], "test": ids[-2:]}
    (folder / "source" / "splits.json").write_text(json.dumps(splits))
    ingest(folder / "source", str(folder / "set"), shard_bytes=shard_bytes)
    return str(folder / "set")


def serve(location: str, server: "BadStore") -> None:
    """Put a data set of a folder under ``set/`` on a server."""
    for path in Path(location).rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            server.objects[f"set/{path.relative_to(location).as_posix()}"] = path.read_bytes()


def all_ids(dataset: Dataset) -> list[str]:
    return [id for split in dataset.manifest.splits for id in dataset.ids(split)]


def fingerprint(dataset: Dataset, id: str) -> str:
    """A hash of what training sees of a case."""
    case = dataset.case(id)
    labels = b"" if case.labels is None else case.labels.tobytes()
    return hashlib.sha256(case.image.tobytes() + labels).hexdigest()
