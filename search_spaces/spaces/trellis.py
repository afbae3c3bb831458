"""``trellis``: cells of five blocks along paths of twelve layers through four strides.

Source: Liu et al. 2019, "Auto-DeepLab: hierarchical neural architecture search for semantic image segmentation", section 3,
    arXiv:1901.02985. Block i of a cell takes two of i states by two of eight operations: 556,627,761,561,600 cells. Paths that
    start at stride 4 or 8 are 75,025; those that start at stride 4, as the paper counts (2.9e4), are 28,657:
    ``fix: {encoder.path.0: 0}``.
Deviations: the width is a choice, too, among that of the paper's search (8) and those of its results.
"""

from typing import Literal

from search_spaces.autodeeplab import autodeeplab_with
from search_spaces.candidate import Candidate
from search_spaces.encoders.trellis import LEVELS, Block, Taken, Trellis
from search_spaces.operation import Operation
from search_spaces.operations.identity import Identity
from search_spaces.operations.pool import Pool
from search_spaces.operations.preactivated import Preactivated
from search_spaces.operations.zero import Zero
from search_spaces.space import Choice, Choose
from search_spaces.start import start_from

BLOCKS, LAYERS = 5, 12
WIDTHS = (8, 20, 32, 48)
POOLS: tuple[Literal["max", "mean"], ...] = ("max", "mean")
KINDS = Choice(
    ("preactivated", "pool", "identity", "zero"), weights=(4, 2, 1, 1)
)  # so that all eight are drawn alike


def trellis(choose: Choose) -> Candidate:
    """The encoder of Auto-DeepLab; context, decoder and recipe are fixed."""
    encoder = Trellis(
        width=choose("architecture.encoder.width", Choice(WIDTHS)), blocks=_cell(choose), path=_path(choose)
    )
    return start_from(autodeeplab_with(encoder))


def _path(choose: Choose) -> tuple[int, ...]:
    """Each layer keeps the stride of the one before, halves or doubles it."""
    path: list[int] = []
    before = 0
    for layer in range(LAYERS):
        near = range(max(before - 1, 0), min(before + 1, LEVELS - 1) + 1)
        before = choose(f"architecture.encoder.path.{layer}", Choice(tuple(near)))
        path.append(before)
    return tuple(path)


def _cell(choose: Choose) -> tuple[Block, ...]:
    blocks = []
    for place in range(BLOCKS):
        path = f"architecture.encoder.blocks.{place}"
        first, second = (_taken(choose, f"{path}.{which}", place + 2) for which in ("first", "second"))
        blocks.append(Block(first, second))
    return tuple(blocks)


def _taken(choose: Choose, path: str, states: int) -> Taken:
    source = choose(f"{path}.source", Choice(tuple(range(states))))
    return Taken(_operation(choose, f"{path}.operation"), source)


def _operation(choose: Choose, path: str) -> Operation:
    """One of eight."""
    kind = choose(f"{path}.kind", KINDS)
    if kind == "pool":
        return Pool(choose(f"{path}.of", Choice(POOLS)))
    if kind != "preactivated":
        return Identity() if kind == "identity" else Zero()
    kernel = choose(f"{path}.kernel", Choice((3, 5)))
    if choose(f"{path}.separable", Choice((True, False))):
        return Preactivated(kernel, separable=True, repeats=2)
    return Preactivated(kernel, rate=2)
