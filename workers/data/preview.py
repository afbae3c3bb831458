"""What an ingest would do: everything is read and checked, nothing is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.examine import examine, rules_of
from workers.data.ingest import Progress, open_folder
from workers.data.manifest import SPLITS, ClassInfo
from workers.data.placement import read_plan
from workers.data.spread import LocalSpread
from workers.data.survey import Survey
from workers.label_table import LabelTable
from workers.picture import overlay, palette, png
from workers.source import SourcePlan, readable

COLUMNS, ROWS = 4, 3
TILE_PX = 240
_GAP_PX = 4
_IGNORED = 255

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """A folder as an ingest would understand it.

    Attributes:
        source: Kind of the layout.
        splits: Cases and groups of each split.
        classes: With the pixels of each split; empty where labels do not tell them.
        shape_min, shape_max: Smallest and largest spatial size, axis by axis; empty if no case is right.
        spacings: Voxel sizes that occur in mm, sorted; empty for images.
        digest: Of the data set that an ingest would write; None if anything is wrong.
        problems: Everything that is wrong, a sentence each.
        notes: How the folder was understood, and what is odd.
        sheet: PNG of some images with their labels laid over; None if no case is right.
    """

    source: str
    name: str
    splits: dict[str, dict[str, int]]
    classes: tuple[tuple[ClassInfo, dict[str, int]], ...]
    channels: tuple[str, ...]
    axes: tuple[str, ...]
    shape_min: tuple[int, ...]
    shape_max: tuple[int, ...]
    spacings: tuple[tuple[float, ...], ...]
    digest: str | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    sheet: bytes | None

    def facts(self) -> dict[str, Any]:
        """JSON-able, without the picture."""
        return {
            "source": self.source,
            "name": self.name,
            "digest": self.digest,
            "axes": list(self.axes),
            "channels": list(self.channels),
            "shape_min": list(self.shape_min),
            "shape_max": list(self.shape_max),
            "spacings": [list(spacing) for spacing in self.spacings],
            "splits": self.splits,
            "classes": [
                {"index": info.index, "name": info.name, "rgb": list(info.rgb), "pixels": pixels}
                for info, pixels in self.classes
            ],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def preview(folder: Path, *, source: str | None = None, on_progress: Progress | None = None) -> Preview:
    """Read and check every case of a folder as ``ingest`` does, and say what was found. Writes nothing.

    Raises:
        DataError: No known layout, or a damaged description; problems of cases are in the result.
        UnknownKindError: No such source.
    """
    folder = folder.expanduser()
    reader = open_folder(folder, source)
    with LocalSpread(1) as alone:
        plan = read_plan(reader, folder, alone)
    survey = Survey(plan)
    rules = rules_of(plan, reader.kind)
    table = LabelTable(plan.classes)
    shown = {round(at) for at in np.linspace(0, max(0, len(plan.samples) - 1), COLUMNS * ROWS)}
    thumbnails: list[tuple[Array, Array]] = []
    spacings: set[tuple[float, ...]] = set()
    for number, sample in enumerate(plan.samples):
        with readable(folder):
            examined = examine(reader, sample, rules, table, compress=False)
        is_right = survey.add(sample, examined.finding)
        if is_right and examined.raw is not None:
            if examined.raw.spacing is not None:
                spacings.add(tuple(round(size, 4) for size in examined.raw.spacing))
            if number in shown:
                thumbnails.append(thumbnail(examined.raw.image, table.indices(examined.raw.labels)))
        if on_progress is not None:
            on_progress("check", number + 1, len(plan.samples))
    survey.finish()
    return _preview(reader.kind, plan, survey, spacings=spacings, thumbnails=thumbnails)


def _preview(
    kind: str,
    plan: SourcePlan,
    survey: Survey,
    *,
    spacings: set[tuple[float, ...]],
    thumbnails: list[tuple[Array, Array]],
) -> Preview:
    told = plan.classes is not None or any(set(meter.pixels) - {_IGNORED} for meter in survey.splits.values())
    classes = survey.classes() if told else ()
    whole = not survey.problems
    return Preview(
        source=kind,
        name=plan.name,
        splits={
            split: {
                "cases": sum(sample.split == split for sample in plan.samples),
                "groups": len({sample.group for sample in plan.samples if sample.split == split}),
            }
            for split in SPLITS
        },
        classes=tuple(
            (info, {split: meter.pixels[info.index] for split, meter in survey.splits.items()})
            for info in classes
        ),
        channels=survey.channels(),
        axes=plan.axes,
        shape_min=tuple(map(min, zip(*survey.shapes, strict=True))),
        shape_max=tuple(map(max, zip(*survey.shapes, strict=True))),
        spacings=tuple(sorted(spacings)),
        digest=survey.digest() if whole else None,
        problems=tuple(survey.problems),
        notes=survey.notes() if whole else plan.notes,
        sheet=png(contact_sheet(thumbnails, classes)) if thumbnails else None,
    )


def thumbnail(image: Array, labels: Array) -> tuple[Array, Array]:
    """A case in the size of a tile; of a volume the slice with the most labelled voxels."""
    if labels.ndim == 3:
        depth = int(((labels > 0) & (labels != _IGNORED)).sum(axis=(0, 1)).argmax())
        image, labels = image[..., depth], labels[..., depth]
    height, width = labels.shape
    scale = TILE_PX / max(height, width)
    rows, columns = (
        np.arange(max(1, round(size * scale))) * size // max(1, round(size * scale))
        for size in (height, width)
    )
    return image[:, rows][:, :, columns], labels[rows][:, columns]


def contact_sheet(thumbnails: list[tuple[Array, Array]], classes: tuple[ClassInfo, ...]) -> Array:
    """Some cases with their labels laid over, (H, W, 3) uint8."""
    colours = palette([info.rgb for info in classes])
    down, across = (max(labels.shape[axis] for _, labels in thumbnails) + _GAP_PX for axis in (0, 1))
    num_columns = min(COLUMNS, len(thumbnails))
    num_rows = -(-len(thumbnails) // num_columns)
    sheet = np.zeros((num_rows * down - _GAP_PX, num_columns * across - _GAP_PX, 3), np.uint8)
    for number, (image, labels) in enumerate(thumbnails):
        row, column = divmod(number, num_columns)
        tile = overlay(image, labels, colours)
        top, left = row * down, column * across
        sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet
