"""kill -9 of the driver, of a node, and of the whole cluster, in one search that survives all three."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ray_cluster import ADDRESS, BUCKET, RayCluster

from orchestrator.audit import faults
from orchestrator.engine.events import Event

PLACES = ("--dataset", f"s3://{BUCKET}/datasets/small", "--storage", f"s3://{BUCKET}/runs")
TRIALS, EPOCHS = 2, 10
SLOW = """
# Two candidates whose steps take a quarter of a second at least, on any machine: what is killed is far from its end.
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from search_spaces.domain import Choice
from search_spaces.loss import Loss, LossTerm, Role, Scores, Weighted
from search_spaces.preset import load_preset
from search_spaces.register import entry


@entry("slow_squared_error")
@dataclass(frozen=True, slots=True)
class SlowSquaredError(LossTerm):
    role: ClassVar[Role] = "distribution"
    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)

    def value(self, scores: Scores) -> Tensor:
        time.sleep(0.25)
        return scores.mean((scores.probs - scores.truth.float()).square().sum(dim=1))


def space(choose):
    base = load_preset("small_unet").candidate()
    encoder = replace(base.architecture.encoder, width=choose("architecture.encoder.width", Choice((8, 12))))
    loss = Loss((Weighted(SlowSquaredError()),))
    return replace(base, architecture=replace(base.architecture, encoder=encoder), loss=loss)
"""
JOB = f"""\
name: faulty
dataset: data/small
data: {{size: [64, 64], batch: 8, epoch_samples: 96}}
space: slow:space
plugins: [slow]
search: {{scheduler: {{kind: none, max_epochs: {EPOCHS}}}, presets: false, seed: 5}}
budget: {{trials: {TRIALS}}}
resources: {{cpus: 2}}
retrain: {{top: 0}}
"""
ELSEWHERE_S = 60.0


def test_a_search_survives_its_driver_a_node_and_the_cluster(
    cluster: RayCluster, events_of: Callable[[str], list[Event]]
) -> None:
    (cluster.folder / "faulty.yaml").write_text(JOB)
    (cluster.folder / "slow.py").write_text(SLOW)

    def epochs() -> int:
        return sum(event.kind == "epoch" for event in events_of("faulty"))

    def more_epochs(count: int) -> None:
        before = epochs()
        cluster.until(f"{count} more epochs", lambda: epochs() >= before + count)

    cluster.start_worker(cpus=1)  # two slots, three nodes: one node stays spare
    cluster.json("submit", "faulty.yaml", "--address", ADDRESS, *PLACES)
    more_epochs(2)

    [driver] = cluster.host.pids("orchestrator.cli.main", "run")
    os.kill(driver, signal.SIGKILL)
    cluster.until("a second driver", lambda: leads(events_of("faulty")) == 2)
    more_epochs(2)

    nodes = [pid for pid in cluster.host.pids("/raylet/raylet") if pid != cluster.head_raylet]
    busy = cluster.until(
        "a slot on a node that is not the head", lambda: [pid for pid in nodes if runs_a_slot(pid)]
    )
    before = len(events_of("faulty"))
    os.kill(busy[0], signal.SIGKILL)
    killed = time.time()
    lost = cluster.until("a lost leg", lambda: lost_trials(events_of("faulty")[before:]))
    cluster.until(
        "its trial going on", lambda: lost <= went_on(events_of("faulty")[before:]), timeout_s=ELSEWHERE_S
    )
    print(f"the trial of a killed raylet went on after {time.time() - killed:.1f} s")
    assert busy[0] not in cluster.host.pids("/raylet/raylet")

    cluster.kill_all()
    reached = epochs()
    cluster.start_head(cpus=0)
    cluster.start_worker(cpus=1)
    cluster.start_worker(cpus=1)
    done = cluster.call("resume", "faulty", "--address", ADDRESS, "--follow", timeout_s=500)
    assert done.code == 0, done
    written = events_of("faulty")
    assert faults(written, files=False) == []
    assert epochs() == TRIALS * EPOCHS > reached
    assert leads(written) == 3
    assert cluster.json("audit", "faulty", "--address", ADDRESS)["faults"] == []


def leads(written: list[Event]) -> int:
    """How many drivers led."""
    return sum(event.kind == "leading" for event in written)


def lost_trials(written: list[Event]) -> set[int]:
    """Trials whose leg was lost with its slot."""
    return {
        event.body["trial"]
        for event in written
        if event.kind == "leg_ended" and event.body["message"].startswith("slot lost")
    }


def went_on(written: list[Event]) -> set[int]:
    """Trials that reported an epoch after their leg was lost."""
    lost: set[int] = set()
    found: set[int] = set()
    for event in written:
        if event.kind == "leg_ended" and event.body["message"].startswith("slot lost"):
            lost.add(event.body["trial"])
        if event.kind == "epoch" and event.body["trial"] in lost:
            found.add(event.body["trial"])
    return found


def runs_a_slot(raylet: int) -> bool:
    """Whether a child of this raylet is a slot of ours that trains."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            name = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if (parent == raylet and b"ImplicitFunc" in name) or (parent == raylet and b"slot" in name):
            return True
    return False
