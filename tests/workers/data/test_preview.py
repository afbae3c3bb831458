"""A dry run says what an ingest would, and leaves no trace."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from workers.data.ingest import ingest
from workers.data.preview import TILE_PX, preview


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_says_what_an_ingest_would(images: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    found = preview(images)
    assert everything(tmp_path) == before and found.problems == ()
    manifest = ingest(images, str(tmp_path / "set"))
    assert (found.digest, found.source, found.name) == (manifest.digest, manifest.source, manifest.name)
    assert (found.shape_min, found.shape_max) == ((8, 10), (8, 10)) and found.spacings == ()
    assert found.notes == manifest.notes and found.channels == manifest.channels
    for name, split in manifest.splits.items():
        assert found.splits[name] == {"cases": split.rows, "groups": split.groups}
        assert tuple(pixels[name] for _, pixels in found.classes) == split.class_pixels


def test_spacing_and_sizes_of_volumes(volumes: Path) -> None:
    found = preview(volumes)
    assert found.spacings == ((1.0, 1.0, 2.5),)
    assert (found.shape_min, found.shape_max) == ((6, 5, 4), (8, 5, 4))
    assert found.facts()["classes"][1]["name"] == "left" and found.sheet is not None


def test_what_is_missing_is_said_beside_what_was_found(images: Path) -> None:
    for number in range(7):
        (images / f"masks/shot{number}.png").unlink()
    (images / "images/shot8.png").write_bytes(b"no picture")
    found = preview(images)
    assert (
        found.problems[0]
        == "7 images without labels: shot0.png, shot1.png, shot2.png, shot3.png, shot4.png, …"
    )
    assert any("images/shot8.png: not a PNG" in problem for problem in found.problems)
    assert found.digest is None and sum(split["cases"] for split in found.splits.values()) == 5


def test_a_folder_in_which_nothing_is_right_is_described_too(images: Path) -> None:
    for path in (images / "images").iterdir():
        path.write_bytes(b"")
    found = preview(images)
    assert len(found.problems) == 12 and found.sheet is None and found.classes == () and found.shape_min == ()


def test_the_sheet_shows_labels_over_images(tmp_path: Path) -> None:
    for number in range(3):
        for place, value in (("images", 100), ("masks", 0)):
            (tmp_path / place).mkdir(exist_ok=True)
            values = np.full((10, 20), value, np.uint8)
            if place == "masks":
                values[:, 10:] = 1
            Image.fromarray(values).save(tmp_path / place / f"{number}.png")
    (tmp_path / "classes.json").write_text('["ground", {"name": "road", "rgb": [200, 0, 0]}]')
    sheet = preview(tmp_path).sheet
    assert sheet is not None
    pixels = np.asarray(Image.open(io.BytesIO(sheet)))
    assert pixels.shape == (TILE_PX // 2, 3 * TILE_PX + 8, 3), "three tiles, twice as wide as high, with gaps"
    left, right = pixels[60, 60], pixels[60, 180]
    assert left[0] == left[1] == left[2] and right[0] > right[1] == right[2]
