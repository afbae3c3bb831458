"""Functions for other processes, which import them by name."""

import os

from workers.errors import DataError


def die(task: int) -> int:
    """End the process at the sixth task."""
    if task == 5:
        os._exit(9)
    return task


def refuse(task: int) -> int:
    """Raise at the sixth task."""
    if task == 5:
        raise DataError("five", ["is", "odd"])
    return task
