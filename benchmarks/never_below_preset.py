"""A search against a known network that is given the same machine for the same time: live, start-up included for both.

- *hippocampus* (the default): 60 volumes of the Medical Segmentation Decathlon by sorted name, the first 44 for training, the
  last 15 for validation (the one between is the test split, which a data set must have; nothing here looks at it); slices of
  64 x 64, batch 16; mean Dice of both parts, counted over all validation volumes.
- *isbi_em*: 30 slices of 512 x 512, 24 for training in crops of 96 x 96, 5 for validation, batch 8; mean IoU of both classes.
- *isbi_em_half*: the same slices at half their size in crops of 64 x 64, networks a third as large: for many short trainings.
- *camvid*: 240 x 180, SegNet's split, whole pictures, batch 8; mean IoU of 11 classes on 101 validation images.

What counts is the score after the last epoch. ``--adjacent-slices N`` shows both sides N slices on either side. Needs
``SEGSEARCH_DATA``.

- *ours*: ``segsearch run`` as a program, from its start to its end: Ray, search on two slots, retraining of its best on the
  whole machine, export and proof. ``--search`` of the time goes to the search, the rest to the retraining.
- *preset*: each known network of ``compact`` (or those of ``--presets``) with both cores, in a process of its own, as many
  epochs as fit into the same time (its start and an epoch are measured first, which is not counted), its schedule over exactly
  these; scored as often as a retraining is.

    SEGSEARCH_DATA=../shared/data python benchmarks/never_below_preset.py --seconds 150 300 --seeds 1 --data hippocampus
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from orchestrator.job import Retrain
from orchestrator.winners import mean_epoch_s
from search_spaces.candidate import to_json
from search_spaces.preset import load_preset
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.leg import run_leg

TRAIN, VALIDATION = 45, 15
PRESETS = ("small_unet", "small_deeplabv3plus", "small_unet_full")
SCORING_SHARE = Retrain().scoring_share
FIX = {"recipe.optimiser": "adamw"}
PARAMETERS = 2.0e6  # upper limit of a candidate
REST_S = 22.0  # of our time: start of Ray and end, export and proof included
HEAD = """\
name: ours
dataset: {data}
data: {{view: {view}, size: [{size}], batch: {batch}, epoch_samples: {samples}, adjacent_slices: {adjacent}}}
space: compact
fix: {fix}
constraints: {{parameters: {parameters}, macs: {macs}}}
objectives: {{maximize: [{metric}]}}
"""
SEARCH = """\
search: {{sampler: auto, scheduler: {{kind: asha, max_epochs: 9, reduction: 3}}, seed: {seed}}}
budget: {{trials: 1000, wall: {search:.0f}s}}
retrain: {{top: 1, seeds: 1, wall: {retrain:.0f}s}}
"""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is trained on, and what is scored.

    Attributes:
        write: Writes the source folder.
        size: Of a window.
        samples: Of an epoch.
        macs: Upper limit on a candidate's multiply-adds for one window; about 1.4 times those of the largest preset.
        adjacent: Slices that a network sees on either side of each.
    """

    write: Callable[[Path, Path], None]
    view: Literal["slices", "images"]
    size: tuple[int, int]
    batch: int
    samples: int
    macs: str
    metric: str
    adjacent: int = 0

    def prepare(self, root: Path) -> str:
        """Write and ingest the data into a folder; where the data set is."""
        self.write(Path(os.environ["SEGSEARCH_DATA"]), root / "raw")
        ingest(root / "raw", str(root / "data"))
        return str(root / "data")

    def view_of(self, data: str) -> DataView:
        """How a training reads the data set."""
        return DataView(
            data,
            open_dataset(data).digest,
            self.view,
            self.size,
            self.batch,
            self.samples,
            adjacent_slices=self.adjacent,
        )

    def job(self, data: str) -> str:
        """A job up to its objectives."""
        return HEAD.format(
            data=data,
            view=self.view,
            size=", ".join(map(str, self.size)),
            batch=self.batch,
            samples=self.samples,
            fix=json.dumps(FIX),
            parameters=PARAMETERS,
            macs=self.macs,
            metric=self.metric,
            adjacent=self.adjacent,
        )


