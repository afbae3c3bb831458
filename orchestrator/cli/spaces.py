"""``segsearch space`` and ``segsearch preset``: what can be searched, and the systems that are points of it."""

import math
import random
import re
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, Storage
from orchestrator.cli.output import print_json, print_table
from orchestrator.places import DEFAULT_STORAGE

space_app = typer.Typer(help="What may be searched.", no_args_is_help=True)
preset_app = typer.Typer(help="The known networks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A ready-made space, or module:function.")]


@space_app.command("list")
def list_spaces(as_json: AsJson = False) -> None:
    """Ready-made spaces and the presets they hold.

    Example: segsearch space list
    """
    from search_spaces.preset import preset_candidates
    from search_spaces.space import load_space, space_names

    rows = [
        (
            name,
            (load_space(name).__doc__ or "").splitlines()[0],
            ", ".join(n for n, _ in preset_candidates(load_space(name))),
        )
        for name in space_names()
    ]
    if as_json:
        print_json(
            [{"name": name, "about": about, "presets": presets.split(", ")} for name, about, presets in rows]
        )
    else:
        print_table("spaces", ("name", "about", "presets"), rows)


@space_app.command("describe")
def describe_space(name: Name, as_json: AsJson = False) -> None:
    """Every decision of a space, and what may be chosen.

    By its path, as fix in a job takes it.

    Example: segsearch space describe compact
    """
    from search_spaces.exploration import is_exact, paths, size
    from search_spaces.preset import losses_inside
    from search_spaces.space import load_space

    space = load_space(name)
    decisions = {path: " | ".join(map(str, domains)) for path, domains in paths(space).items()}
    if as_json:
        print_json(
            {
                "name": name,
                "size": size(space),
                "exact": is_exact(space),
                "decisions": decisions,
                "losses": losses_inside(space),
            }
        )
        return
    print_table(
        f"space {name}: {'' if is_exact(space) else 'about '}{size(space):.3g} candidates, reals counted by their steps",
        ("path", "allowed"),
        list(decisions.items()),
    )
    rows = [(loss, "inside" if inside else "outside") for loss, inside in losses_inside(space).items()]
    if rows:
        print_table("named losses", ("loss", "the space"), rows)


@space_app.command("sample")
def sample_space(
    name: Name,
    seed: Annotated[int, typer.Option(help="Same seed, same candidates.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 1,
) -> None:
    """Candidates at random, as JSON.

    Example: segsearch space sample compact --seed 1
    """
    from search_spaces.candidate import digest, to_json
    from search_spaces.space import load_space, sample

    space, rng = load_space(name), random.Random(seed)
    candidates = [sample(space, rng) for _ in range(count)]
    print_json([{"digest": digest(candidate), "candidate": to_json(candidate)} for candidate in candidates])


@space_app.command("picture")
def draw_candidate(
    what: Annotated[str, typer.Argument(help="A preset, a file with a candidate as JSON, or SEARCH:TRIAL.")],
    against: Annotated[
        str | None,
        typer.Argument(help="Another one: both are drawn, what differs is marked.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write: .svg or .png.")] = Path("network.svg"),
    size: Annotated[
        str | None,
        typer.Option(
            help="Image size for the shapes; 256x256, or 64x64x64 for networks of volumes.",
            show_default=False,
        ),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Of an image; a preset's own or 1.", show_default=False)
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Background included; a preset's own or 3.", show_default=False)
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Draw a network, or the difference of two.

    Stages, shapes, skips, context, cells.

    Example: segsearch space picture small_unet small_deeplabv3plus --out difference.svg
    """
    from orchestrator.subject import read_size, subject
    from workers.drawing import draw, format_of

    file_format = format_of(out)
    first = subject(what, storage=storage)
    second = subject(against, storage=storage) if against else None
    picture = draw(
        first.candidate,
        in_channels=channels or first.channels,
        num_classes=classes or first.classes,
        input_size=read_size(size or ("256x256" if first.ndim == 2 else "64x64x64")),
        title=first.title if second is None else f"{first.title} and {second.title}",
        against=second.candidate if second else None,
        file_format=file_format,
    )
    out.write_bytes(picture)
    if as_json:
        print_json({"picture": str(out), "bytes": len(picture)})
    else:
        print(f"drawn: {out}")


@preset_app.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """All presets, with their parameters and MACs.

    Parameters as published, for the channels and classes they were; multiply-accumulates at 512², of networks of three
    dimensions at 64³.

    Example: segsearch preset list
    """
    from search_spaces.preset import load_preset, preset_names
    from search_spaces.profile import profile

    rows = []
    for name in preset_names():
        preset = load_preset(name)
        numbers = profile(preset.candidate().architecture, *preset.channels, preset.counted_at)
        year = next(iter(re.findall(r"\b(?:19|20)\d\d\b", preset.paper)), "")
        dims = f"{preset.ndim}D"
        rows.append((name, preset.title, year, numbers.parameters, numbers.macs, dims, preset.paper))
    if as_json:
        keys = ("name", "title", "year", "parameters", "macs", "dimensions", "paper")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        shown = [(*row[:3], f"{row[3]:,}", f"{row[4] / 1e9:.4g} G", *row[5:]) for row in rows]
        print_table(
            "presets", ("name", "title", "year", "parameters", "MACs", "as published", "paper"), shown
        )


@preset_app.command("show")
def show_preset(name: Annotated[str, typer.Argument(help="Name of a preset.")]) -> None:
    """A preset as JSON, with its paper and what differs from it.

    Example: segsearch preset show small_unet
    """
    from search_spaces.candidate import digest, to_json
    from search_spaces.memory import training_bytes
    from search_spaces.preset import load_preset
    from search_spaces.profile import profile

    preset = load_preset(name)
    candidate = preset.candidate()
    size = preset.counted_at
    numbers = profile(candidate.architecture, *preset.channels, size)
    field = [None if math.isinf(pixels) else int(pixels) for pixels in numbers.receptive_field]
    print_json(
        {
            "name": name,
            "title": preset.title,
            "paper": preset.paper,
            "note": preset.note,
            "channels": preset.channels[0],
            "classes": preset.channels[1],
            "size": size,
            "parameters": numbers.parameters,
            "macs": numbers.macs,
            "output_stride": numbers.output_stride,
            "receptive_field": field,  # null: the whole image
            "training_bytes": training_bytes(
                candidate.architecture,
                in_channels=preset.channels[0],
                num_classes=preset.channels[1],
                input_size=size,
                batch=1,
            ),
            "digest": digest(candidate),
            "candidate": to_json(candidate),
        }
    )
