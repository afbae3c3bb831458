"""Files as they go wrong in practice, and files made to do harm: one sentence each, and nothing published."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from workers.data.ingest import ingest
from workers.errors import DataError
from workers.image_file import decode_image, decode_mask
from workers.source import recognise

Damage = Callable[[Path], None]


def refused(folder: Path, tmp_path: Path) -> str:
    """The message; it has one line a problem, and nothing was written."""
    with pytest.raises(DataError) as caught:
        ingest(folder, str(tmp_path / "set"), jobs=1)
    assert not (tmp_path / "set").exists() or not any((tmp_path / "set").rglob("*"))
    lines = str(caught.value).splitlines()
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 1 + len(caught.value.problems)
    return str(caught.value)


def png(values: npt.NDArray[Any], path: Path, **options: object) -> None:
    Image.fromarray(values).save(path, **options)  # type: ignore[arg-type]  # options of Pillow


def volume(path: Path, values: npt.NDArray[Any], affine: npt.NDArray[Any] | None = None) -> None:
    nib.save(nib.nifti1.Nifti1Image(values, np.diag([1, 1, 2.5, 1]) if affine is None else affine), path)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Three volumes of 6 x 5 x 4 with labels."""
    for number in range(3):
        for name in ("images", "labels"):
            (tmp_path / "pair" / name).mkdir(parents=True, exist_ok=True)
            values = np.full((6, 5, 4), number % 2, np.uint8)
            values[0] = 1 - number % 2
            volume(tmp_path / "pair" / name / f"v{number}.nii.gz", values)
    return tmp_path / "pair"


def test_no_flipped_bit_of_a_png_is_taken(tmp_path: Path) -> None:
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (12, 3), dtype=np.uint8), 5, 1)
    png(pixels, tmp_path / "one.png")
    data = (tmp_path / "one.png").read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError):
            decode_image(bytes(flipped), where="one.png")
    with pytest.raises(DataError, match=r"cannot be decoded \(3 bytes follow its end\)"):
        decode_image(data + b"abc", where="one.png")


