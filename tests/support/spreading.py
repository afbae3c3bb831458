"""Functions for other processes, which import them by name."""

import os
import sys
import time

from workers.errors import DataError


def die(task: int) -> int:
    """End the process, but for the one that asks, which takes its time."""
    if sys.argv[0] == "-c":
        os._exit(9)
    time.sleep(0.05)
    return task


def refuse(task: int) -> int:
    """Raise at the sixth task."""
    if task == 5:
        raise DataError("five", ["is", "odd"])
    return task


def where(task: int) -> int:
    """The process that works for a while."""
    time.sleep(0.02)
    return os.getpid()
