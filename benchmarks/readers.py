"""Delivered samples a second on CamVid's 367 training pairs: ours beside WebDataset, MosaicML MDS, litdata and the files.

A sample is an image and its mask, decoded, cut to a random window of 256 x 256, in batches of 8 from torch's loader. Every side
is measured in each round, with 0, 1 and 2 loader processes; the median over the rounds is printed, and ours over each peer's.
*CPU* is what a sample costs in all processes and threads with 0 workers: other work on the machine disturbs it least.

*all* counts from a fresh loader to the end of the last epoch: processes started, files opened and, for ours, every shard
and batch checked against its hash. *later* counts the epochs after the first. Each peer is measured *as it ships*, and
given our decoder. litdata ships two ways: pictures handed to it as pictures are stored as a JPEG file's bytes and a
mask's plain pixels (3.4 times the bytes) and are decoded by torchvision; files' bytes are the user's to decode, here by Pillow.

Ours is read in two ways: *segsearch* decodes in each epoch, as all peers do; *a trial* is how a search trains: the first
epoch decodes and keeps the pixels in files of the node (0.7 MB a case), from which it and later ones cut their windows. It
begins with an empty folder in each round.

``--cold`` reads one epoch from a SeaweedFS server on this machine with an empty cache, from a fresh loader on.
``--decoded`` compares the profile ``decoded`` with a plain copy of the same bytes in memory.
``--training`` counts the batches of a search's own training set.
``--memory 20`` makes a data set of so many GB, reads it once in random order in a fresh process, and prints RssAnon.

The peers are no dependency. Give them a virtual environment of their own that sees this one:

    python -m venv /tmp/peers_data
    python -c 'import site; print(site.getsitepackages()[0])' > /tmp/peers_data/lib/python3.11/site-packages/main.pth
    /tmp/peers_data/bin/python -m pip install mosaicml-streaming webdataset litdata
    PATH=.venv/bin:$PATH PYTHONPATH=. /tmp/peers_data/bin/python benchmarks/readers.py --cold --decoded --training --memory 20
"""

import argparse
import gc
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from object_storage import BUCKET, object_store
from peer_readers import (
    BATCH,
    CROP_PX,
    Side,
    by_ours,
    by_pillow,
    camvid,
    remove,
    require_peers,
    sides,
    upload,
)

from search_spaces.preset import load_preset
from workers.batches import TrainingSet, batches
from workers.contract import DataView
from workers.data.dataset import open_dataset, to_case
from workers.data.format import encode_row
from workers.data.ingest import ingest
from workers.data.writer import encode_shard, publish_manifest, publish_shard
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit
from workers.store import open_store

EPOCHS = 4
GOAL_SHIPPED, GOAL_DECODER, GOAL_SHARE, GOAL_COPY, GOAL_MB = 1.5, 1.0, 0.75, 0.8, 500
ROWS_A_SHARD = 20  # of the synthetic data set: 3 MiB each
Key = tuple[str, str, int]


def main() -> None:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEGSEARCH_DATA", "data")))
    parser.add_argument("--rounds", type=int, default=3, help="0 leaves the warm cache out")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loader processes")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--decoded", action="store_true")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--memory", type=float, default=0.0, metavar="GB")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of the peers
    if given.read:
        print(json.dumps(read_once(given.read)))
        return
    root = given.data / "camvid" / "CamVid"
    with tempfile.TemporaryDirectory(prefix="readers-") as name:
        folder = Path(name)
        stamp("readers")
        ours = str(folder / "segsearch")
        ingest(root, ours)
        if given.rounds or given.cold:
            require_peers()
            places = written(root, ours, folder)
        if given.rounds:
            warm(places, decode_alone(root, ours), folder, rounds=given.rounds, counts=given.workers)
        if given.cold:
            cold(places, folder, rounds=max(1, given.rounds), counts=given.workers)
        if given.decoded:
            decoded(root, folder)
        if given.training:
            training(ours, counts=given.workers)
        if given.memory:
            memory(ours, folder, given.memory)


