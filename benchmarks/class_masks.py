"""Masks by class, which tell the classes: what it costs to read each once or twice, and a proof to read them all.

    PYTHONPATH=. python benchmarks/class_masks.py

Pictures of 512 x 512 in JPEG with five folders of masks; each figure is the least of some turns, the two sides in turns in one
process. CPU seconds count, as the machine may be busy.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from workers.data import scan
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.raw import raw_cases

CLASSES = 5
SIZE = 512


def make(folder: Path, cases: int) -> Path:
    """Blobs within blobs on smooth noise."""
    rng = np.random.default_rng(0)
    for number in range(cases):
        smooth = np.stack([gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2) for _ in range(3)], axis=-1)
        pixels = 255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"images/{number:03}.jpg", quality=90)
        height = gaussian_filter(rng.normal(size=(SIZE, SIZE)), SIZE / 20)
        for which in range(CLASSES):
            (folder / f"masks/k{which}").mkdir(parents=True, exist_ok=True)
            inside = height > height.std() * (which - CLASSES / 2) * 2 / CLASSES
            Image.fromarray(inside.astype(np.uint8) * 255).save(folder / f"masks/k{which}/{number:03}.png")
    return folder


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        os.environ["SEGSEARCH_CACHE"] = str(top / "cache")
        folder = make(top / "raw", given.cases)
        ingest(folder, str(top / "set"), jobs=1)
        dataset = open_dataset(str(top / "set"))
        names, ids = [info.name for info in dataset.manifest.classes], dataset.ids("test")
        room = scan.KEPT_BYTES
        figures: dict[str, list[float]] = {}
        for turn in range(given.rounds):
            for name, kept in (("ingest, each mask read twice", 0), ("ingest, once", room)):
                scan.KEPT_BYTES = kept
                dest = str(top / f"{turn}-{kept}")
                # mypy has no type for the default of a lambda
                spent = cpu_s(lambda dest=dest: ingest(folder, dest, jobs=1))  # type: ignore[misc]
                figures.setdefault(name, []).append(spent)
                assert open_dataset(dest).digest == dataset.digest
            for name, classes in (
                ("cases of a proof, all masks read", []),
                ("cases of a proof, their own", names),
            ):
                # mypy has no type for the default of a lambda
                spent = cpu_s(lambda classes=classes: list(raw_cases(folder, ids, classes=classes)))  # type: ignore[misc]
                figures.setdefault(name, []).append(spent)
        load = os.getloadavg()[0]
        print(
            f"{given.cases} pictures, {len(ids)} in the test split, load {load:.1f}; least CPU s of the turns"
        )
        for name, all_s in figures.items():
            print(f"| {name} | {min(all_s):.2f} |")


if __name__ == "__main__":
    main()
