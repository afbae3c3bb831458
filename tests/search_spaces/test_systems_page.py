"""The page on systems says of each preset what it is."""

import re
from pathlib import Path

import pytest

from search_spaces.preset import load_preset, preset_names

PAGE = (Path(__file__).parents[2] / "docs" / "systems.md").read_text(encoding="utf-8")
ROWS = {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)` \|.*\| ([\d,]+) \|.*\|$", PAGE, re.MULTILINE)}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_numbers_of_its_preset(name: str) -> None:
    assert name in preset_names()
    preset = load_preset(name)
    classes, parameters = ROWS[name].split(" | ")[2:4]
    assert (int(classes), int(parameters.replace(",", ""))) == (preset.channels[1], preset.parameters)


def test_rows_were_found() -> None:
    assert len(ROWS) >= 24
