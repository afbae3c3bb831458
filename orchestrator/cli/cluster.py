"""Commands for a Ray cluster: hand it a job, read its logs, look at what it lacks."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    Address,
    AllowOpen,
    AsJson,
    Dataset,
    JobFile,
    JobStorage,
    Search,
    Storage,
)
from orchestrator.cli.output import print_json, print_table
from orchestrator.places import DEFAULT_STORAGE

if TYPE_CHECKING:
    from orchestrator.remote import Submission


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    for command in (submit, logs, doctor):
        app.command()(command)


def submit(
    job: JobFile,
    address: Annotated[
        str,
        typer.Option(help="Ray's dashboard: http://HOST:8265.", show_default=False),
    ],
    dataset: Dataset = None,
    storage: JobStorage = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show what it prints until it ends.")] = False,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """Hand a job to a Ray cluster, where it runs on its own.

    The cluster is looked at first, as doctor does; where anything is wrong nothing is handed over.

    Example: segsearch submit examples/hippocampus.yaml --address http://10.0.0.5:8265 --dataset s3://lab/hippocampus
    """
    from orchestrator import remote

    handed = remote.submit(job, address, dataset=dataset, storage=storage, allow_open=allow_open)
    tell(handed, follow=follow, allow_open=allow_open, as_json=as_json)


def logs(
    name: Search,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the search ends.")] = False,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
) -> None:
    """What happened in a search.

    From its journal; with --address, what its newest job on a cluster printed.

    Example: segsearch logs hippocampus --follow
    """
    if address is None:
        from orchestrator import reading

        for line in reading.log_lines(name, go_on=follow, storage=storage):
            print(line, flush=True)
        return
    from orchestrator import remote

    for text in remote.follow(name, address, go_on=follow, allow_open=allow_open):
        print(text, end="", flush=True)


def doctor(
    address: Annotated[str, typer.Option(help="Ray's dashboard: http://HOST:8265.", show_default=False)],
    job: Annotated[Path | None, typer.Option(help="Look at what this job needs, too.")] = None,
    dataset: Dataset = None,
    storage: JobStorage = None,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """Say what a cluster, or a job on it, lacks; starts nothing.

    Exit 2 where something is wrong.

    Example: segsearch doctor --address http://10.0.0.5:8265 --job examples/hippocampus.yaml
    """
    from orchestrator import remote

    found = remote.examine(address, job, dataset=dataset, storage=storage, allow_open=allow_open)
    if as_json:
        print_json([asdict(item) for item in found.findings])
    else:
        rows = [(item.what, item.verdict, item.message) for item in found.findings]
        print_table(address, ("what", "verdict", "found"), rows)
    found.require()


def tell(handed: "Submission", *, follow: bool, allow_open: bool, as_json: bool) -> None:
    """What was submitted, and what to type next."""
    if as_json:
        print_json(asdict(handed))
    else:
        for warning in handed.warnings:
            print(f"note: {warning}")
        print(f"submitted {handed.search} to {handed.address} as job {handed.job}; next:\n")
        for command in ("logs {} --follow", "status {}", "stop {}", "resume {}"):
            print(f"  segsearch {command.format(handed.search)} --address {handed.address}")
    if follow:
        from orchestrator import remote

        for text in remote.follow(handed.search, handed.address, go_on=True, allow_open=allow_open):
            print(text, end="", flush=True)
        raise typer.Exit(remote.exit_code(handed.search, handed.address))
