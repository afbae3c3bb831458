"""Regions as arrays: what evaluation, pictures and predictions need. What a region is: ``search_spaces.regions``."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from search_spaces.regions import VALUES, Region, Regions
from workers.palette import default_colours

Masks = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

OUTSIDE = "background"  # the other class of a region's problem of two
TAKEN = (OUTSIDE, "other", "unlabeled", "overlay", "mean")  # these mean something else beside regions
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a region, or None: it becomes part of the names of files and metrics."""
    if _NAME.fullmatch(name) and name.lower() not in TAKEN:
        return None
    allowed = "1 to 40 letters, digits, '_' and '-', the first a letter or digit"
    return f"{name!r} is no name of a region; allowed are {allowed}, but not {', '.join(TAKEN)}."


def in_order(regions: Iterable[Region]) -> Regions:
    """Regions with the largest union first: the order of a network's channels, and in which pictures paint them."""
    return tuple(sorted(regions, key=lambda region: (-len(region.classes), region.classes, region.name)))


def inside_regions(labels: Labels, regions: Regions, *, ignore_index: int) -> Labels:
    """1 inside each region, 0 outside, ``ignore_index`` where the label is ignored.

    Shape:
        labels (*S); returns (R, *S).
    """
    table = np.zeros((len(regions), VALUES), np.uint8)
    for number, region in enumerate(regions):
        table[number, list(region.classes)] = 1
    table[:, ignore_index] = ignore_index
    return table[:, labels]


def hold_first_class(regions: Regions) -> npt.NDArray[np.bool_]:
    """Which regions hold class 0, which is what a crop cuts off, (R,)."""
    return np.array([0 in region.classes for region in regions])


def painted(inside: Labels | Masks, *, ignore_index: int = 255) -> Labels:
    """A picture of regions that may overlap: 1 + the number of the last region of each pixel, 0 where there is none.

    Regions come largest first, so a smaller one is seen on a larger.

    Shape:
        inside (R, *S): true or 1 inside, maybe ``ignore_index``; returns (*S).
    """
    picture = np.zeros(inside.shape[1:], np.uint8)
    for number, mask in enumerate(inside, start=1):
        picture[mask == 1] = number
    picture[inside[0] == ignore_index] = ignore_index
    return picture


def region_colours(regions: Regions) -> tuple[tuple[int, int, int], ...]:
    """Colours of ``painted``: black for none, then one a region."""
    return default_colours(1 + len(regions))


def by_name(regions: Regions, class_names: Sequence[str]) -> dict[str, list[str]]:
    """Names of the classes of each region."""
    return {region.name: [class_names[index] for index in region.classes] for region in regions}


def in_words(regions: Regions, class_names: Sequence[str]) -> str:
    """``whole = core, oedema; core = core``."""
    return "; ".join(
        f"{name} = {', '.join(inside)}" for name, inside in by_name(regions, class_names).items()
    )
