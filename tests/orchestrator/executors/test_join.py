"""Joining a cluster that is not there."""

import socket
import time

import pytest

from orchestrator.errors import ExecutorError
from orchestrator.executors.ray_tune import join


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
