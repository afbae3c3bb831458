"""A short command on the head of a cluster, for a client that does not reach the journal itself.

Prints one line of JSON with the exit code, standard output and standard error of the command.
"""

import contextlib
import io
import json
import sys
from collections.abc import Sequence

MARK = "SEGSEARCH-ANSWER "


def main(arguments: Sequence[str]) -> None:
    """Run a command line of segsearch and print what it said."""
    from orchestrator.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(arguments))
    print(MARK + json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