def write_hippocampus(data: Path, raw: Path) -> None:
    """Volumes and a split."""
    source = data / "msd_hippocampus" / "Task04_Hippocampus"
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "labelsTr").mkdir()
    names = sorted(path.name for path in (source / "imagesTr").glob("hippocampus_*.nii.gz"))[
        : TRAIN + VALIDATION
    ]
    assert len(names) == TRAIN + VALIDATION, f"{source} holds {len(names)} volumes"
    for name in names:
        for part in ("imagesTr", "labelsTr"):
            shutil.copy(source / part / name, raw / part / name)
    description = json.loads((source / "dataset.json").read_text())
    description["training"] = [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names]
    description["numTraining"] = len(names)
    (raw / "dataset.json").write_text(json.dumps(description))
    ids = [name.removesuffix(".nii.gz") for name in names]
    splits = {"train": ids[: TRAIN - 1], "test": ids[TRAIN - 1 : TRAIN], "validation": ids[TRAIN:]}
    (raw / "splits.json").write_text(json.dumps(splits))


def copy_resized(source: Path, dest: Path, size: tuple[int, int], method: Image.Resampling) -> None:
    """Copy the pictures of a folder as PNG of another size (width, height)."""
    dest.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        with Image.open(path) as picture:
            picture.resize(size, method).save(dest / path.with_suffix(".png").name)


def write_isbi_em(data: Path, raw: Path, edge: int = 512) -> None:
    """Slices, masks and a split; each slice with so many pixels on an edge."""
    source = data / "isbi_em" / "membrane" / "train"
    for ours_is, theirs_is, method in (
        ("images", "image", Image.Resampling.BOX),
        ("masks", "label", Image.Resampling.NEAREST),
    ):
        copy_resized(source / theirs_is, raw / ours_is, (edge, edge), method)
    classes = [{"name": "cell", "value": 255}, {"name": "membrane", "value": 0}]
    (raw / "classes.json").write_text(json.dumps(classes))
    ids = [str(number) for number in range(30)]
    splits = {"train": ids[:24], "test": ids[24:25], "validation": ids[25:]}
    (raw / "splits.json").write_text(json.dumps(splits))


def write_camvid(data: Path, raw: Path) -> None:
    """SegNet's folders with every picture at half its size."""
    source = data / "camvid" / "CamVid"
    raw.mkdir()
    for split in ("train", "val", "test"):
        pairs = (source / f"{split}.txt").read_text().replace(".jpg", ".png")
        (raw / f"{split}.txt").write_text(pairs)
        for folder, method in (
            (split, Image.Resampling.BILINEAR),
            (f"{split}annot", Image.Resampling.NEAREST),
        ):
            copy_resized(source / folder, raw / folder, (240, 180), method)


PROTOCOLS = {
    "hippocampus": Protocol(write_hippocampus, "slices", (64, 64), 16, 208, "2.0e8", "dice"),
    "isbi_em": Protocol(write_isbi_em, "images", (96, 96), 8, 320, "4.4e8", "miou"),
    "isbi_em_half": Protocol(partial(write_isbi_em, edge=256), "images", (64, 64), 8, 80, "6.0e7", "miou"),
    "camvid": Protocol(write_camvid, "images", (180, 240), 8, 64, "2.1e9", "miou"),
}


