"""What is said before Ray is asked: a cluster that is not there, a folder whose modules would be taken for ours."""

import socket
import time
from pathlib import Path

import pytest

from orchestrator.errors import ExecutorError
from orchestrator.executors.ray_tune import join, refuse_shadows


def test_a_cluster_that_is_not_there_is_said_at_once_and_not_after_minutes() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, and nothing listens
        address = f"127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(
            ExecutorError, match=f"no Ray cluster answers at '{address}' .*Connection refused"
        ):
            join(address)
    assert time.monotonic() - begun < 20  # most of it importing Ray


@pytest.mark.parametrize("name", ["workers.py", "orchestrator/__init__.py"])
def test_a_module_that_workers_would_import_in_place_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    refuse_shadows(tmp_path)
    refuse_shadows(Path(__file__).parents[3])  # a checkout holds the packages themselves
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(ExecutorError, match=f"{name} would be imported .* rename it"):
        refuse_shadows(tmp_path)
