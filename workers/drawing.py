"""A candidate's network as a drawing: stages with their shapes, skips, context, decoder, heads, cells; SVG or PNG.

Which levels a decoder takes in, and which a head looks at, is read off the network itself (gradients on the meta device), so
the drawing of an entry that a user adds is right without a line for it.
"""

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate, canonical, to_json
from search_spaces.cell import Cell
from search_spaces.encoder import Features
from search_spaces.network import Network
from search_spaces.profile import profile
from workers.drawing_parts import (
    CHANGED,
    LINE,
    Box,
    cell_rows,
    cell_width,
    paint_arrow,
    paint_box,
    paint_cell,
    short_fields,
)
from workers.errors import DrawingError

Format = Literal["svg", "png"]
STEP = 1.45  # from one box to the next
INCH = 0.95  # a unit of the drawing
MOST_CHANGES = 24


def format_of(path: Path) -> Format:
    """What a file's name asks for.

    Raises:
        DrawingError: Neither .svg nor .png.
    """
    match path.suffix.lower():
        case ".svg":
            return "svg"
        case ".png":
            return "png"
    raise DrawingError(f"{path}: drawings are .svg or .png files; name one of these.")


def draw(
    candidate: Candidate,
    *,
    in_channels: int,
    num_classes: int,
    input_size: tuple[int, ...],
    title: str = "",
    against: Candidate | None = None,
    file_format: Format = "svg",
) -> bytes:
    """The drawing.

    Args:
        candidate: Whose network is drawn.
        in_channels: Channels of an image.
        num_classes: Channels of the logits.
        input_size: Spatial size for which shapes are written.
        title: What it is called; the costs stand beside.
        against: Another candidate: it is drawn below, and what differs is marked in both and listed.
        file_format: ``svg`` or ``png``.
    """
    both = [canonical(candidate)] + ([canonical(against)] if against else [])
    changes = _changes(*both) if against else []
    if against and both[0].architecture == both[1].architecture:
        both = both[:1]  # one drawing says it; the list says the rest
    sheets = [_Sheet(one.architecture, in_channels, num_classes, input_size) for one in both]
    width = max(sheet.width for sheet in sheets)
    rows = math.ceil(min(len(changes), MOST_CHANGES + 1) / 2)
    height = sum(sheet.height for sheet in sheets) + (0.7 + 0.28 * rows if changes else 0)
    figure = Figure(figsize=(width * INCH, height * INCH), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(-height, 0)
    axes.axis("off")
    changed = {path.split(".")[1] for path, _, _ in changes if path.startswith("architecture.")}
    top = 0.0
    for place, (one, sheet) in enumerate(zip(both, sheets, strict=True)):
        name = title if len(both) == 1 else f"{title or 'candidate'} ({'before' if place == 0 else 'after'})"
        sheet.paint(axes, top, f"{name}   {sheet.costs()}".strip(), _loss_line(one), changed)
        top -= sheet.height
    _list_changes(axes, changes, top, width)
    buffer = io.BytesIO()
    with rc_context(
        {"svg.hashsalt": "segsearch", "svg.fonttype": "none"}
    ):  # the same bytes each time, words as words
        figure.savefig(buffer, format=file_format, metadata={"Date": None} if file_format == "svg" else None)
    return buffer.getvalue()


class _Sheet:
    """One network: its boxes, its arrows, its cells."""

    def __init__(
        self, architecture: Architecture, in_channels: int, num_classes: int, size: tuple[int, ...]
    ) -> None:
        self.architecture = architecture
        self.size = size
        self.numbers = profile(architecture, in_channels, num_classes, size)
        self.levels = architecture.levels()
        self.decoded = architecture.decoder.out_levels(self.levels, num_classes)
        self.taken = skips_taken(architecture, in_channels, num_classes, len(size))
        self.boxes, self.column = self._boxes(num_classes)
        self.cells = list(_cells(architecture, ""))
        strides = (
            *self.levels.strides,
            *self.decoded.strides,
            *((1,) if self.boxes[0].part == "front" else ()),
        )
        self.highest = math.log2(min(strides))
        rows = math.log2(max(strides)) - self.highest
        self.cells_top = 2.0 + rows * 1.05 + 0.9 * bool(architecture.auxiliary)
        below = max((cell_rows(cell) for _, cell in self.cells), default=0)
        cells_width = sum(cell_width(cell) for _, cell in self.cells)
        self.width = max(8.0, (self.column + 0.7) * STEP + 0.6, cells_width + 0.6)
        self.height = self.cells_top + (0.8 + 0.62 * below if self.cells else 0.2)

    def costs(self) -> str:
        """One line of what it costs and sees."""
        field = self.numbers.receptive_field[0]
        sees = "whole image" if math.isinf(field) else f"{field:.0f} px"
        shape = "x".join(map(str, self.size))
        return (
            f"{self.numbers.parameters:,} parameters, {_short(self.numbers.macs)} MACs at {shape}, "
            f"stride {self.numbers.output_stride}, receptive field {sees}"
        )

    def _boxes(self, num_classes: int) -> tuple[list[Box], float]:
        architecture = self.architecture
        encoder_channels = architecture.encoder.levels().channels
        boxes: list[Box] = []
        column = 0.0
        if architecture.front.kind != "none":
            boxes.append(Box("front", architecture.front.kind, "", column, 0, "front"))
            column += 1
        for place, (channels, stride) in enumerate(
            zip(encoder_channels, architecture.encoder.levels().strides, strict=True)
        ):
            name = architecture.encoder.kind if place == 0 else ""
            boxes.append(
                Box("encoder", name, self._shape(channels, stride), column, math.log2(stride), "encoder")
            )
            column += 1
        deepest = math.log2(self.levels.strides[-1])
        if architecture.context.kind != "none":
            shape = self._shape(self.levels.channels[-1], self.levels.strides[-1])
            about = short_fields(architecture.context)
            boxes.append(
                Box(
                    "context",
                    architecture.context.kind,
                    f"{shape}\n{about}".strip(),
                    column,
                    deepest,
                    "context",
                )
            )
            column += 1
        outs = list(zip(self.decoded.channels, self.decoded.strides, strict=True))[::-1]
        for place, (channels, stride) in enumerate(outs):
            name = architecture.decoder.kind if place == 0 else ""
            boxes.append(
                Box("decoder", name, self._shape(channels, stride), column, math.log2(stride), "decoder")
            )
            column += 1
        if not architecture.decoder.classifies:
            stride = self.decoded.strides[0]
            text = f"{num_classes} classes" + (f"\nresized x{stride}" if stride > 1 else "")
            boxes.append(
                Box("head", f"{architecture.head.kind} head", text, column, math.log2(stride), "head")
            )
            column += 1
        return boxes, column - 1

    def _shape(self, channels: int, stride: int) -> str:
        return f"{channels}\n" + "x".join(str(-(-length // stride)) for length in self.size)

    def paint(self, axes: Any, top: float, title: str, loss: str, changed: set[str]) -> None:
        """Draw everything below ``top``."""
        architecture = self.architecture
        mark = CHANGED if changed & {"norm", "activation", "conv_bias", "padding"} else LINE
        axes.text(0.3, top - 0.32, title, fontsize=9, weight="bold", va="center", color=LINE)
        common = f"{architecture.norm} norm, {architecture.activation}; skip: {architecture.skip.kind}; loss: {loss}"
        axes.text(0.3, top - 0.62, common, fontsize=8, va="center", color=mark)
        places = {
            id(box): (0.75 + box.x * STEP, top - 1.35 - (box.y - self.highest) * 1.05) for box in self.boxes
        }
        encoder = [box for box in self.boxes if box.part == "encoder"]
        decoder = [box for box in self.boxes if box.part == "decoder"]
        spine = CHANGED if "skip" in changed else LINE
        drawn = {
            id(box): paint_box(axes, box, places[id(box)], CHANGED if box.field in changed else LINE)
            for box in self.boxes
        }
        for first, second in itertools.pairwise(self.boxes):
            paint_arrow(axes, drawn[id(first)], drawn[id(second)], LINE)
        for result, level in self.taken:
            start, end = encoder[level], decoder[len(decoder) - 1 - result]
            bend = -0.12 if start.y == end.y else -0.05
            paint_arrow(axes, drawn[id(start)], drawn[id(end)], spine, dashed=True, bend=bend)
        for number, auxiliary in enumerate(architecture.auxiliary):
            source = encoder if auxiliary.of == "encoder" else decoder[::-1]
            above = source[auxiliary.level]
            x, y = places[id(above)]
            text = f"auxiliary {number + 1}\nweight {auxiliary.weight:g}"
            edge = CHANGED if "auxiliary" in changed else LINE
            below = paint_box(
                axes, Box("auxiliary", "", text, 0, 0, "auxiliary"), (x, y - 0.9), edge, height=0.42
            )
            paint_arrow(axes, drawn[id(above)], below, LINE, dashed=True)
        left = 0.3
        for path, cell in self.cells:
            paint_cell(
                axes,
                cell,
                left,
                top - self.cells_top,
                path,
                CHANGED if path.split(".")[0] in changed else LINE,
            )
            left += cell_width(cell)


def skips_taken(
    architecture: Architecture, in_channels: int, num_classes: int, ndim: int
) -> list[tuple[int, int]]:
    """Pairs (map of the decoder, finest 0; level of the encoder but the deepest) where one enters the other anew."""
    with torch.device("meta"):
        network = Network(architecture, in_channels, num_classes, ndim).eval()
        image = torch.empty(1, in_channels, *(2 * network.stride,) * ndim)
        features: Features = network.encoder(network.front(image))
        maps = [value.detach().requires_grad_() for value in features.maps]
        deepest = network.context(maps[-1])
        results = network.decoder(Features([*maps[:-1], deepest], features.pool_indices))
        pairs: list[tuple[int, int]] = []
        known: set[int] = set()
        for result in range(len(results) - 1, -1, -1):
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
                results[result].sum(), maps, retain_graph=True, allow_unused=True
            )
            fresh = {level for level, gradient in enumerate(gradients[:-1]) if gradient is not None} - known
            pairs += [(result, level) for level in sorted(fresh)]
            known |= fresh
    return pairs


def _cells(value: Any, path: str) -> Iterator[tuple[str, Cell]]:
    """Cells of an architecture with their paths."""
    if isinstance(value, Cell):
        yield path, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _cells(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))


def _loss_line(candidate: Candidate) -> str:
    names = [f"{weighted.term.kind} (2^{weighted.log_ratio:g})" for weighted in candidate.loss.terms[1:]]
    return " + ".join([candidate.loss.terms[0].term.kind, *names])


def _changes(before: Candidate, after: Candidate) -> list[tuple[str, str, str]]:
    """Paths whose values differ, with both values."""
    old, new = (dict(_flat(to_json(one), "")) for one in (before, after))
    paths = dict.fromkeys([*old, *new])
    return [
        (path, old.get(path, "-"), new.get(path, "-")) for path in paths if old.get(path) != new.get(path)
    ]


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for place, part in enumerate(value):
            yield from _flat(part, f"{path}.{place}")
    else:
        yield path, str(value)


def _list_changes(axes: Any, changes: Sequence[tuple[str, str, str]], top: float, width: float) -> None:
    if not changes:
        return
    axes.text(0.3, top - 0.2, f"{len(changes)} differences", fontsize=8.5, weight="bold", color=CHANGED)
    shown = [f"{path}: {old} -> {new}" for path, old, new in changes[:MOST_CHANGES]]
    if len(changes) > MOST_CHANGES:
        shown.append(f"and {len(changes) - MOST_CHANGES} more")
    half = math.ceil(len(shown) / 2)
    for place, line in enumerate(shown):
        column, row = divmod(place, half)
        axes.text(
            0.3 + column * width / 2,
            top - 0.5 - 0.28 * row,
            line,
            fontsize=6.5,
            family="monospace",
            color=LINE,
        )


def _short(number: int) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)
