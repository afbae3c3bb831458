"""A search against a known network that is given the same machine for the same time: live, start-up included for both.

The protocol of hippocampus slices: 60 volumes of the Medical Segmentation Decathlon by sorted name, the first 44 for
training, the last 15 for validation (the one between is the test split, which a data set must have; nothing here looks at
it); slices of 64 x 64, batch 16; mean Dice of both parts, counted over all validation volumes, after the last epoch. Needs
``SEGSEARCH_DATA``.

- *ours*: ``segsearch run`` as a program, from its start to its end: Ray, search on two slots, retraining of its best on the
  whole machine, export and proof. ``--search`` of the time goes to the search, the rest to the retraining.
- *preset*: each known network of ``compact`` with both cores, as many epochs as fit into the same time (an epoch is
  measured first, which is not counted), its schedule over exactly these.

    SEGSEARCH_DATA=../shared/data python benchmarks/never_below_preset.py --seconds 150 300 --seeds 1
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.candidate import to_json
from search_spaces.preset import load_preset
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.leg import run_leg

TRAIN, VALIDATION = 45, 15
PRESETS = ("small_unet", "small_deeplabv3plus")
SAMPLES = 208
REST_S = 22.0  # of our time: start of Ray and end, export and proof included
JOB = """\
name: ours
dataset: {data}
data: {{view: slices, size: [64, 64], batch: 16, epoch_samples: {samples}}}
space: compact
fix: {{recipe.optimiser: adamw}}
constraints: {{parameters: 2.0e6, macs: 6.0e7}}
search: {{sampler: auto, scheduler: {{kind: asha, max_epochs: 9, reduction: 3}}, seed: {seed}}}
budget: {{trials: 1000, wall: {search:.0f}s}}
retrain: {{top: 1, seeds: 1, wall: {retrain:.0f}s}}
"""


def protocol(folder: Path) -> str:
    """The data set of the protocol."""
    source = Path(os.environ["SEGSEARCH_DATA"]) / "msd_hippocampus" / "Task04_Hippocampus"
    raw = folder / "raw"
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
    ingest(raw, str(folder / "data"))
    return str(folder / "data")


def ours(data: str, folder: Path, seconds: float, seed: int, search: float) -> dict[str, Any]:
    """Run a whole search; its best network's Dice, and how long it took."""
    folder.mkdir(parents=True)
    rest = seconds - REST_S
    text = JOB.format(
        data=data, samples=SAMPLES, seed=seed, search=search * rest, retrain=(1 - search) * rest
    )
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
    board = json.loads(told.stdout)
    winner = board["result"]["winner"]
    tried = sum(row["purpose"] == "search" for row in board["trials"])
    return {
        "dice": winner["validation"],
        "name": winner["name"],
        "epochs": winner["epochs"],
        "wall": wall,
        "tried": tried,
    }


def preset(data: str, name: str, seconds: float, seed: int, threads: int) -> dict[str, Any]:
    """Train a known network for a time with all cores."""
    view = DataView(data, open_dataset(data).digest, "slices", (64, 64), 16, SAMPLES)

    def train(epochs: int, storage: str) -> list[EpochResult]:
        leg = Leg(
            search="preset", trial=0, fence=1, candidate=to_json(load_preset(name).candidate()), seed=seed, first_epoch=0,
            last_epoch=epochs, max_epochs=epochs, checkpoint=None, data=view, storage=storage, threads=threads,
        )  # fmt: skip
        found: list[EpochResult] = []
        ended = run_leg(leg, found.append, lambda: False)
        assert ended.status == "completed", ended.message
        return found

    with tempfile.TemporaryDirectory() as place:
        epoch_s = statistics.median(one.seconds for one in train(4, place + "/probe")[1:])
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        found = train(max(1, int((seconds - 1.0) / epoch_s)), place)
    wall = time.perf_counter() - begun
    last, most = found[-1].metrics["dice"], max(one.metrics["dice"] for one in found)
    return {"dice": last, "best_epoch": most, "name": name, "epochs": len(found), "wall": wall}


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
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    print(f"{threads} cores, load at the beginning {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="segsearch-preset-") as place:
        root = Path(place)
        data = protocol(root)
        for seconds in options.seconds:
            mine: list[float] = []
            theirs: dict[str, list[float]] = {name: [] for name in PRESETS}
            for seed in range(options.seeds):
                found = ours(data, root / f"{seconds:.0f}-{seed}", seconds, seed, options.search)
                mine.append(found["dice"])
                print(f"{seconds:.0f} s, seed {seed}, ours: {found}", flush=True)
                for name in PRESETS:
                    found = preset(data, name, seconds, seed, threads)
                    theirs[name].append(found["dice"])
                    print(f"{seconds:.0f} s, seed {seed}, preset: {found}", flush=True)
            best = max(PRESETS, key=lambda name: statistics.mean(theirs[name]))
            difference = statistics.mean(mine) - statistics.mean(theirs[best])
            print(
                f"{seconds:.0f} s: ours {mean_interval(mine)}; {best} {mean_interval(theirs[best])}; {difference:+.4f}"
            )


if __name__ == "__main__":
    main()
