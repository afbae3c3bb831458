"""``segsearch space`` and ``segsearch preset``: what can be searched, and the systems that are points of it."""

import random
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.output import print_json, print_table

space_app = typer.Typer(help="Search spaces.", no_args_is_help=True)
preset_app = typer.Typer(help="Surveyed systems as candidates.", no_args_is_help=True)

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
    """Every decision of a space: its path, as ``fix:`` in a job takes it, and what may be chosen.

    Example: segsearch space describe compact
    """
    from search_spaces.exploration import paths, size
    from search_spaces.space import load_space

    space = load_space(name)
    decisions = {path: " | ".join(map(str, domains)) for path, domains in paths(space).items()}
    if as_json:
        print_json({"name": name, "size": size(space), "decisions": decisions})
        return
    print_table(
        f"space {name}: {size(space):.3g} candidates, reals counted by their steps",
        ("path", "allowed"),
        list(decisions.items()),
    )


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


@preset_app.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """All presets with their parameters for one channel and three classes.

    Example: segsearch preset list
    """
    from search_spaces.preset import load_preset, preset_names
    from search_spaces.profile import profile

    rows = []
    for name in preset_names():
        preset = load_preset(name)
        numbers = profile(preset.candidate().architecture, in_channels=1, num_classes=3, input_size=(64, 64))
        rows.append((name, preset.title, numbers.parameters, numbers.macs, preset.paper))
    if as_json:
        keys = ("name", "title", "parameters", "macs_64", "paper")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print_table("presets", ("name", "title", "parameters", "MACs at 64²", "paper"), rows)


@preset_app.command("show")
def show_preset(name: Annotated[str, typer.Argument(help="Name of a preset.")]) -> None:
    """A preset as JSON, with its paper and what differs from it.

    Example: segsearch preset show small_unet
    """
    from search_spaces.candidate import digest, to_json
    from search_spaces.preset import load_preset

    preset = load_preset(name)
    candidate = preset.candidate()
    print_json(
        {
            "name": name,
            "title": preset.title,
            "paper": preset.paper,
            "note": preset.note,
            "digest": digest(candidate),
            "candidate": to_json(candidate),
        }
    )
