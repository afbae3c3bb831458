"""What reading a large data set leaves in a process's anonymous memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_sets import make_set

from workers.data.dataset import open_dataset
from workers.data.format import encode_row
from workers.data.manifest import ShardInfo
from workers.data.writer import encode_shard, publish_manifest, publish_shard
from workers.store import open_store

MIB = 2**20
TESTS = Path(__file__).parents[2]

# Reads all cases twice; prints megabytes of anonymous memory before, and the most there were after a case.
READ = """
import json, sys
from pathlib import Path
from workers.data.dataset import Dataset, open_dataset
from workers.data.shard_cache import ShardCache
from workers.local_store import LocalStore

class Bucket(LocalStore):
    def local_path(self, key):
        return None

def anonymous():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024

dataset = open_dataset(sys.argv[1])
if sys.argv[2]:
    store, cache = Bucket(Path(sys.argv[1])), ShardCache(Path(sys.argv[2]), limit=int(sys.argv[3]))
    dataset = Dataset(dataset.location, dataset.manifest, store=store, cache=cache)
before, seen = anonymous(), []
for _ in range(2):
    for id in dataset.ids("train"):
        image = dataset.case(id).image
        assert image.nbytes == image.shape[1] * 2**20
        seen.append(anonymous())
print(json.dumps([before, max(seen), seen[len(seen) // 4], seen[-1], dataset.cache_counts.uncached]))
"""


def make_large(folder: Path, *, shards: int, case_mib: int = 4, cases: int = 8) -> str:
    """Volumes of noise, which nothing compresses, under a manifest that lists them."""
    location = make_set(folder)
    manifest, store = open_dataset(location).manifest, open_store(location)
    rng = np.random.default_rng(0)
    infos: list[ShardInfo] = []
    for shard in range(shards):
        rows = [
            encode_row(
                f"case{shard:03d}{case}",
                "train",
                image=rng.integers(0, 256, (1, case_mib, 1024, 1024), dtype=np.uint8),
                picture=None,
                codec="raw+zstd",
                labels=None,
                spacing=(1.0, 1.0, 1.0),
                affine=np.eye(4),
                group=None,
            )
            for case in range(cases)
        ]
        info, data = encode_shard(rows, "f" * 64)
        publish_shard(store, info, data)
        infos.append(info)
    publish_manifest(store, replace(manifest, digest="f" * 64, shards=tuple(infos)))
    return location


@pytest.mark.parametrize(
    ("shards", "cached"),
    [
        (4, "folder"),
        (4, "cache"),
        pytest.param(32, "folder", marks=pytest.mark.slow),
        pytest.param(32, "cache", marks=pytest.mark.slow),
        pytest.param(32, "no cache", marks=pytest.mark.slow),
    ],
)
def test_reading_keeps_no_case_in_memory(tmp_path: Path, shards: int, cached: str) -> None:
    """Cases of 4 MiB in shards of 32 MiB: a reader needs a few cases at a time, whatever the data set holds."""
    location = make_large(tmp_path, shards=shards)
    (tmp_path / "file").write_bytes(b"")
    cache = {"folder": "", "cache": tmp_path / "cache", "no cache": tmp_path / "file" / "cache"}[cached]
    done = subprocess.run(
        [sys.executable, "-c", READ, location, str(cache), str(8 * 32 * MIB + 8 * MIB)],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    before, most, quarter, last, uncached = json.loads(done.stdout)
    print(
        f"{shards * 32} MiB from {cached}: {before:.0f} MiB before, {most - before:+.1f} MiB at most, "
        f"{last - quarter:+.1f} MiB from a quarter of the reading to its end, {uncached} shards in memory"
    )
    budget = 128 + 32 if cached == "no cache" else 0
    assert most - before < budget + 32 and last - quarter < 8
