"""``segsearch data copy``, ``data export``, ``data gc``: data sets from place to place, as files, and without waste."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.bars import progress_bars
from orchestrator.cli.options import AsJson, Location
from orchestrator.cli.output import print_json
from orchestrator.duration import duration_s
from workers.errors import DataError


def add_to(app: typer.Typer) -> None:
    """Put these commands on ``segsearch data``."""
    app.command("copy")(copy)
    app.command("export")(export)
    app.command("gc")(collect)


def copy(
    source: Annotated[
        str,
        typer.Argument(help="Folder or s3://bucket/prefix, optionally @sha256:DIGEST.", show_default=False),
    ],
    dest: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Copy a data set; every shard is verified on the way.

    A copy that was cut off goes on where it stopped.

    Example: segsearch data copy data/hippocampus s3://lab/datasets/hippocampus
    """
    from workers.data.transfer import copy_dataset

    with progress_bars("copy") as on_progress:
        done = copy_dataset(source, dest, on_progress=on_progress)
    facts = {"digest": done.manifest.digest, "sent": done.sent, "found": done.found, "bytes": done.num_bytes}
    if as_json:
        print_json(facts)
        return
    print(
        f"{done.manifest.name}: {done.sent} shards copied to {dest}, {done.found} were there; "
        f"digest {done.manifest.digest[:12]}"
    )


def export(
    location: Location,
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for images and masks.", show_default=False)
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write one Parquet file with page checksums.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set as images and masks, or as Parquet.

    Images and masks can be ingested again.

    Example: segsearch data export data/hippocampus hippocampus-files
    """
    if folder is None and parquet is None:
        raise DataError(f"data export {location}: no destination; give a new folder, or --parquet FILE.")
    from workers.data.unpack import export_files, export_parquet

    facts: dict[str, object] = {}
    if folder is not None:
        with progress_bars("export", "check") if not as_json else nullcontext(None) as on_progress:
            done = export_files(location, folder, on_progress=on_progress)
        facts |= asdict(done)
        same = done.digest == done.digest_of_files
        if not as_json:
            again = (
                "an ingest of them gives the same digest"
                if same
                else "an ingest of them gives another digest"
            )
            print(f"{location}: {done.cases} cases in {folder}; {again}")
    if parquet is not None:
        facts |= {"parquet": str(parquet), "parquet_cases": export_parquet(location, parquet)}
        if not as_json:
            print(f"{location}: {facts['parquet_cases']} cases in {parquet}")
    if as_json:
        print_json(facts)


def collect(
    location: Location,
    older_than: Annotated[
        str, typer.Option(help="Keep what is younger; longer than any ingest takes.")
    ] = "24h",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List, or remove, what writers that died left behind.

    Those are objects that no manifest names.

    Example: segsearch data gc data/hippocampus --older-than 24h
    """
    from workers.data.garbage import find_garbage, remove_garbage

    try:
        seconds = duration_s(older_than)
    except ValueError as error:
        raise DataError(f"--older-than: {error}") from None
    found = find_garbage(location, older_than_s=seconds)
    if yes:
        remove_garbage(location, found)
    count = len(found.keys) + len(found.asides)
    if as_json:
        print_json({**asdict(found), "removed": yes})
        return
    for name in (*found.keys, *found.asides):
        print(f"  {name}")
    done = "removed" if yes else "to remove; give --yes to remove them" if count else "to remove"
    print(
        f"{location}: {count} objects, {found.num_bytes:,} bytes, {done}; {found.young} are younger than {older_than}; "
        f"{found.contents} contents stay"
    )