def test_colours_of_16_bit_are_not_cut_to_8(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    Image.new("RGB", (2, 2)).save(path)
    data = bytearray(path.read_bytes())
    at = data.index((258).to_bytes(2, "little") + (3).to_bytes(2, "little"))  # tag BitsPerSample, of shorts
    place = int.from_bytes(data[at + 8 : at + 12], "little")
    data[place : place + 6] = (16).to_bytes(2, "little") * 3
    with pytest.raises(DataError, match="colours of 16 bit a channel; allowed are 8, and 16 of grey"):
        decode_image(bytes(data), where="deep.tif")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_mask_that_is_turned_by_a_tag_is_refused(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("L", (4, 4)).save(tmp_path / "mask", kind, exif=exif)
    for decode in (decode_mask, decode_image):
        with pytest.raises(DataError, match="turned by its EXIF tag"):
            decode((tmp_path / "mask").read_bytes(), where="mask")


def gz_with(change: Callable[[bytearray], None]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "images/v1.nii.gz"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return damage


def flip_checksum(data: bytearray) -> None:
    data[-6] ^= 1


def flip_voxel(data: bytearray) -> None:
    plain = bytearray(gzip.decompress(data))
    whole = gzip.compress(plain)
    plain[-1] ^= 1
    data[:] = gzip.compress(plain)[:-8] + whole[-8:]


def pad(data: bytearray) -> None:
    data[:] = gzip.compress(gzip.decompress(data) + bytes(5000))


def bomb(data: bytearray) -> None:
    plain = bytearray(gzip.decompress(data))
    plain[42:48] = (900).to_bytes(2, "little") * 3
    data[:] = gzip.compress(plain[:400])


def moved(by_mm: float) -> Damage:
    def damage(folder: Path) -> None:
        affine = np.diag([1, 1, 2.5, 1])
        affine[0, 3] = by_mm
        volume(folder / "labels/v1.nii.gz", np.zeros((6, 5, 4), np.uint8), affine)

    return damage


def flat(folder: Path) -> None:
    image = nib.nifti1.Nifti1Image(np.zeros((6, 5, 4), np.uint8), None)
    image.header["sform_code"] = 1
    nib.save(image, folder / "images/v1.nii.gz")


def not_a_number(folder: Path) -> None:
    volume(folder / "images/v1.nii", np.zeros((6, 5, 4), np.uint8))
    (folder / "images/v1.nii.gz").unlink()
    data = bytearray((folder / "images/v1.nii").read_bytes())
    data[280:284] = np.float32("nan").tobytes()  # srow_x
    (folder / "images/v1.nii").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (gz_with(flip_checksum), "images/v1.nii.gz: cannot be read as NIfTI (CRC check failed"),
        (gz_with(flip_voxel), "images/v1.nii.gz: cannot be read as NIfTI (CRC check failed"),
        (gz_with(pad), "images/v1.nii.gz: more than 4,096 bytes follow the 120 of its voxels"),
        (gz_with(bomb), "which cannot hold the 729,000,000 of its voxels"),
        (moved(50.0), "labels/v1.nii.gz: lies up to 50 mm from its image"),
        (moved(0.6), "labels/v1.nii.gz: lies up to 0.6 mm from its image"),
        (flat, "images/v1.nii.gz: an affine that maps no volume"),
        (not_a_number, "images/v1.nii: an affine that maps no volume"),
    ],
)
def test_volumes(pair: Path, tmp_path: Path, damage: Damage, says: str) -> None:
    damage(pair)
    assert says in refused(pair, tmp_path)


def test_labels_beside_their_image_are_taken_where_the_folder_says_so(pair: Path, tmp_path: Path) -> None:
    moved(50.0)(pair)
    (pair / "geometry.json").write_text('{"labels": "voxel"}')
    assert 'geometry.json: expected {"labels": "by_voxel"}' in refused(pair, tmp_path)
    (pair / "geometry.json").write_text('{"labels": "by_header"}')
    assert "geometry.json" in refused(pair, tmp_path)  # how to say otherwise
    (pair / "geometry.json").write_text('{"labels": "by_voxel"}')
    manifest = ingest(pair, str(tmp_path / "set"), jobs=1)
    assert "1 cases: the affine of the labels differs from the image's, which was taken" in manifest.notes


def test_labels_that_state_no_place_are_taken_and_noted(pair: Path, tmp_path: Path) -> None:
    labels = nib.nifti1.Nifti1Image(np.zeros((6, 5, 4), np.uint8), None)
    nib.save(labels, pair / "labels/v1.nii.gz")
    manifest = ingest(pair, str(tmp_path / "set"), jobs=1)
    assert "1 cases: the affine of the labels differs from the image's, which was taken" in manifest.notes


def test_suffixes_in_capital_letters_are_the_same(pair: Path, tmp_path: Path) -> None:
    before = ingest(pair, str(tmp_path / "before"), jobs=1).digest
    (pair / "images/v1.nii.gz").rename(pair / "images/v1.NII.GZ")
    assert ingest(pair, str(tmp_path / "after"), jobs=1).digest == before


def rename(old: str, new: bytes) -> Damage:
    def damage(folder: Path) -> None:
        for place in ("images", "masks"):
            os.rename(folder / place / old, os.fsencode(folder / place) + b"/" + new)  # noqa: PTH104  # no text

    return damage


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)  # type: ignore[return-value]  # what it returns is not looked at


def loop(folder: Path) -> None:
    (folder / "images/shot1.png").unlink()
    (folder / "images/shot1.png").symlink_to(folder / "images/shot1.png")


def blurred(folder: Path) -> None:
    for number in range(12):
        mask = np.zeros((8, 10), np.uint8)
        mask[2:5, 2:5] = 1
        if number == 3:
            mask[2, 2:5] = 128
        png(mask, folder / f"masks/shot{number}.png")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (rename("shot1.png", b"b\xff.png"), "id 'b\\udcff': allowed are printable characters"),
        (rename("shot1.png", b"a\nb.png"), r"id 'a\nb': allowed are printable characters"),
        (write("images/a\x1b[31m\n.png", b""), r"1 images without labels: a\x1b[31m\n.png"),
        (loop, "images: 1 are no files, but folders or links to nothing: shot1.png"),
        (blurred, "1 (105 times, first in masks/shot0.png), 128 (3 times, first in masks/shot3.png)"),
        (write("classes.txt", b"ground\nstra\xdfe\n"), "classes.txt: not UTF-8 text"),
        (write("classes.txt", b""), "1 problem; nothing was written"),
        (write("classes.json", b"[" * 99_999), "classes.json: too deep or too long a number"),
        (write("classes.json", b'["a",' + b"9" * 5000 + b"]"), "classes.json: too deep or too long a number"),
        (
            write("splits.json", b'{"train": ["a"], "train": ["b"]}'),
            "splits.json: key 'train' is given twice",
        ),
    ],
)
def test_pictures(images: Path, tmp_path: Path, damage: Damage, says: str) -> None:
    damage(images)
    assert says in refused(images, tmp_path)


