"""kill -9 of the driver at random instants, again and again: what is left must be whole, and the end the same as without.

Searches with one slot in the driver's process (``--in-process``) on real volumes with tiny networks: each runs once
undisturbed, and once, in another folder, with its driver killed at a random instant up to ``--within`` seconds after it took
the lead, and started again, until it ends. After every kill the journal is audited (the rules of ``segsearch audit``,
checkpoints included); at the end verdicts, values and losses of all trials are compared with the undisturbed run's, number
by number. With ``--ray N`` the driver of a search on a local Ray with two slots is killed N times; there the order of
trials may differ, so only the audit counts.

    python benchmarks/crash.py --kills 100 --ray 10
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.audit import faults
from orchestrator.engine.events import Event
from orchestrator.journal import Journal
from workers.data.ingest import ingest

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"
JOB = """\
name: {name}
dataset: {data}
data: {{size: [32, 32], batch: 4, epoch_samples: 8}}
space: compact
fix: {{architecture.encoder.width: [8], architecture.encoder.stages: [3]}}
search: {{sampler: evolution, scheduler: {{kind: asha, max_epochs: 4, min_epochs: 1, reduction: 2}}, seed: {seed}}}
budget: {{trials: 16}}
retrain: {{top: 0}}
"""
END_S = 300


class Folder:
    """A folder with a job and its journal."""

    def __init__(self, folder: Path, name: str, data: Path, seed: int, *options: str) -> None:
        folder.mkdir(parents=True)
        (folder / "job.yaml").write_text(JOB.format(name=name, data=data, seed=seed))
        self.folder, self.name, self.options = folder, name, options

    def start(self) -> subprocess.Popen[bytes]:
        """A driver that begins the search or goes on with it."""
        command = [
            sys.executable,
            "-m",
            "orchestrator.cli.main",
            "run",
            "--resume",
            "--no-tracking",
            "job.yaml",
        ]
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("SEGSEARCH_", "RAY_", "MLFLOW_"))
        }
        environment |= {"HOME": str(self.folder), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        log = (self.folder / "log").open("ab")
        return subprocess.Popen(
            [*command, *self.options], cwd=self.folder, env=environment, stdout=log, stderr=log
        )

    def events(self) -> list[Event]:
        """All that the journal holds."""
        path = self.folder / "runs" / "journal.db"
        if not path.exists():
            return []
        journal = Journal(f"sqlite:///{path}")
        try:
            return journal.read(self.name) if self.name in journal.names() else []
        finally:
            journal.close()

    def finish(self) -> None:
        """Run to the end without a kill."""
        process = self.start()
        assert process.wait(END_S) == 0, (self.folder / "log").read_text()[-3000:]

    def kill_once(self, rng: random.Random, within_s: float) -> bool:
        """Start a driver and kill it at a random instant after it took the lead; False where the search ended before."""
        before = leads(self.events())
        process = self.start()
        end = time.monotonic() + END_S
        while leads(self.events()) == before and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, within_s))
        if process.poll() is not None:
            assert process.returncode == 0, (self.folder / "log").read_text()[-3000:]
            return False
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True


def leads(written: Sequence[Event]) -> int:
    """How many drivers led."""
    return sum(event.kind == "leading" for event in written)


def outcome(written: Sequence[Event]) -> list[Any]:
    """What must be the same: candidates, losses and metrics by epoch, verdicts."""
    told: list[Any] = []
    for event in written:
        body = event.body
        match event.kind:
            case "asked":
                told.append((body["trial"], 0, body["digest"], body["seed"]))
            case "epoch":
                told.append(
                    (body["trial"], body["epoch"], body["loss"], tuple(sorted(body["metrics"].items())))
                )
            case "trial_ended":
                told.append((body["trial"], 10**6, body["verdict"], body["value"]))
    return sorted(told, key=lambda row: row[:2])


def main() -> None:
    """Print how many kills left a whole journal and how many searches ended like their undisturbed twins."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--within", type=float, default=1.5)
    parser.add_argument("--ray", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"load at the beginning: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="segsearch-crash-") as place:
        root = Path(place)
        ingest(EXAMPLE, str(root / "data"))
        kills = whole = same = searches = 0
        while kills < options.kills:
            name = f"search-{searches}"
            calm = Folder(root / "calm" / name, name, root / "data", searches, "--in-process")
            calm.finish()
            hit = Folder(root / "hit" / name, name, root / "data", searches, "--in-process")
            mine = 0
            while kills < options.kills and hit.kill_once(rng, options.within):
                kills, mine = kills + 1, mine + 1
                found = faults(hit.events())
                whole += not found
                for fault in found:
                    print(f"  {name}, kill {mine}: {fault}")
            hit.finish()
            searches += 1
            expected, ended = outcome(calm.events()), outcome(hit.events())
            equal = ended == expected and not faults(hit.events())
            same += equal
            print(
                f"{name}: killed {mine} times, {len(hit.events())} events, {'the same end' if equal else 'ANOTHER END'}",
                flush=True,
            )
        print(
            f"in process: {whole} of {kills} kills left a whole journal; {same} of {searches} searches ended the same"
        )
        kills = whole = searches = 0
        while kills < options.ray:
            name = f"on-ray-{searches}"
            hit = Folder(root / "ray" / name, name, root / "data", 100 + searches)
            while kills < options.ray and hit.kill_once(rng, 3 * options.within):
                kills += 1
                whole += not (found := faults(hit.events()))
                print(f"{name}, kill {kills}: {found or 'whole'}", flush=True)
            hit.finish()
            searches += 1
            assert not faults(hit.events())
        if options.ray:
            print(f"on Ray: {whole} of {kills} kills left a whole journal; {searches} searches ended whole")


if __name__ == "__main__":
    main()