def stamp(what: str) -> None:
    """Date, machine and load, to be printed with figures."""
    load = os.getloadavg()[0]
    print(
        f"\n{what}: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load:.1f}",
        flush=True,
    )


def written(root: Path, ours: str, folder: Path) -> dict[int, str]:
    """Where each side's data lie, by its number; what a peer needs written is written."""
    pairs = camvid(root, "train")
    places = {}
    for number, side in enumerate(sides()):
        places[number] = ours if side.name.startswith("segsearch") else str(root)
        if side.write:
            places[number] = str(folder / f"peer-{number}")
            side.write(pairs, Path(places[number]))
    return places


def decode_alone(root: Path, ours: str) -> dict[str, float]:
    """Samples/s of decoding and cutting alone on one thread, all bytes in memory: the median of five passes."""
    files = [(image.read_bytes(), mask.read_bytes()) for image, mask in camvid(root, "train")]
    dataset = open_dataset(ours)
    shards = [number for number, shard in enumerate(dataset.manifest.shards) if shard.split == "train"]
    rows = [row for number in shards for row in dataset.rows(number)]
    ways: dict[str, Callable[[], object]] = {
        "files, Pillow": lambda: [by_pillow(*each) for each in files],
        "files, our decoder": lambda: [by_ours(*each) for each in files],
        "our shards' rows": lambda: [to_case(row, "row") for row in rows],
    }
    rates = {way: statistics.median(len(files) / seconds(run) for _ in range(5)) for way, run in ways.items()}
    print("\ndecoding alone, one thread: " + ", ".join(f"{way} {rate:.0f}/s" for way, rate in rates.items()))
    return rates


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def deliver(side: Side, place: str, cache: Path, workers: int, *, epochs: int) -> tuple[list[float], float]:
    """Seconds from a fresh loader to the end of each epoch, and CPU ms of this process a sample."""
    started, used = time.perf_counter(), time.process_time()
    source = side.make(place, cache, workers)
    ends, count = [], 0
    for _ in range(epochs):
        for images, masks in source:
            count += len(images)
            assert images.shape[1:] == (3, CROP_PX, CROP_PX) and masks.shape[1:] == (CROP_PX, CROP_PX)
        ends.append(time.perf_counter() - started)
    assert count == 367 * epochs, f"{side.name} delivered {count} samples in {epochs} epochs"
    used = time.process_time() - used
    del source
    gc.collect()
    return ends, 1e3 * used / count


def warm(
    places: dict[int, str], alone: dict[str, float], folder: Path, *, rounds: int, counts: Sequence[int]
) -> None:
    """The table from a warm local cache."""
    total: dict[Key, list[float]] = {}
    later: dict[Key, list[float]] = {}
    cpu: dict[Key, list[float]] = {}
    for _ in range(rounds):
        for workers in counts:
            for number, side in enumerate(sides()):
                ends, used = deliver(side, places[number], folder / "unused", workers, epochs=EPOCHS)
                key = (side.name, side.decoder, workers)
                total.setdefault(key, []).append(367 * EPOCHS / ends[-1])
                cpu.setdefault(key, []).append(used)
                later.setdefault(key, []).append(367 * (EPOCHS - 1) / (ends[-1] - ends[0]))
    stamp(f"warm, {rounds} rounds of {EPOCHS} epochs, samples/s with {workers_text(counts)} workers")
    table({"all": total, "later": later}, counts)
    for name, decoder, workers in cpu:
        if workers == 0:
            own, base = (statistics.median(cpu[key]) for key in ((name, decoder, 0), ("segsearch", "own", 0)))
            print(f"{name}, {decoder}: CPU {own:.3f} ms a sample, {own / base:.2f} of ours")
    for way in ("files, our decoder", "our shards' rows"):
        for workers in counts:
            share = statistics.median(later["segsearch", "own", workers]) / (max(1, workers) * alone[way])
            print(f"delivered / ({max(1, workers)} x decoding alone, {way}): {share:.2f} with {workers} workers "
                  f"(goal {GOAL_SHARE})")  # fmt: skip