def test_ids_that_differ_in_capital_letters_are_noted(images: Path, tmp_path: Path) -> None:
    for place in ("images", "masks"):
        shutil.copy(images / place / "shot1.png", images / place / "SHOT1.png")
    notes = ingest(images, str(tmp_path / "set"), jobs=1).notes
    assert any(note.startswith("1 ids differ in capital letters only: SHOT1 = shot1;") for note in notes)


def test_opaque_alpha_is_dropped_from_pictures_and_colour_masks(images: Path, tmp_path: Path) -> None:
    colours = [{"name": "ground", "value": [0, 0, 0]}, {"name": "road", "value": [9, 8, 7]}]
    (images / "classes.json").write_text(json.dumps(colours))
    for number in range(12):
        mask = np.zeros((8, 10, 4), np.uint8)
        mask[:2, :, :3], mask[..., 3] = (9, 8, 7), 255
        png(mask, images / f"masks/shot{number}.png")
    opaque = np.dstack([np.arange(240, dtype=np.uint8).reshape(8, 10, 3), np.full((8, 10), 255, np.uint8)])
    png(opaque, images / "images/shot1.png")
    manifest = ingest(images, str(tmp_path / "set"), jobs=1)
    assert manifest.channels == ("red", "green", "blue")
    opaque[0, 0, 3] = 128
    png(opaque, images / "images/shot1.png")
    with pytest.raises(DataError, match=r"shot1\.png: transparent in places"):
        ingest(images, str(tmp_path / "other"), jobs=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"a/" + b"x" * 300 + b".png,b/c.png", "1 listed files are missing: a/xxx"),
        (b"a/\0.png,b/c.png", r"1 listed files are missing: a/\x00.png"),
        (b"a/loop.png,b/c.png", "1 listed files are missing: a/loop.png"),
        (b"a,b/c.png", "1 listed files are missing: a"),
        (b"x" * 140_000, "pairs.csv: no list of pairs (field larger than field limit"),
        (b'"a.png,b.png' + b"\np.png,q.png" * 40, "expected two paths, image,label."),
    ],
)
def test_lists(tmp_path: Path, line: bytes, says: str) -> None:
    (tmp_path / "raw/a").mkdir(parents=True)
    (tmp_path / "raw/b").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "raw/b/c.png")
    (tmp_path / "raw/a/loop.png").symlink_to(tmp_path / "raw/a/loop.png")
    (tmp_path / "raw/pairs.csv").write_bytes(line)
    message = refused(tmp_path / "raw", tmp_path)
    assert says in message
    assert max(map(len, message.splitlines())) < 500, "a line of any length is not repeated whole"


def test_a_description_that_names_a_loop_of_links(volumes: Path, tmp_path: Path) -> None:
    (volumes / "imagesTr/case_001.nii.gz").unlink()
    (volumes / "imagesTr/case_001.nii.gz").symlink_to("case_001.nii.gz")
    assert "1 listed files are missing: imagesTr/case_001.nii.gz" in refused(volumes, tmp_path)


def test_a_folder_that_may_not_be_read_is_named(images: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (images / "images").chmod(0)
    try:
        assert "images: cannot be read (Permission denied)" in refused(images, tmp_path)
    finally:
        (images / "images").chmod(0o755)


def test_too_few_cases_are_counted(pair: Path, tmp_path: Path) -> None:
    for place in ("images", "labels"):
        (pair / place / "v1.nii.gz").unlink()
    assert "2 groups of cases; the splits need 3 and more; add cases" in refused(pair, tmp_path)


def test_a_file_that_may_not_be_read_is_one_bad_case(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "shot1.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert "shot1.png: cannot be read (Permission denied); make it readable" in refused(images, tmp_path)


def test_a_folder_around_the_data_is_told_from_it(images: Path) -> None:
    (images.parent / "another").mkdir()
    with pytest.raises(DataError, match=f"no known layout, but shots in it is of image_masks; give {images}"):
        recognise(images.parent)