def run_job(folder: Path, text: str) -> tuple[dict[str, Any], float]:
    """Run a job of the name ``ours`` as a program, in a folder of its own; its leaderboard, and the wall seconds."""
    folder.mkdir(parents=True)
    (folder / "job.yaml").write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SEGSEARCH_", "RAY_", "MLFLOW_"))}
    environment |= {"HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "orchestrator.cli.main"]
    begun = time.perf_counter()
    with (folder / "log").open("wb") as log:
        subprocess.run(
            [*command, "run", "--no-tracking", "job.yaml"],
            cwd=folder,
            env=environment,
            stdout=log,
            check=True,
        )
    wall = time.perf_counter() - begun
    told = subprocess.run(
        [*command, "leaderboard", "ours", "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=True,
    )
    return json.loads(told.stdout), wall


def ours(
    protocol: Protocol, data: str, folder: Path, seconds: float, seed: int, search: float
) -> dict[str, Any]:
    """Run a whole search; its best network's score, and how long it took."""
    rest = seconds - REST_S
    text = SEARCH.format(seed=seed, search=search * rest, retrain=(1 - search) * rest)
    board, wall = run_job(folder, protocol.job(data) + text)
    winner = board["result"]["winner"]
    tried = sum(row["purpose"] == "search" for row in board["trials"])
    return {
        "score": winner["validation"],
        "name": winner["name"],
        "epochs": winner["epochs"],
        "wall": wall,
        "tried": tried,
    }


def train(leg: Leg) -> list[EpochResult]:
    """Train a known network in this process."""
    found: list[EpochResult] = []
    ended = run_leg(leg, found.append, lambda: False)
    assert ended.status == "completed", ended.message
    return found


def timed(leg: Leg) -> tuple[list[EpochResult], float]:
    """Train in a new process; its epochs, and the wall seconds from its start to its end."""
    begun = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(train, leg).result()
    return found, time.perf_counter() - begun


def preset(
    protocol: Protocol, data: str, name: str, seconds: float, seed: int, threads: int
) -> dict[str, Any]:
    """Train a known network for a time with all cores."""
    with tempfile.TemporaryDirectory() as place:
        probe = Leg(
            search="preset", trial=0, fence=1, candidate=to_json(load_preset(name).candidate()), seed=seed, first_epoch=0,
            last_epoch=4, max_epochs=4, checkpoint=None, data=protocol.view_of(data), storage=place, threads=threads,
        )  # fmt: skip
        found, wall = timed(probe)
        epoch_s = mean_epoch_s([(one.train_seconds, one.seconds) for one in found[1:]], SCORING_SHARE)
        epochs = max(1, int((seconds - (wall - sum(one.seconds for one in found))) / epoch_s))
        found, wall = timed(
            replace(
                probe,
                fence=2,
                last_epoch=epochs,
                max_epochs=epochs,
                scoring_share=SCORING_SHARE,
            )
        )
    most = max(one.metrics.get(protocol.metric, 0.0) for one in found)
    return {
        "score": found[-1].metrics[protocol.metric],
        "best_epoch": most,
        "name": name,
        "epochs": len(found),
        "wall": wall,
    }


def mean_interval(values: Sequence[float]) -> str:
    """Mean and twice its standard error, where there are several."""
    if len(values) < 2:
        return f"{values[0]:.4f} (one seed)"
    error = 2 * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.4f} ± {error:.4f}"


def main() -> None:
    """Print every run, then one line a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="*", default=[150.0, 300.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--search", type=float, default=0.3)
    parser.add_argument("--data", choices=PROTOCOLS, default="hippocampus")
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=PRESETS)
    parser.add_argument("--adjacent-slices", type=int, default=0)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    print(f"{threads} cores, load at the beginning {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="segsearch-preset-") as place:
        root = Path(place)
        protocol = replace(PROTOCOLS[options.data], adjacent=options.adjacent_slices)
        data = protocol.prepare(root)
        for seconds in options.seconds:
            mine: list[float] = []
            theirs: dict[str, list[float]] = {name: [] for name in options.presets}
            for seed in range(options.seeds):
                found = ours(protocol, data, root / f"{seconds:.0f}-{seed}", seconds, seed, options.search)
                mine.append(found["score"])
                print(f"{seconds:.0f} s, seed {seed}, ours: {found}", flush=True)
                for name in options.presets:
                    found = preset(protocol, data, name, seconds, seed, threads)
                    theirs[name].append(found["score"])
                    print(f"{seconds:.0f} s, seed {seed}, preset: {found}", flush=True)
            best = max(options.presets, key=lambda name: statistics.mean(theirs[name]))
            difference = statistics.mean(mine) - statistics.mean(theirs[best])
            print(
                f"{seconds:.0f} s: ours {mean_interval(mine)}; {best} {mean_interval(theirs[best])}; {difference:+.4f}"
            )


if __name__ == "__main__":
    main()
