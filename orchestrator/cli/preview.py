"""What ``segsearch data ingest --dry-run`` prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.output import print_json, print_table
from workers.errors import DataError

if TYPE_CHECKING:  # importing it takes a second, which --help need not wait for
    from workers.data.preview import Preview


def load_preview(folder: Path, kind: str | None, on_progress: Callable[[str, int, int], None]) -> Preview:
    """Read and check a folder."""
    from workers.data.preview import preview

    return preview(folder, source=kind, on_progress=on_progress)


def show_preview(folder: Path, found: Preview, *, picture: Path | None, as_json: bool) -> None:
    """Print what was found; save the picture, where one is wanted.

    Raises:
        DataError: Anything is wrong with the folder, after it was described; or there is nothing to draw.
    """
    if as_json:
        print_json(found.facts())
    else:
        _print(found)
    if picture is not None and found.sheet is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(found.sheet)
        if not as_json:
            print(f"picture: {picture}")
    if found.problems:
        count = len(found.problems)
        raise DataError(
            f"{folder}: {count} problem{'s' if count > 1 else ''}; an ingest would write nothing.",
            found.problems,
        )


def _print(found: Preview) -> None:
    print(f"{found.name}: layout {found.source}; no data set was written")
    print(f"  {'digest':<9}{found.digest[:12] if found.digest else 'none, since something is wrong'}")
    print(f"  {'channels':<9}{', '.join(found.channels) or 'unknown'}")
    small, large = (" x ".join(map(str, shape)) for shape in (found.shape_min, found.shape_max))
    size = small if small == large else f"{small} to {large}"
    print(f"  {'size':<9}{size or 'unknown'} ({' x '.join(found.axes)})")
    if found.spacings:
        shown = "; ".join(" x ".join(f"{size:g}" for size in spacing) for spacing in found.spacings[:5])
        more = f" and {len(found.spacings) - 5} others" if len(found.spacings) > 5 else ""
        print(f"  {'spacing':<9}{shown}{more} mm")
    rows = [(name, split["cases"], split["groups"]) for name, split in found.splits.items()]
    print_table("splits", ("split", "cases", "groups"), rows)
    if found.classes:
        pixels = [(info.index, info.name, *counts.values()) for info, counts in found.classes]
        print_table("pixels", ("index", "class", *found.splits), pixels)
    for note in found.notes:
        print(f"  note: {note}")
