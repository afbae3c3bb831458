"""The picture of a data set shows its numbers and its cases."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.report import LINE_PX, report_picture


@pytest.mark.parametrize("shape", ["images", "volumes"])
def test_examples_stand_below_bars(shape: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ingest(request.getfixturevalue(shape), str(tmp_path / "set"))
    pixels = np.asarray(Image.open(io.BytesIO(report_picture(open_dataset(str(tmp_path / "set"))))))
    # Lines: name, size, (spacing,) 3 splits, heading; 3 classes; then three rows of tiles.
    top = (9 if shape == "images" else 10) * LINE_PX + 20
    assert len(pixels) > top + 300 and pixels.shape[1:] == (972, 3)
    assert (pixels[:8] == 255).all() and (pixels[top:] < 255).any(axis=2).mean() > 0.3


def test_the_longest_bar_is_that_of_the_most_frequent_class(tmp_path: Path) -> None:
    for number in range(12):
        for place in ("images", "masks"):
            (tmp_path / "raw" / place).mkdir(parents=True, exist_ok=True)
            values = np.full((10, 10), 50 + number, np.uint8)
            if place == "masks":
                values[:] = 1
                values[:2] = 0
            Image.fromarray(values).save(tmp_path / "raw" / place / f"{number}.png")
    (tmp_path / "raw/classes.json").write_text('["wood", {"name": "stone", "rgb": [200, 0, 0]}]')
    ingest(tmp_path / "raw", str(tmp_path / "set"))
    pixels = np.asarray(Image.open(io.BytesIO(report_picture(open_dataset(str(tmp_path / "set"))))))
    first = 10 + 6 * LINE_PX + 7
    bars = [(pixels[first + row * LINE_PX, 190:] == 90).all(axis=1).sum() for row in (0, 1)]
    assert bars[0] == pytest.approx(4 * bars[1], rel=0.05)
    assert tuple(pixels[first, 15]) == (200, 0, 0), "80 % of the pixels are stone"
