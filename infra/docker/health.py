"""Health check of a container: exit 0 where a URL answers 200. Usage: ``python health.py URL``.

A Ray node asks with the cluster's token, from the file in ``RAY_AUTH_TOKEN_PATH``.
"""

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_S = 5


def main(url: str) -> int:
    """0 where the URL answers 200, else 1 with the reason on the error stream."""
    request = urllib.request.Request(url)
    if token_file := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        request.add_header("Authorization", f"Bearer {Path(token_file).read_text().strip()}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
