"""Seconds to write CamVid's 701 pairs: ours beside litdata, MosaicML MDS and WebDataset, on the same files.

Ours reads and checks every pair first (sizes, label values, duplicates, class counts, intensities), hashes each case, shard and
batch, syncs what it writes and publishes a manifest; ``verify`` has a row of its own, and peers have no like of it. Each
peer copies the files' bytes, which is the cheapest that it can do; *pictures* hands it pictures of Pillow instead, and *each
decoded first* promises as ours does that no broken picture is published, but still counts and hashes nothing. WebDataset
and MDS write in the process that calls them. All take turns in each round, each into an empty folder; medians. *CPU* is that of
all processes. ``new`` is the time of a new program that does nothing but our ingest, as a user starts it, imports included.

    python -m venv /tmp/peers_data  # and on as `python benchmarks/readers.py --help` says
    PYTHONPATH=. /tmp/peers_data/bin/python benchmarks/ingest.py --rounds 3
"""

import argparse
import contextlib
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from peer_readers import (
    Pair,
    camvid,
    litdata_pictures,
    remove,
    require_peers,
    write_litdata,
    write_mds,
    write_mds_pictures,
    write_tar,
)

from workers.data.ingest import ingest
from workers.data.verify import verify_dataset
from workers.image_file import decode_image, decode_mask


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEGSEARCH_DATA", "data")))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")  # of the peers
    require_peers()
    root = given.data / "camvid" / "CamVid"
    pairs = camvid(root, "train", "val", "test")
    load = os.getloadavg()[0]
    print(
        f"{len(pairs)} pairs: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load:.1f}"
    )
    ours = "segsearch"
    ways: dict[str, Callable[[Path], object]] = {
        f"{ours}, 1 thread": lambda dest: ingest(root, str(dest), jobs=1),
        f"{ours}, 2 threads": lambda dest: ingest(root, str(dest), jobs=2),
        f"{ours}, 2 threads, new": lambda dest: as_a_program(root, dest, jobs=2),
        "WebDataset": partial(write_tar, pairs),
        "MosaicML MDS": partial(write_mds, pairs),
        "MosaicML MDS, each decoded first": partial(write_mds_decoded, pairs),
        "MosaicML MDS, pictures": partial(write_mds_pictures, pairs),
        "litdata, 1 process": partial(write_litdata, pairs, jobs=1),
        "litdata, 2 processes": partial(write_litdata, pairs, jobs=2),
        "litdata, pictures, 1 process": partial(write_litdata, pairs, case=litdata_pictures, jobs=1),
        "litdata, pictures, 2 processes": partial(write_litdata, pairs, case=litdata_pictures, jobs=2),
    }
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        dest = Path(name) / "written"
        for _ in range(given.rounds):
            for way, write in ways.items():
                timed(way, lambda write=write: write(dest), wall, cpu)  # type: ignore[misc]  # mypy asks for a type there
                if way == f"{ours}, 1 thread":
                    timed(f"{ours}, verify", lambda: verify_dataset(str(dest)), wall, cpu)
                remove(dest)
    base = statistics.median(wall[f"{ours}, 1 thread"])
    print("\n| | seconds | over ours with 1 thread | CPU s |\n|---|---|---|---|")
    for way, values in wall.items():
        middle = statistics.median(values)
        print(f"| {way} | {middle:.2f} | {middle / base:.2f} | {statistics.median(cpu[way]):.2f} |")


def write_mds_decoded(pairs: Sequence[Pair], folder: Path) -> None:
    """MosaicML's shards of the files' bytes, each picture and mask decoded before it is written."""
    from streaming import MDSWriter

    columns = {"image": "bytes", "mask": "bytes"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=4 * 2**20) as out:
        for image, mask in pairs:
            case = {"image": image.read_bytes(), "mask": mask.read_bytes()}
            decode_image(case["image"], where=image.name)
            decode_mask(case["mask"], where=mask.name)
            out.write(case)


def as_a_program(root: Path, dest: Path, *, jobs: int) -> None:
    """Our ingest by a new interpreter, without what this one has loaded for the peers."""
    program = (
        "import sys; from workers.data.ingest import ingest; ingest(*sys.argv[1:3], jobs=int(sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", program, str(root), str(dest), str(jobs)], check=True)


def timed(
    way: str, run: Callable[[], object], wall: dict[str, list[float]], cpu: dict[str, list[float]]
) -> None:
    """Note the time of a call; what a peer prints is dropped."""
    started, used = time.perf_counter(), cpu_s()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run()
    wall.setdefault(way, []).append(time.perf_counter() - started)
    cpu.setdefault(way, []).append(cpu_s() - used)


def cpu_s() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
