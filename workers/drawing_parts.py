"""What drawings of networks are made of: boxes, arrows, cells."""

from dataclasses import dataclass, fields
from typing import Any

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from search_spaces.cell import Cell

COLOURS = {
    "front": "#d9d9d9", "encoder": "#9ecae1", "context": "#bcbddc", "decoder": "#a1d99b", "head": "#fdd0a2",
    "auxiliary": "#fee6ce", "cell": "#f2f2f2",
}  # fmt: skip
CHANGED = "#d94801"
LINE = "#404040"
WIDTH = 0.84  # of a box


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the network at a place of the drawing.

    Attributes:
        part: Which colour it has.
        title: First line.
        text: Further lines.
        x: Column.
        y: Row, the binary logarithm of the stride.
        field: Field of the architecture that it shows.
    """

    part: str
    title: str
    text: str
    x: float
    y: float
    field: str


def paint_box(axes: Any, box: Box, centre: tuple[float, float], edge: str, height: float = 0.62) -> Any:
    x, y = centre
    patch = FancyBboxPatch(
        (x - WIDTH / 2, y - height / 2),
        WIDTH,
        height,
        boxstyle="round,pad=0.02,rounding_size=0.06",
        facecolor=COLOURS[box.part],
        edgecolor=edge,
        linewidth=2.2 if edge == CHANGED else 0.9,
    )
    axes.add_patch(patch)
    lines = "\n".join(line for line in (box.text,) if line)
    axes.text(x, y, lines, fontsize=6.5, ha="center", va="center", color=LINE)
    if box.title:
        axes.text(
            x,
            y + height / 2 + 0.07,
            box.title,
            fontsize=7,
            ha="center",
            va="bottom",
            weight="bold",
            color=edge,
        )
    return patch


def paint_arrow(
    axes: Any,
    start: Any,
    end: Any,
    colour: str,
    *,
    dashed: bool = False,
    bend: float = 0.0,
) -> None:
    patch = FancyArrowPatch(
        _centre(start),
        _centre(end),
        patchA=start,
        patchB=end,
        shrinkA=1,
        shrinkB=1,
        arrowstyle="-|>",
        mutation_scale=8,
        linewidth=1.0,
        linestyle=(0, (4, 2)) if dashed else "-",
        color=colour,
        connectionstyle=f"arc3,rad={bend}",
        zorder=0,
    )
    axes.add_patch(patch)


def _centre(patch: Any) -> tuple[float, float]:
    return patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2


def cell_rows(cell: Cell) -> int:
    """Nodes at the depth that has most."""
    depths = _depths(cell)
    return max(depths.count(depth) for depth in depths)


def cell_width(cell: Cell) -> float:
    return 1.2 * (max(_depths(cell)) + 2) + 0.3


def _depths(cell: Cell) -> list[int]:
    """Of each node, the length of the longest way to it."""
    depths = [0]
    for node in cell.nodes:
        depths.append(1 + max(depths[source] for source in node.inputs))
    return depths


def paint_cell(axes: Any, cell: Cell, left: float, top: float, name: str, colour: str) -> None:
    depths = _depths(cell)
    rows: dict[int, int] = {}
    places = []
    for depth in depths:
        places.append((left + 0.45 + 1.2 * depth, top - 0.75 - 0.62 * rows.setdefault(depth, 0)))
        rows[depth] += 1
    taken = {source for node in cell.nodes for source in node.inputs}
    ends = [place for place in range(1, len(places)) if place not in taken]
    out = (left + 0.45 + 1.2 * (max(depths) + 1), top - 0.75)
    axes.text(
        left,
        top - 0.15,
        name + (", residual" if cell.residual else ""),
        fontsize=7.5,
        weight="bold",
        color=colour,
    )
    drawn = [paint_box(axes, Box("cell", "", "in", 0, 0, ""), places[0], LINE, height=0.36)]
    for node, spot in zip(cell.nodes, places[1:], strict=True):
        about = f"{node.operation.kind}\n{short_fields(node.operation)}".strip()
        drawn.append(paint_box(axes, Box("encoder", "", about, 0, 0, ""), spot, LINE, height=0.5))
    joined = "sum" if len(ends) + cell.residual > 1 else "out"
    last = paint_box(axes, Box("cell", "", joined, 0, 0, ""), out, LINE, height=0.36)
    for place, node in enumerate(cell.nodes, start=1):
        for source in node.inputs:
            far = depths[place] - depths[source] > 1 and places[source][1] == places[place][1]
            paint_arrow(axes, drawn[source], drawn[place], LINE, bend=0.25 if far else 0.0)
    for end in [*ends, *([0] if cell.residual else [])]:
        paint_arrow(axes, drawn[end], last, LINE, bend=-0.25 if end == 0 else 0.0)


def short_fields(value: Any) -> str:
    """The plain hyper-parameters of an entry, short."""
    parts = []
    for field in fields(value):
        part = getattr(value, field.name)
        if field.name == "kernel":
            parts.append(f"k{part}")
        elif isinstance(part, bool):
            parts += [field.name.replace("_", " ")] if part else []
        elif isinstance(part, int | float | str):
            parts += [f"{field.name} {part}"] if (field.name, part) != ("rate", 1) else []
        elif isinstance(part, tuple) and all(isinstance(item, int) for item in part):
            parts.append(f"{field.name} {','.join(map(str, part))}")
    return "\n".join(parts[:2])
