"""A picture of predictions laid over images, for the tracker and the model card."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from search_spaces.regions import Regions
from workers.contract import Leg
from workers.data.dataset import Case, Dataset
from workers.data.manifest import IGNORE_INDEX
from workers.evaluate import predict_labels, predict_masks
from workers.inference import Network
from workers.preprocessing import LabelArray, Prepared
from workers.regions import inside_regions, painted, region_colours
from workers.store import open_store

COLUMNS = 4
TILE_PX = 192
OPACITY = 0.45
DRAWING = "network.svg"  # of an export: its network, drawn

Colours = npt.NDArray[np.uint8]


def picture_key(trial: int) -> str:
    """Where the picture of a trial lies under its search's storage."""
    return f"pictures/trial-{trial:05d}.png"


def save_picture(leg: Leg, dataset: Dataset, network: Network, scored: Sequence[Prepared]) -> None:
    """Store a picture of up to four scored cases: truth above, prediction below."""
    regions = leg.data.regions
    rgb = region_colours(regions) if regions else [info.rgb for info in dataset.manifest.classes]
    with torch.inference_mode():
        columns = [
            _column(
                dataset.case(scored[number].id),
                _predicted(leg, dataset, network, scored[number]),
                palette(list(rgb)),
                regions,
            )
            for number in range(min(COLUMNS, len(scored)))
        ]
    open_store(leg.storage).put(picture_key(leg.trial), png(np.concatenate(columns, axis=1)))


def palette(colours: list[tuple[int, int, int]]) -> Colours:
    """Colour of each label value, (256, 3); values without a class are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table


def overlay(
    image: npt.NDArray[np.generic], labels: npt.NDArray[np.uint8], colours: Colours
) -> npt.NDArray[np.uint8]:
    """Labels laid over an image; class 0 and ignored pixels stay clear.

    Shape:
        image (C, H, W), any numbers; labels (H, W); returns (H, W, 3) uint8.
    """
    grey = image.astype(np.float32)
    low, high = np.percentile(grey, [1, 99])
    unit = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    channels = unit if len(unit) == 3 else np.repeat(unit[:1], 3, axis=0)
    base = np.moveaxis(channels, 0, -1) * 255
    shown = ((labels > 0) & (labels != 255))[..., None]
    mixed = np.where(shown, (1 - OPACITY) * base + OPACITY * colours[labels], base)
    return mixed.astype(np.uint8)


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """PNG bytes of an (H, W, 3) or (H, W) uint8 array."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _predicted(leg: Leg, dataset: Dataset, network: Network, case: Prepared) -> LabelArray:
    if leg.data.regions:
        return painted(predict_masks(network, case, leg.data))
    return predict_labels(network, case, leg.data, num_classes=dataset.num_classes)


def _column(case: Case, predicted: LabelArray, colours: Colours, regions: Regions) -> npt.NDArray[np.uint8]:
    image, truth = np.asarray(case.image), np.asarray(case.labels)
    if regions:
        truth = painted(inside_regions(truth, regions, ignore_index=IGNORE_INDEX))
    if predicted.ndim == 3:
        depth = int((truth > 0).sum(axis=(0, 1)).argmax())  # the slice with the most foreground
        image, truth, predicted = image[..., depth], truth[..., depth], predicted[..., depth]
    tiles = [overlay(image, labels, colours) for labels in (truth, predicted)]
    sized = [
        np.asarray(Image.fromarray(tile).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST))
        for tile in tiles
    ]
    return np.concatenate(sized, axis=0)
