"""Seconds and memory that one large volume costs: ingest, verify, copy, read, prepare, a window of it, its score from a network
that computes nothing (windows of 128, four classes); each in a fresh process.

A synthetic CT volume of 512 x 512 x 400 (int16, 210 MB, and 105 MB of labels) in NIfTI files, with two small ones for the
other splits. *more* is the greatest RssAnon of the process beyond that after its imports, looked at each 5 ms from outside;
*over raw* is that over the bytes of the volume and its labels.

    PYTHONPATH=. python benchmarks/large_volume.py
"""

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from readers import rss_anon, stamp
from volumes import ct_volume

from search_spaces.preprocessing import Preprocessing
from workers.batches import cut
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.transfer import copy_dataset
from workers.data.verify import verify_dataset
from workers.evaluate import class_names, evaluate
from workers.prepared_cases import CUBES, PreparedCases
from workers.preprocessing import fit

STEPS = ("ingest", "verify", "copy", "read", "prepare", "resample", "window", "score")


def main() -> None:
    """Print the table, or do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 400))
    parser.add_argument("--steps", nargs="+", default=STEPS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(rss_anon(), flush=True)
        started = time.perf_counter()
        take(given.step, Path(given.folder))
        print(time.perf_counter() - started)
        return
    with tempfile.TemporaryDirectory(prefix="large-", dir=Path.cwd()) as name:
        folder = Path(name)
        raw = written(folder / "raw", tuple(given.shape))
        stamp(f"a volume of {' x '.join(map(str, given.shape))}, {raw / 1e6:.0f} MB with its labels")
        print("\n| | s | more MB | over raw |\n|---|---|---|---|")
        for step in given.steps:
            seconds, more = measured(step, folder)
            print(f"| {step} | {seconds:.1f} | {more:.0f} | {1e6 * more / raw:.1f} |", flush=True)


def measured(step: str, folder: Path) -> tuple[float, float]:
    """Seconds of a step in a process of its own, and its greatest anonymous memory beyond that before, in MB."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    environment = {**os.environ, "SEGSEARCH_CACHE": str(folder / "cache")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        before = greatest = float(process.stdout.readline())
        while not select.select([process.stdout], [], [], 0.005)[0]:
            greatest = max(greatest, rss_anon(process.pid))
        seconds = float(process.stdout.readline())
    if process.returncode:
        sys.exit(process.returncode)
    return seconds, greatest - before


def written(folder: Path, shape: tuple[int, ...]) -> int:
    """A Decathlon folder of the volume and two small ones; bytes of its voxels and labels."""
    names, raw = {"large": shape, "valid": (40, 40, 40), "tested": (40, 40, 40)}, 0
    for place in ("imagesTr", "labelsTr"):
        (folder / place).mkdir(parents=True)
    for name, size in names.items():
        pixels, labels = ct_volume(size)
        raw = raw or pixels.nbytes + labels.nbytes
        for place, values in (("imagesTr", pixels[0]), ("labelsTr", labels)):
            volume = nib.nifti1.Nifti1Image(values, np.diag([-0.8, -0.8, 1.0, 1.0]))
            volume.to_filename(folder / place / f"{name}.nii.gz")
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    classes = {"0": "background", "1": "a", "2": "b", "3": "c"}
    (folder / "dataset.json").write_text(
        json.dumps({"labels": classes, "modality": {"0": "CT"}, "training": pairs})
    )
    (folder / "splits.json").write_text(
        json.dumps({"train": ["large"], "validation": ["valid"], "test": ["tested"]})
    )
    return raw


def take(step: str, folder: Path) -> None:
    """One step; later ones need what earlier ones left."""
    place = str(folder / "set")
    match step:
        case "ingest":
            ingest(folder / "raw", place, jobs=1)
        case "verify":
            assert verify_dataset(place).is_whole
        case "copy":
            copy_dataset(place, str(folder / "copy"))
            shutil.rmtree(folder / "copy")
        case "read":
            open_dataset(place).case("large", copy=False)
        case "prepare" | "resample" | "window" | "score":
            dataset = open_dataset(place)
            choices = Preprocessing(spacing="median" if step == "resample" else "stored")
            fitted = fit(choices, dataset.manifest)
            if step == "resample":
                object.__setattr__(fitted, "spacing", (0.9, 0.9, 1.0))
            cases = PreparedCases(dataset, "train", fitted, bricks=CUBES)
            case = cases[0]
            if step == "score":
                view = DataView(place, dataset.digest, "patches", (128, 128, 128), 1)
                evaluate(
                    lambda images: images.repeat(1, 4, 1, 1, 1),
                    cases,
                    view,
                    names=class_names(dataset),
                    ignore_index=255,
                )
            if step == "window":
                cut(case.pixels, (96, 96, 96), (100, 100, 100), fill=np.float32(0), change=case.scaling)


if __name__ == "__main__":
    main()