def workers_text(counts: Sequence[int]) -> str:
    """How the columns are divided."""
    return " / ".join(map(str, counts))


def table(measured: dict[str, dict[Key, list[float]]], counts: Sequence[int]) -> None:
    """Medians, and ours over each."""
    columns = [f"{name} | ours over it" for name in measured]
    print(f"\n| | decoder | {' | '.join(columns)} |\n|---|---|{'---|---|' * len(columns)}")
    keys = list(dict.fromkeys(key[:2] for values in measured.values() for key in values))
    for side, decoder in keys:
        cells = []
        for values in measured.values():
            own = [statistics.median(values[side, decoder, workers]) for workers in counts]
            ours = [statistics.median(values["segsearch", "own", workers]) for workers in counts]
            cells.append(" / ".join(f"{rate:.0f}" for rate in own))
            cells.append(" / ".join(f"{a / b:.2f}" for a, b in zip(ours, own, strict=True)))
        print(f"| {side} | {decoder} | {' | '.join(cells)} |")
    print(f"goals: {GOAL_SHIPPED} over the best with its own decoder, {GOAL_DECODER} over any with ours")


def cold(places: dict[int, str], folder: Path, *, rounds: int, counts: Sequence[int]) -> None:
    """One epoch from SeaweedFS with an empty cache."""
    found: dict[Key, list[float]] = {}
    (folder / "weed").mkdir()
    with object_store(folder / "weed"):
        remote = {number: side for number, side in enumerate(sides()) if side.remote}
        for number in remote:
            upload(Path(places[number]), BUCKET, f"side-{number}")
        for _ in range(rounds):
            for workers in counts:
                for number, side in remote.items():
                    cache = folder / "cache"
                    ends, _ = deliver(side, f"s3://{BUCKET}/side-{number}", cache, workers, epochs=1)
                    found.setdefault((side.name, side.decoder, workers), []).append(367 / ends[0])
                    remove(cache)
        stamp(
            f"cold from SeaweedFS, {rounds} rounds of one epoch, samples/s with {workers_text(counts)} workers"
        )
        table({"first epoch": found}, counts)


def decoded(root: Path, folder: Path) -> None:
    """The profile ``decoded``: bytes/s of cases, and of cases put into a batch, over a plain copy into the same batch."""
    dest = str(folder / "decoded")
    ingest(root, dest, profile="decoded")
    dataset = open_dataset(dest)
    ids = list(dataset.ids("train"))
    random.Random(0).shuffle(ids)
    first = dataset.case(ids[0])
    assert first.labels is not None
    held = [
        (case.image.copy(), case.labels) for case in map(dataset.case, ids)
    ]  # every batch is checked by now
    images = np.zeros((BATCH, *first.image.shape), np.uint8)
    labels = np.zeros((BATCH, *first.labels.shape), np.uint8)
    num_bytes = len(ids) * (first.image.nbytes + first.labels.nbytes)

    def plain() -> None:
        for number, (image, mask) in enumerate(held):
            images[number % BATCH], labels[number % BATCH] = image, mask

    def into_batch() -> None:
        for number, id in enumerate(ids):
            case = dataset.case(id, copy=False)
            images[number % BATCH], labels[number % BATCH] = case.image, case.labels

    def cases() -> None:
        for id in ids:
            dataset.case(id)

    ways: dict[str, Callable[[], None]] = {"copy": plain, "cases": cases, "cases into a batch": into_batch}
    rounds = [{way: num_bytes / seconds(run) / 1e9 for way, run in ways.items()} for _ in range(25)]
    stamp("decoded profile, one thread, medians of 25 rounds")
    for way in ways:
        rate = statistics.median(each[way] for each in rounds)
        share = statistics.median(each[way] / each["copy"] for each in rounds)
        print(f"{way}: {rate:.2f} GB/s, {share:.2f} of a plain copy in the same round (goal {GOAL_COPY})")


