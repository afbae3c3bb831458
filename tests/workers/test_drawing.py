"""Drawings show the network that is built, and what differs between two."""

import dataclasses
import io
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from search_spaces.candidate import Candidate
from search_spaces.preset import load_preset, preset_names
from search_spaces.skips.none import NoSkip
from search_spaces.space import load_space, sample
from workers.drawing import draw, format_of, skips_taken
from workers.errors import DrawingError

UNET = load_preset("small_unet").candidate()
DEEPLAB = load_preset("small_deeplabv3plus").candidate()


def svg(candidate: Candidate, against: Candidate | None = None) -> str:
    drawn = draw(
        candidate, in_channels=1, num_classes=3, input_size=(64, 64), title="it", against=against
    ).decode()
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    return drawn


def test_a_drawing_names_shapes_parts_and_costs() -> None:
    text = svg(DEEPLAB)
    for words in (
        "it   455,059 parameters",
        "128",
        "4x4",
        "aspp",
        "rates 1,2,4",
        "deeplab",
        "conv head",
        "resized x2",
        "encoder.cell, residual",
    ):
        assert words in text, words


def test_a_drawing_is_the_same_each_time_and_no_other() -> None:
    assert svg(UNET) == svg(UNET) != svg(DEEPLAB)


def test_skips_are_read_off_the_network() -> None:
    assert skips_taken(UNET.architecture, 1, 3, 2) == [(2, 2), (1, 1), (0, 0)]
    assert skips_taken(DEEPLAB.architecture, 1, 3, 2) == [(0, 0)]  # one jump to the finest level
    without = dataclasses.replace(UNET.architecture, skip=NoSkip())
    assert skips_taken(without, 1, 3, 3) == []


def test_a_difference_lists_every_path_with_both_values() -> None:
    encoder = dataclasses.replace(UNET.architecture.encoder, width=8)  # type: ignore[call-arg]  # it has cells
    narrower = dataclasses.replace(UNET, architecture=dataclasses.replace(UNET.architecture, encoder=encoder))
    text = svg(UNET, narrower)
    assert "2 differences" in text and "architecture.encoder.width: 16 -&gt; 8" in text
    assert "architecture.encoder.widest: 128 -&gt; 64" in text  # what the last stage reaches
    assert "(before)" in text and "(after)" in text
    recipe = dataclasses.replace(UNET, recipe=dataclasses.replace(UNET.recipe, learning_rate=1e-3))
    assert "(before)" not in svg(UNET, recipe)  # the same network is drawn once


@pytest.mark.parametrize("seed", range(3))
def test_drawn_candidates_are_drawn_in_three_dimensions_as_png(seed: int) -> None:
    candidate = sample(load_space("compact"), random.Random(seed))
    drawn = draw(candidate, in_channels=1, num_classes=3, input_size=(32, 32, 32), file_format="png")
    assert min(Image.open(io.BytesIO(drawn)).size) > 300


@pytest.mark.parametrize("name", preset_names())
def test_skips_of_every_preset_are_found(name: str) -> None:
    preset = load_preset(name)
    architecture = preset.candidate().architecture
    levels = len(architecture.levels().channels)
    assert all(0 <= level < levels for _, level in skips_taken(architecture, *preset.channels, preset.ndim))


def test_other_files_than_drawings_are_refused() -> None:
    assert format_of(Path("a.SVG")) == "svg" and format_of(Path("a.png")) == "png"
    with pytest.raises(DrawingError, match=r"a\.gif: drawings are \.svg or \.png files"):
        format_of(Path("a.gif"))
