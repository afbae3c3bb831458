"""``segsearch data``: make, look at and check data sets."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli import upkeep
from orchestrator.cli.bars import progress_bars
from orchestrator.cli.options import AsJson, Location
from orchestrator.cli.output import print_json, print_table
from orchestrator.cli.preview import load_preview, show_preview
from orchestrator.places import absolute
from workers.errors import DataError

if TYPE_CHECKING:  # importing it takes a while, which --help need not wait for
    from workers.data.spread import Spread

app = typer.Typer(help="Make, look at, check and copy data sets.", no_args_is_help=True)


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="Folder with images and labels.", show_default=False)],
    dest: Annotated[
        str | None, typer.Argument(help="Folder or s3://bucket/prefix to write.", show_default=False)
    ] = None,
    kind: Annotated[str | None, typer.Option("--source", help="Layout, where it is not recognised.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set; default the source's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, say what was found, write nothing.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="With --dry-run: a PNG of some images with their labels laid over.", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Threads and processes at most; default the cores. The result is the same.",
            show_default=False,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Spread over this Ray cluster instead: auto, or HOST:6379.", show_default=False),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out cases that are wrong, and say which.")
    ] = False,
    profile: Annotated[
        str, typer.Option(help="encoded keeps pictures' files; decoded stores arrays: larger, no decoding.")
    ] = "encoded",
    as_json: AsJson = False,
) -> None:
    """Turn a folder of images and labels into a data set.

    Arrow shards with a manifest; nothing is published when anything is wrong.

    Example: segsearch data ingest examples/data/hippocampus data/hippocampus
    """
    if dry_run:
        with progress_bars("check") as on_progress:
            found = load_preview(source, kind, on_progress)
        show_preview(source, found, picture=picture, as_json=as_json)
        return
    if dest is None or picture is not None:
        what = "no destination" if dest is None else "--picture without --dry-run"
        raise DataError(f"data ingest {source}: {what}; give a folder to write, or --dry-run.")
    from workers.data.dataset import open_dataset
    from workers.data.ingest import ingest as ingest_folder
    from workers.data.ingest import load_skipped
    from workers.data.verify import describe

    if profile not in ("encoded", "decoded"):
        raise DataError(f"--profile {profile}: no such profile; allowed are encoded and decoded.")
    if ray is not None and jobs is not None:
        raise DataError("--jobs with --ray: the cluster says how many; give one of them.")
    spread: Spread | None = None
    if ray is not None:
        from orchestrator.executors.ray_ingest import RaySpread

        spread, source, dest = RaySpread(ray), source.expanduser().resolve(), absolute(dest)
    stored: Literal["encoded", "decoded"] = "decoded" if profile == "decoded" else "encoded"
    with progress_bars("check", "write") as on_progress:
        manifest = ingest_folder(
            source,
            dest,
            source=kind,
            name=name,
            on_progress=on_progress,
            jobs=jobs,
            skip_bad=skip_bad,
            profile=stored,
            spread=spread,
        )
    skipped = load_skipped(dest, manifest.digest) if skip_bad else {}
    if as_json:
        print_json({**describe(open_dataset(dest)), **({"skipped": skipped} if skip_bad else {})})
        return
    cases = ", ".join(f"{info.rows} {split}" for split, info in manifest.splits.items())
    print(f"{manifest.name}: {cases} cases in {dest}, digest {manifest.digest[:12]}")
    for note in manifest.notes:
        print(f"  note: {note}")
    for case, problems in skipped.items():
        print(f"  left out: {case}: {'; '.join(problems)}")


@app.command()
def info(
    location: Location,
    picture: Annotated[
        Path | None, typer.Option(help="Write a PNG of examples and class balance.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classes, splits, sizes, statistics and licence of a data set.

    Example: segsearch data info data/hippocampus
    """
    from workers.data.dataset import open_dataset
    from workers.data.verify import describe

    dataset = open_dataset(location)
    facts = describe(dataset)
    if picture is not None:
        from workers.data.report import report_picture

        drawn = report_picture(dataset)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(drawn)
    if as_json:
        print_json(facts)
        return
    tables = ("classes", "splits")
    print_table(
        f"data set {location}",
        ("what", "value"),
        [
            (key, "\n".join(v) if key == "notes" else text(v) or "-")
            for key, v in facts.items()
            if key not in tables
        ],
    )
    splits = [
        (name, split["cases"], split["groups"], split["ignored_pixels"])
        for name, split in facts["splits"].items()
    ]
    print_table("splits", ("split", "cases", "groups", "ignored pixels"), splits)
    rows = [(c["index"], c["name"], *c["share"].values()) for c in facts["classes"]]
    print_table("share of pixels", ("index", "class", *facts["splits"]), rows)


@app.command()
def verify(
    location: Location,
    sample: Annotated[float, typer.Option(help="Share of the shards to read.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Which shards, with --sample.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Read a data set and compare it with its manifest.

    Exit 2 where anything differs.

    Example: segsearch data verify data/hippocampus
    """
    from workers.data.verify import verify_dataset

    report = verify_dataset(location, share=sample, seed=seed)
    if not report.is_whole:
        raise DataError(f"{location}: {len(report.problems)} problems", report.problems)
    if as_json:
        print_json(asdict(report))
    else:
        part = (
            "" if report.share == 1 else f" ({report.share:.0%} of the shards; the digest was not recomputed)"
        )
        print(f"{location}: {report.cases} cases in {report.shards} shards, all as the manifest says{part}.")
        if report.cache.hits or report.cache.misses or report.cache.uncached:
            print(f"  cache: {report.cache}")


upkeep.add_to(app)


def text(value: Any) -> str:
    """A fact as text."""
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key} = {text(item)}" for key, item in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
