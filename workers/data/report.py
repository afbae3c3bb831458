"""A picture that says what a data set holds: examples with their labels, the share of each class, the sizes."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workers.data.dataset import Dataset
from workers.data.manifest import Manifest
from workers.data.preview import COLUMNS, ROWS, TILE_PX, Array, contact_sheet, thumbnail
from workers.picture import png

MAX_CLASSES = 40
WIDTH_PX = COLUMNS * (TILE_PX + 4) - 4
LINE_PX = 18
_MARGIN_PX = 10
_NAME_PX = 190
_TEXT, _GROUND, _BAR = (30, 30, 30), (255, 255, 255), (90, 90, 90)


def report_picture(dataset: Dataset) -> bytes:
    """PNG of up to twelve cases, spread over all splits, and of the numbers of the manifest. Only those cases are read."""
    manifest = dataset.manifest
    ids = [id for split in manifest.splits for id in dataset.ids(split)]
    chosen = sorted({round(at) for at in np.linspace(0, len(ids) - 1, COLUMNS * ROWS)})
    thumbnails: list[tuple[Array, Array]] = []
    for number in chosen:
        case = dataset.case(ids[number])
        labels = np.zeros(case.image.shape[1:], np.uint8) if case.labels is None else case.labels
        thumbnails.append(thumbnail(case.image, labels))
    sheet = contact_sheet(thumbnails, manifest.classes)
    text = _numbers(manifest)
    width = max(sheet.shape[1], text.shape[1])
    whole = np.full((len(text) + len(sheet), width, 3), 255, np.uint8)
    whole[: len(text), : text.shape[1]] = text
    whole[len(text) :, : sheet.shape[1]] = sheet
    return png(whole)


def _numbers(manifest: Manifest) -> Array:
    """Size and splits, then a bar for the share of each class in the training split, the frequent first."""
    pixels = manifest.splits["train"].class_pixels
    total = max(1, sum(pixels))
    order = sorted(manifest.classes, key=lambda info: -pixels[info.index])
    lines = _lines(manifest, len(order) - MAX_CLASSES)
    shown = order[:MAX_CLASSES]
    picture = Image.new("RGB", (WIDTH_PX, (len(lines) + len(shown)) * LINE_PX + 2 * _MARGIN_PX), _GROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    top = _MARGIN_PX
    for line in lines:
        draw.text((_MARGIN_PX, top), line, fill=_TEXT, font=font)
        top += LINE_PX
    room = WIDTH_PX - _NAME_PX - 90
    for info in shown:
        share = pixels[info.index] / total
        draw.rectangle((_MARGIN_PX, top + 2, _MARGIN_PX + 11, top + 13), fill=info.rgb, outline=_BAR)
        draw.text((_MARGIN_PX + 18, top), _drawable(info.name)[:26], fill=_TEXT, font=font)
        if pixels[info.index]:
            draw.rectangle((_NAME_PX, top + 2, _NAME_PX + round(share * room), top + 13), fill=_BAR)
        draw.text((_NAME_PX + round(share * room) + 6, top), f"{share:.2%}", fill=_TEXT, font=font)
        top += LINE_PX
    return np.asarray(picture)


def _lines(manifest: Manifest, num_hidden: int) -> list[str]:
    small, large = (" x ".join(map(str, shape)) for shape in (manifest.shape_min, manifest.shape_max))
    size = small if small == large else f"{small} to {large}"
    lines = [
        f"{_drawable(manifest.name)}   {manifest.digest[:12]}",
        f"{size} ({' x '.join(manifest.axes)}), channels {', '.join(map(_drawable, manifest.channels))}",
    ]
    if manifest.statistics.median_spacing is not None:
        spacing = " x ".join(f"{step:g}" for step in manifest.statistics.median_spacing)
        lines.append(f"median spacing {spacing} mm")
    for name, split in manifest.splits.items():
        every = max(1, sum(split.class_pixels) + split.ignored_pixels)
        ignored = split.ignored_pixels / every
        lines.append(f"{name}: {split.rows} cases, {split.groups} groups, {ignored:.2%} of pixels ignored")
    hidden = f" ({num_hidden} rarer ones are not shown)" if num_hidden > 0 else ""
    return [*lines, f"share of pixels in training{hidden}:"]


def _drawable(text: str) -> str:
    """Text in letters that the built-in font has."""
    return text.encode("latin-1", "replace").decode("latin-1")
