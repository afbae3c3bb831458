"""An ingest on a real Ray gives what one process gives."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from workers.data.ingest import ingest

# A Ray of its own in another process, so that nothing of it stays in this one.
PROGRAM = """
import json, logging, sys
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=128 << 20, _temp_dir=sys.argv[1],
         log_to_driver=False, logging_level=logging.ERROR, namespace="segsearch")
from orchestrator.executors.ray_ingest import RaySpread
from workers.data.ingest import ingest
from workers.errors import DataError
spread = RaySpread("auto")
seen = []
manifest = ingest(sys.argv[2], sys.argv[3], spread=spread, shard_bytes=1, on_progress=lambda *now: seen.append(now))
problems = []
try:
    ingest(sys.argv[4], sys.argv[3] + "-bad", spread=spread, shard_bytes=1)
except DataError as error:
    problems = list(error.problems)
print(json.dumps({"digest": manifest.digest, "seen": len(seen), "problems": problems}))
"""


def test_tasks_of_a_cluster_write_the_same_bytes(red_pictures: Path, tmp_path: Path) -> None:
    alone = ingest(red_pictures, str(tmp_path / "alone"), shard_bytes=1, jobs=1)
    bad = tmp_path / "bad"
    for place in ("images", "masks"):
        (bad / place).mkdir(parents=True)
        for path in (red_pictures / place).iterdir():
            (bad / place / path.name).write_bytes(path.read_bytes())
    (bad / "images/shot05.png").write_bytes(b"no picture")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets need a short path
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder, str(red_pictures), str(tmp_path / "set"), str(bad)],
            capture_output=True,
            text=True,
            timeout=240,
            # Its own token and home: Ray would write a token into the user's.
            env={**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32), "HOME": str(tmp_path)},
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["digest"] == alone.digest and told["seen"] == 24
    assert told["problems"] == ["images/shot05.png: not a PNG, JPEG or TIFF picture; replace or remove it."]
    for folder_name in ("objects", "manifests"):
        one, two = (
            {path.name: path.read_bytes() for path in (tmp_path / name / folder_name).iterdir()}
            for name in ("alone", "set")
        )
        assert one == two
