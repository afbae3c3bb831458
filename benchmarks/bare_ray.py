"""A local Ray with nothing of ours on it, for what a user assembles of Ray's own parts."""

import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator

from orchestrator.executors.ray_tune import LOCAL_SETTINGS, TUNE_SETTINGS


def set_environment() -> None:
    """Loopback, a token, no telemetry, quiet Tune: as for a search. Before Ray is imported."""
    for name, value in {**LOCAL_SETTINGS, **TUNE_SETTINGS}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the home folder


@contextlib.contextmanager
def bare_ray(cpus: int) -> Iterator[None]:
    """Start Ray with so many slots of one core, and end it."""
    import ray

    with tempfile.TemporaryDirectory(prefix="bare-ray-") as folder:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=128 << 20,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()
