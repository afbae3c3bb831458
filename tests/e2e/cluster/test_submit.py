"""A job submitted to a cluster: found good or refused in words, run on two nodes, watched, exported; and no secret anywhere."""

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import ADDRESS, BUCKET, MLFLOW, RayCluster

from orchestrator.audit import faults
from orchestrator.engine.events import Event

Read = Callable[[str], list[Event]]

DATASET, STORAGE = f"s3://{BUCKET}/datasets/small", f"s3://{BUCKET}/runs"
PLACES = ("--dataset", DATASET, "--storage", STORAGE)
JOB = """\
name: {name}
dataset: data/small
raw: {raw}
data: {{size: [64, 64], batch: 8, epoch_samples: 32}}
space: {space}
plugins: {plugins}
fix: {{architecture.encoder.width: [8, 16], architecture.encoder.stages: [3, 4], recipe.optimiser: adamw}}
constraints: {{parameters: 2.0e6, macs: 6.0e7}}
search: {{scheduler: {{kind: asha, max_epochs: 3, min_epochs: 1, reduction: 3}}, seed: 3, presets: {presets}}}
budget: {{trials: {trials}}}
resources: {resources}
retrain: {{top: {top}, epochs: 1, seeds: 1}}
"""


def write_job(folder: Path, name: str, raw: Path, **fields: Any) -> Path:
    """A small job."""
    values = {
        "space": "compact",
        "plugins": "[]",
        "presets": "true",
        "trials": 3,
        "top": 1,
        "resources": "{}",
        **fields,
    }
    path = folder / f"{name}.yaml"
    path.write_text(JOB.format(name=name, raw=raw, **values))
    return path


@pytest.fixture(scope="module")
def finished(cluster: RayCluster, small_raw: Path) -> str:
    """What a job printed that ran to its end on the cluster."""
    write_job(cluster.folder, "demo", small_raw)
    handed = cluster.json("submit", "demo.yaml", "--address", ADDRESS, *PLACES)
    assert handed["search"] == "demo" and handed["warnings"] == []
    second = cluster.call("submit", "demo.yaml", "--address", ADDRESS, *PLACES)
    assert second.code == 2 and f"runs as job {handed['job']}" in second.err
    done = cluster.call("logs", "demo", "--follow", "--address", ADDRESS)
    assert done.code == 0, done
    return done.out


def test_it_runs_on_both_nodes_and_exports_to_the_bucket(
    cluster: RayCluster, finished: str, events_of: Read
) -> None:
    export = f"{STORAGE}/demo/exports/trial-00003"
    assert f"best network, exported and proved: {export}" in finished
    assert f"compare all runs: {MLFLOW}" in finished
    verified = cluster.json("verify", export, env=cluster.store_env)
    assert verified["recorded"]["dice"] == pytest.approx(verified["measured"]["torch"]["dice"], abs=1e-6)
    written = events_of("demo")
    assert faults(written, files=False) == []
    assert (
        len({e.body["digest"] for e in written if e.kind == "asked" and e.body["purpose"] == "search"}) == 3
    )
    assert ran_side_by_side(written), "each node has one core, so both trained"
    audit = cluster.json("audit", "demo", "--address", ADDRESS)
    assert audit["faults"] == [] and audit["events"] == len(written)


def ran_side_by_side(written: list[Event]) -> bool:
    """Whether two legs worked at the same time, by the workers' own clocks."""
    legs = [event.body for event in written if event.kind == "leg_ended"]
    spans = sorted((leg["at"] - leg["seconds"], leg["at"]) for leg in legs)
    return any(begin < end for (_, end), (begin, _) in pairwise(spans))


def test_a_client_asks_the_head_or_the_journal_and_hears_the_same(
    cluster: RayCluster, finished: str, postgres: str
) -> None:
    asked = cluster.json("status", "demo", "--address", ADDRESS)
    assert asked == cluster.json("status", "demo", env={"SEGSEARCH_JOURNAL": postgres})
    assert (asked["state"], asked["trials"], asked["ended"]) == ("finished", 3, 3)
    assert "demo" in [row["name"] for row in cluster.json("list", "--address", ADDRESS)]
    board = cluster.json("leaderboard", "demo", "--address", ADDRESS)
    assert {row["purpose"] for row in board["trials"]} == {"search", "retrain"}
    assert board["result"]["winner"]["export"].startswith(STORAGE)
    unknown = cluster.call("status", "no-such", "--address", ADDRESS)
    assert unknown.code == 2 and "unknown search 'no-such'" in unknown.err