def training(ours: str, *, counts: Sequence[int]) -> None:
    """Batches/s of a search's own training set, augmentation of ``small_unet`` included."""
    dataset = open_dataset(ours)
    candidate = load_preset("small_unet").candidate()
    view = DataView(ours, dataset.digest, "images", (CROP_PX, CROP_PX), BATCH)
    started = time.perf_counter()
    cases = PreparedCases(dataset, "train", fit(candidate.preprocessing, dataset.manifest))
    made = TrainingSet(
        cases=cases, view=view, augmentation=candidate.recipe.augmentation, symmetries=dataset.symmetries,
        ignore_index=dataset.manifest.ignore_index, seed=0, num_classes=dataset.num_classes,
    )  # fmt: skip
    stamp(f"training set of a search, opened in {time.perf_counter() - started:.2f} s")
    for workers in counts:
        rates = []
        for _ in range(3):
            source = batches(made, range(1, 4), loader_workers=workers)
            next(source)
            # mypy has no type for the default of a lambda
            rates.append((3 * made.steps - 1) / seconds(lambda source=source: list(map(len, source))))  # type: ignore[misc]
        rate = statistics.median(rates)
        print(f"{workers} workers: {rate:.1f} batches/s, {rate * BATCH:.0f} samples/s")


def memory(ours: str, folder: Path, gigabytes: float) -> None:
    """RssAnon of a fresh process that reads a data set of incompressible volumes once in random order."""
    dest = str(folder / "large")
    made = seconds(lambda: synthetic(ours, dest, gigabytes))
    command = [sys.executable, __file__, "--read", dest]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    stamp(
        f"memory, {gigabytes:g} GB in {found['cases']} cases, written in {made:.0f} s, read in {found['seconds']:.0f} s"
    )
    print(
        f"RssAnon after imports {found['before']:.0f} MB, greatest while reading {found['greatest']:.0f} MB: "
        f"{found['greatest'] - found['before']:.0f} MB more (goal {GOAL_MB})"
    )
    remove(Path(dest))


def synthetic(ours: str, dest: str, gigabytes: float) -> None:
    """A data set of volumes of noise, 128 x 128 x 64 with labels, 3 MiB each; every shard has the same under other ids."""
    like, store, rng = open_dataset(ours).manifest, open_store(dest), np.random.default_rng(0)
    digest = hashlib.sha256(str(gigabytes).encode()).hexdigest()
    shape = (128, 128, 64)
    rows = [
        encode_row(
            "same", "train", image=volume(rng, (1, *shape), np.int16), picture=None, codec="raw+zstd",
            labels=volume(rng, shape, np.uint8), spacing=(1.0, 1.0, 1.0), affine=np.eye(4), group=None,
        )
        for _ in range(ROWS_A_SHARD)
    ]  # fmt: skip
    shards = []
    for number in range(max(1, round(gigabytes * 1e9 / (ROWS_A_SHARD * 3 * 2**20)))):
        named = [replace(row, id=f"{number:05d}-{place:02d}") for place, row in enumerate(rows)]
        info, data = encode_shard(named, digest)
        publish_shard(store, info, data)
        shards.append(info)
    publish_manifest(store, replace(like, digest=digest, shards=tuple(shards), axes=("x", "y", "z")))


def volume(rng: np.random.Generator, shape: tuple[int, ...], kind: Any) -> npt.NDArray[Any]:
    """Noise that does not compress."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer(rng.bytes(size), kind).reshape(shape)


def read_once(location: str) -> dict[str, float]:
    """Read every case once in random order; MB of anonymous memory before, and the greatest while reading."""
    before = rss_anon()
    dataset = open_dataset(location)
    ids = list(dataset.ids("train"))
    random.Random(0).shuffle(ids)
    started, greatest = time.perf_counter(), before
    for id in ids:
        case = dataset.case(id)
        greatest = max(greatest, rss_anon())
        del case
    return {
        "before": before,
        "greatest": greatest,
        "seconds": time.perf_counter() - started,
        "cases": len(ids),
    }


def rss_anon(process: int | str = "self") -> float:
    """Anonymous memory of a process, MB."""
    lines: Iterator[str] = iter(Path(f"/proc/{process}/status").read_text().splitlines())
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1000


if __name__ == "__main__":
    main()
