"""Masks of colours: declared, never guessed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workers.colour_mask import decode_colours, packed, value_text
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.raw import raw_cases
from workers.errors import DataError

COLOURS = np.array([(128, 64, 128), (70, 70, 70), (0, 0, 0), (255, 255, 255)], np.uint8)
CLASSES = [
    {"name": "road", "value": [128, 64, 128]},
    {"name": "void", "value": [0, 0, 0], "ignore": True},
    {"name": "building", "value": [70, 70, 70]},
    {"name": "sign", "value": [255, 255, 255], "rgb": [220, 220, 0]},
]
INDEX = np.array([0, 1, 255, 2], np.uint8)  # of COLOURS


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(12):
        rng = np.random.default_rng(number)
        for place, values in (
            ("images", rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)),
            ("masks", COLOURS[drawn(number)]),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / place / f"{number:02d}.png")
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    return folder


def drawn(number: int) -> np.ndarray:
    return np.random.default_rng(50 + number).integers(0, 4, (6, 7))


def problems(source: Path, dest: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        ingest(source, str(dest))
    assert not dest.exists()
    return caught.value.problems or (str(caught.value),)


def test_declared_colours_become_classes(source: Path, tmp_path: Path) -> None:
    manifest = ingest(source, str(tmp_path / "set"))
    assert [(info.name, info.rgb) for info in manifest.classes] == [
        ("road", (128, 64, 128)),
        ("building", (70, 70, 70)),
        ("sign", (220, 220, 0)),
    ]
    dataset = open_dataset(str(tmp_path / "set"))
    for split in manifest.splits:
        for id in dataset.ids(split):
            labels = dataset.case(id).labels
            assert labels is not None and np.array_equal(labels, INDEX[drawn(int(id))])
    raw = next(raw_cases(source, ["03"]))
    assert raw.labels is not None and np.array_equal(raw.labels, INDEX[drawn(3)])


def test_a_colour_of_no_class_is_named_with_file_and_count(source: Path, tmp_path: Path) -> None:
    values = np.array(COLOURS[drawn(4)])
    values[0, :3] = (1, 2, 3)
    values[1, 0] = (0, 0, 255)
    Image.fromarray(values).save(source / "masks/04.png")
    (problem,) = problems(source, tmp_path / "set")
    assert problem == (
        "masks/04.png: colour (0, 0, 255) (1 times), (1, 2, 3) (3 times) is no class; allowed are (128, 64, 128) (road), "
        "(0, 0, 0) (void), (70, 70, 70) (building), (255, 255, 255) (sign)"
    )


def test_colours_are_not_guessed(source: Path, tmp_path: Path) -> None:
    (source / "classes.json").write_text('["road", "building"]')
    assert "mask of mode RGB; allowed is one channel" in problems(source, tmp_path / "set")[0]


def test_masks_of_another_kind_are_refused(source: Path, tmp_path: Path) -> None:
    Image.new("L", (7, 6)).save(source / "masks/00.png")
    Image.new("P", (7, 6)).save(source / "masks/01.png")
    Image.new("RGB", (7, 6)).save(source / "masks/02.jpg")
    (source / "masks/02.png").unlink()
    told = problems(source, tmp_path / "set")
    assert told[0].startswith("masks/00.png: a grey mask, but classes.json declares colours")
    assert told[1].startswith("masks/01.png: image of mode P")
    assert told[2].startswith("masks/02.jpg: a mask in JPEG, which blurs labels")


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ([{"name": "a", "value": [0, 0, 256]}, "b"], "class 0: value .*or a colour of three of them"),
        (
            [{"name": "a", "value": [0, 0, 0]}, "b"],
            "colours and numbers as values; give every class a colour",
        ),
        ([{"name": "a", "value": 0, "ignore": 1}, "b"], "class 0: ignore 1; allowed are true and false"),
        (
            [{"name": "a", "value": [1, 1, 1]}, {"name": "b", "value": [1, 1, 1]}],
            "values given twice: .1, 1, 1.",
        ),
        (
            [{"name": "a", "value": [1, 1, 1]}, {"name": "b", "value": [1, 2, 1], "ignore": True}],
            "1 given; allowed",
        ),
    ],
)
def test_wrong_declarations_are_sentences(
    source: Path, tmp_path: Path, classes: list[object], says: str
) -> None:
    (source / "classes.json").write_text(json.dumps(classes))
    with pytest.raises(DataError, match=says):
        ingest(source, str(tmp_path / "set"))


def test_a_number_may_be_ignored_too(source: Path, tmp_path: Path) -> None:
    for path in (source / "masks").iterdir():
        Image.fromarray(drawn(int(path.stem)).astype(np.uint8)).save(path)
    (source / "classes.json").write_text('["a", "b", {"name": "unsure", "ignore": true}, "c"]')
    manifest = ingest(source, str(tmp_path / "set"))
    assert [info.name for info in manifest.classes] == ["a", "b", "c"]
    labels = open_dataset(str(tmp_path / "set")).case("05").labels
    assert labels is not None and np.array_equal(labels, INDEX[drawn(5)])


def test_colours_as_numbers() -> None:
    assert value_text(packed((1, 2, 255))) == "(1, 2, 255)" and value_text(17) == "17"
    with pytest.raises(DataError, match="x: not a PNG"):
        decode_colours(b"nothing", where="x")
