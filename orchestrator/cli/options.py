"""Options and arguments that several commands share, and how a command is run on a cluster instead of here."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.places import absolute

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
JobFile = Annotated[Path, typer.Argument(help="The job file.", show_default=False)]
Location = Annotated[
    str, typer.Argument(help="Folder or s3://bucket/prefix of a data set.", show_default=False)
]
Search = Annotated[str, typer.Argument(help="Name of the search.", show_default=False)]
Storage = Annotated[str, typer.Option(help="Folder with the journal, where SEGSEARCH_JOURNAL is not set.")]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="One trial after another in this process, for a debugger.")
]
Cluster = Annotated[
    str | None,
    typer.Option(help="Run on this Ray cluster, of which this machine is a node: auto, or HOST:6379."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ask the head of a cluster: the address of Ray's dashboard, http://HOST:8265."),
]
AllowOpen = Annotated[bool, typer.Option("--allow-open", help="Accept a cluster that asks for no token.")]
Dataset = Annotated[str | None, typer.Option(help="The data set, instead of where the job says.")]
JobStorage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="For checkpoints, exports and, in a folder, the journal; instead of where the job says.",
    ),
]
NoTracking = Annotated[bool, typer.Option("--no-tracking", help="Do not publish to MLflow.")]


def forward(
    arguments: list[str], address: str | None, *, storage: str, allow_open: bool, as_json: bool = False
) -> None:
    """Let the head of a cluster run a command, print what it says, and end with its exit code; nothing without an address."""
    if address is None:
        return
    from orchestrator import remote

    command = [*arguments, "--storage", absolute(storage), *(["--json"] if as_json else [])]
    code, out, err = remote.ask(command, address, allow_open=allow_open)
    print(out, end="")
    print(err, end="", file=sys.stderr)
    raise typer.Exit(code)