def test_a_fork_on_the_cluster_knows_the_trials_of_the_other_search(
    cluster: RayCluster, finished: str, small_raw: Path, events_of: Read
) -> None:
    write_job(cluster.folder, "narrower", small_raw, trials=1, top=0)
    unknown = cluster.call("fork", "demi", "--with", "narrower.yaml", "--address", ADDRESS, *PLACES)
    assert unknown.code == 2 and "demi" in unknown.err and "Traceback" not in unknown.err
    forked = ("fork", "demo", "--with", "narrower.yaml", "--address", ADDRESS, *PLACES, "--follow")
    done = cluster.call(*forked)
    assert done.code == 0, done
    assert "evidence of demo: 3 trials kept; 0 outside the new space" in done.out
    written = events_of("narrower")
    assert [event.kind for event in written].count("evidence") == 3
    assert [event.kind for event in written].count("finished") == 1


def test_mlflow_shows_the_runs(cluster: RayCluster, finished: str) -> None:
    code = f"""
import json
from mlflow import MlflowClient
client = MlflowClient({MLFLOW!r})
experiment = client.get_experiment_by_name("segsearch/demo")
runs = client.search_runs([experiment.experiment_id])
print(json.dumps([[run.data.tags["segsearch.trial"], run.data.metrics.get("dice"), run.info.status] for run in runs]))
"""
    process = cluster.host.start([sys.executable, "-c", code], cluster.base_env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    runs = {trial: (dice, status) for trial, dice, status in json.loads(out.splitlines()[-1])}
    board = cluster.json("leaderboard", "demo", "--address", ADDRESS)["trials"]
    assert set(runs) == {"parent", *(str(row["trial"]) for row in board)}
    for row in board:
        assert runs[str(row["trial"])] == (pytest.approx(row["value"]), "FINISHED")


def test_no_secret_is_left_anywhere(cluster: RayCluster, finished: str, events_of: Read) -> None:
    """Journal, MLflow, logs of Ray and of drivers, job descriptions: none holds the store's key, the token, the password."""
    secrets = [cluster.store_keys[1], cluster.token, "canary-password"]
    kept = {"s3.json", "token"}  # where an administrator put them
    searched = 0
    for path in cluster.folder.rglob("*"):
        if path.is_file() and path.name not in kept and "weed" not in path.parts:
            data = path.read_bytes()
            searched += 1
            assert not [secret for secret in secrets if secret.encode() in data], path
    assert searched > 100
    texts = [json.dumps(e.body) for e in events_of("demo")] + [finished]
    texts.append(cluster.call("doctor", "--address", ADDRESS).out)
    listing = cluster.host.start(
        ["ray", "job", "list", "--address", ADDRESS],
        {**cluster.base_env, **cluster.token_env, "RAY_AUTH_MODE": "token"},
    )
    out, err = listing.communicate(timeout=60)
    assert "segsearch-demo" in out + err
    texts += [out, err]
    assert not [text for text in texts if any(secret in text for secret in secrets)]


def test_one_slot_gives_the_same_leaderboard_on_a_cluster_and_on_a_laptop(
    cluster: RayCluster, small_raw: Path, small_dataset: Path
) -> None:
    """The same file; S3, PostgreSQL and another node there, a folder, SQLite and this process here: the same numbers."""
    write_job(cluster.folder, "twin", small_raw, resources="{cpus: 1}", top=0)
    cluster.json("submit", "twin.yaml", "--address", ADDRESS, *PLACES)
    assert cluster.call("logs", "twin", "--follow", "--address", ADDRESS).code == 0
    laptop = cluster.folder / "laptop"
    laptop.mkdir()
    here = ("--dataset", str(small_dataset), "--in-process", "--no-tracking")
    assert cluster.call("run", str(cluster.folder / "twin.yaml"), *here, cwd=laptop).code == 0
    boards = [
        cluster.json("leaderboard", "twin", "--address", ADDRESS),
        cluster.json("leaderboard", "twin", cwd=laptop),
    ]
    told = ("rank", "trial", "name", "digest", "seed", "status", "epoch", "value", "values", "profile")
    there, local = ([{key: row[key] for key in told} for row in board["trials"]] for board in boards)
    assert there == local and len(local) == 3


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        (("--address", "http://127.0.0.1:1"), {}, "nothing answers there"),
        (("--address", "ftp://x"), {}, "expected http://HOST:8265"),
        (("--address", "http://me:secret@127.0.0.1:8265"), {}, "holds credentials"),
        (("--address", ADDRESS), {"RAY_AUTH_TOKEN": "wrong" * 8}, "the cluster refused the token"),
        (("--address", ADDRESS), {"RAY_AUTH_TOKEN_PATH": "/nowhere"}, "the cluster asks for a token"),
    ],
)
def test_a_cluster_that_cannot_be_entered_is_refused_at_once(
    cluster: RayCluster, small_raw: Path, options: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    write_job(cluster.folder, "refused", small_raw)
    done = cluster.call("submit", "refused.yaml", *options, *PLACES, env=environment)
    assert done.code == 2 and sentence in done.err, done
    assert "secret" not in done.err and "wrongwrong" not in done.err


def test_all_that_the_cluster_lacks_is_named_at_once(cluster: RayCluster, small_raw: Path) -> None:
    write_job(cluster.folder, "lacking", small_raw, resources="{gpus: 16, slot_cpus: 9}")
    places = ("--dataset", "s3://no-such-bucket/data", "--storage", "s3://no-such-bucket/runs")
    done = cluster.call("submit", "lacking.yaml", "--address", ADDRESS, *places)
    assert done.code == 2
    assert "nothing was submitted:" in done.err
    assert "resources.gpus: there are 0 GPUs in all (largest node 0); got 16." in done.err
    assert done.err.count("bucket 'no-such-bucket' not found") == 2
    write_job(cluster.folder, "lacking", small_raw, resources="{slot_cpus: 9}")
    done = cluster.call(
        "submit", "lacking.yaml", "--address", ADDRESS, "--dataset", "data/none", "--storage", STORAGE
    )
    assert "resources.slot_cpus: no node has 9 cores for one slot (largest 1)." in done.err
    assert "data/none: no data set there" in done.err


def test_an_identity_that_may_only_read_is_told_what_it_lacks(cluster: RayCluster, small_raw: Path) -> None:
    reader = {**cluster.store_env, "AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader-secret"}
    dest = f"s3://{BUCKET}/datasets/other"
    done = cluster.call("data", "ingest", str(small_raw), dest, env=reader)
    assert done.code == 2 and "put_object was refused (AccessDenied)" in done.err and dest in done.err, done
    assert cluster.call("data", "info", DATASET, env=reader).code == 0


def test_a_plain_path_that_a_node_does_not_share_is_refused_before_the_first_leg(
    cluster: RayCluster, small_raw: Path, small_dataset: Path
) -> None:
    """Worker nodes see another folder where the head keeps Ray's files: it stands for a disk of its own."""
    storage = cluster.ray / "runs"
    write_job(cluster.folder, "unshared", small_raw)
    places = ("--dataset", str(small_dataset), "--storage", str(storage))
    handed = cluster.json("submit", "unshared.yaml", "--address", ADDRESS, *places)
    done = cluster.call("logs", "unshared", "--follow", "--address", ADDRESS)
    assert "the cluster cannot run this job, nothing was started:" in done.out, (handed, done)
    assert done.out.count(f"does not see what the driver wrote to {storage}") == 2
    assert "unshared" not in [row["name"] for row in cluster.json("list", "--address", ADDRESS)]


def test_preflight_is_quick(cluster: RayCluster) -> None:
    """3 s is the aim on a quiet machine of two cores (benchmarks/preflight.py); a loaded one is given five times that."""
    begun = time.monotonic()
    done = cluster.call("doctor", "--address", ADDRESS, "--storage", STORAGE)
    assert done.code == 0, done
    seconds = time.monotonic() - begun
    print(f"doctor: {seconds:.1f} s, {os.getloadavg()[0]:.1f} load")
    assert seconds < 15


def test_a_variable_of_ray_does_not_lead_to_another_cluster(cluster: RayCluster) -> None:
    elsewhere = {"RAY_ADDRESS": "http://127.0.0.1:1", "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}
    done = cluster.call("doctor", "--address", ADDRESS, env=elsewhere)
    assert done.code == 0, done


CLIENT = f"""
import json, sys, time
from pathlib import Path
from orchestrator.cluster import Cluster, NoAnswerError
from orchestrator.errors import PlaceError

cluster, folder, said = Cluster({ADDRESS!r}), Path(sys.argv[1]), {{}}
begun = time.monotonic()
said["answer"] = cluster.answer("cat said; sleep 300", folder, mark="MARK ", timeout_s=100)
said["seconds"] = time.monotonic() - begun
for what, command, limit in (("none", "cat said | tail -n 1", 100), ("silent", "true", 100), ("late", "sleep 300", 3)):
    try:
        cluster.answer(command, folder, mark="MARK ", timeout_s=limit)
    except (NoAnswerError, PlaceError) as error:
        said[what] = [type(error).__name__, str(error)]
try:
    cluster.logs("no-such-job")
except PlaceError as error:
    said["unknown"] = str(error)
print(json.dumps(said))
"""


def test_an_answer_is_taken_when_it_is_there_and_missed_in_words(cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "said").write_text('a line\nMARK {"x": "\\u2028"}\nMARK of nothing, as no line ends here')
    process = cluster.host.start(
        [sys.executable, "-c", CLIENT, str(tmp_path)], {**cluster.base_env, **cluster.token_env}
    )
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["answer"] == {"x": "\u2028"} and said["seconds"] < 100
    # Ray's own line about the entry point may come after it, and then stands on the same line.
    assert said["none"][0] == "NoAnswerError" and "MARK of nothing, as no line ends here" in said["none"][1]
    assert said["silent"][0] == "NoAnswerError" and "Running entrypoint" in said["silent"][1]
    assert said["late"][0] == "PlaceError" and "does not end within 3 s" in said["late"][1]
    assert "get_job_logs failed (404: Job no-such-job does not exist)" in said["unknown"]
