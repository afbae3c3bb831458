"""Presets: the numbers by which the systems are known."""

import pytest

from search_spaces.candidate import Candidate, canonical, digest, from_json, to_json
from search_spaces.errors import UnknownKindError
from search_spaces.preset import load_preset, preset_names
from search_spaces.profile import profile


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_has_its_parameters_and_says_what_it_is(name: str) -> None:
    preset = load_preset(name)
    candidate = preset.candidate()
    size = (64,) * preset.ndim
    assert profile(candidate.architecture, *preset.channels, size).parameters == preset.parameters
    assert preset.title and preset.paper and preset.note
    assert from_json(Candidate, to_json(candidate)) == candidate
    assert digest(candidate) == digest(canonical(candidate))


def test_unet_is_the_known_one() -> None:
    assert load_preset("unet").parameters == 31_037_633


@pytest.mark.parametrize("name", ["small_unet", "small_deeplabv3plus"])
def test_small_presets_fit_the_limits_of_the_example(name: str) -> None:
    assert load_preset(name).parameters < 2_000_000


def test_an_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match="did you mean 'small_unet'"):
        load_preset("smal_unet")
