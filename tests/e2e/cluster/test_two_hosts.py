"""Two hosts with a network between them: a search runs on both, and survives the cable being pulled. Needs root."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from private_host import PrivateHost, connect, set_cable
from ray_cluster import ADDRESS, BUCKET, RayCluster, start_servers

from orchestrator.audit import faults
from orchestrator.engine.events import Event

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="connecting two network namespaces needs root"),
]
HERE, THERE = "10.77.0.1", "10.77.0.2"
PLACES = ("--dataset", f"s3://{BUCKET}/datasets/small", "--storage", f"s3://{BUCKET}/runs")
QUICK_CHECKS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
JOB = """\
name: {name}
dataset: data/small
data: {{size: [64, 64], batch: 8, epoch_samples: 96}}
space: compact
fix: {{architecture.encoder.width: [8, 16], architecture.encoder.stages: [3, 4], recipe.optimiser: adamw}}
search: {{scheduler: {{kind: none, max_epochs: {epochs}}}, seed: 5}}
budget: {{trials: 4}}
retrain: {{top: 0}}
"""


@pytest.fixture(scope="module")
def hosts(
    tmp_path_factory: pytest.TempPathFactory, postgres: str, small_raw: Path
) -> Iterator[tuple[RayCluster, PrivateHost]]:
    """Head, store and one core here; one core there."""
    here, there = PrivateHost(), PrivateHost()
    connect(here, there, ips=(HERE, THERE))
    cluster = RayCluster(tmp_path_factory.mktemp("h"), here, postgres, ip=HERE)
    try:
        start_servers(cluster)
        cluster.start_head(cpus=1, env=QUICK_CHECKS)
        cluster.start_worker(
            cpus=1, host=there, ip=THERE, env={"SEGSEARCH_CACHE": str(cluster.folder / "there")}
        )
        done = cluster.call("data", "ingest", str(small_raw), PLACES[1], env=cluster.store_env)
        assert done.code == 0, done
        cluster.host.wait_for_port(5000)
        yield cluster, there
    finally:
        here.close()
        there.close()


def submit(cluster: RayCluster, name: str, *, epochs: int) -> None:
    (cluster.folder / f"{name}.yaml").write_text(JOB.format(name=name, epochs=epochs))
    cluster.json("submit", f"{name}.yaml", "--address", ADDRESS, *PLACES)


def test_a_search_runs_on_both_and_is_whole(
    hosts: tuple[RayCluster, PrivateHost], events_of: Callable[[str], list[Event]]
) -> None:
    cluster, there = hosts
    submit(cluster, "both", epochs=3)
    cluster.until("a slot on the other host", lambda: there.pids("ImplicitFunc"))
    done = cluster.call("logs", "both", "--follow", "--address", ADDRESS)
    assert done.code == 0, done
    written = events_of("both")
    assert faults(written, files=False) == []
    asked = [event.body["digest"] for event in written if event.kind == "asked"]
    assert len(asked) == len(set(asked)) == 4
    assert sum(event.kind == "epoch" for event in written) == 4 * 3


def test_a_pulled_cable_costs_a_leg_and_nothing_else(
    hosts: tuple[RayCluster, PrivateHost], events_of: Callable[[str], list[Event]]
) -> None:
    """The cut-off node may train on; what it reports afterwards is refused or never arrives, and counts nowhere."""
    cluster, there = hosts
    submit(cluster, "cut", epochs=6)
    cluster.until("epochs", lambda: sum(event.kind == "epoch" for event in events_of("cut")) >= 3)
    cluster.until("a slot on the other host", lambda: there.pids("ImplicitFunc"))
    set_cable(cluster.host, up=False)
    pulled = time.time()

    def lost() -> list[Event]:
        return [
            e for e in events_of("cut") if e.kind == "leg_ended" and e.body["message"].startswith("slot lost")
        ]

    cluster.until("the lost leg", lost, timeout_s=120)
    print(f"the leg behind the cut was given up after {time.time() - pulled:.1f} s")
    set_cable(cluster.host, up=True)
    done = cluster.call("logs", "cut", "--follow", "--address", ADDRESS, timeout_s=500)
    assert done.code == 0, done
    written = events_of("cut")
    assert faults(written, files=False) == []
    assert sum(event.kind == "epoch" for event in written) == 4 * 6
