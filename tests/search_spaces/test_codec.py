"""JSON is read strictly, and every refusal says where and what is allowed."""

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

from search_spaces.candidate import Candidate, from_json, to_json
from search_spaces.codec import LATER
from search_spaces.errors import SpaceError
from search_spaces.preset import load_preset

GOOD: dict[str, Any] = to_json(load_preset("small_deeplabv3plus").candidate())


def changed(path: str, value: object) -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: Any = data
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "architecture.encoder.widht",
            8,
            r"architecture\.encoder: unknown key 'widht'; did you mean 'width'\?",
        ),
        ("architecture.context.kind", "aspq", r"unknown context 'aspq'; did you mean 'aspp'\?"),
        ("architecture.norm", "layer", r"architecture\.norm: 'layer' given; allowed are 'batch', 'instance'"),
        ("architecture.encoder.width", 16.0, r"encoder\.width: 16\.0 given; a finite value of type int"),
        ("architecture.encoder.width", True, r"encoder\.width: True given"),
        ("recipe.learning_rate", float("nan"), r"recipe\.learning_rate: nan given; a finite value"),
        ("loss.terms", "dice", r"loss\.terms: 'dice' given; a list is needed"),
        ("loss.terms.0.term", {}, r"loss\.terms\.0\.term: the key 'kind' is missing"),
        ("preprocessing.intensity.kind", "zscor", r"unknown kind 'zscor'; did you mean 'zscore'\?"),
        ("architecture.encoder.cell.nodes.0.inputs", [4], r"cell\.nodes\.0\.inputs: \(4,\) given"),
    ],
)
def test_bad_json_is_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        from_json(Candidate, changed(path, value))


def test_a_missing_key_without_default_is_refused() -> None:
    data = copy.deepcopy(GOOD)
    del data["architecture"]["encoder"]["width"]
    with pytest.raises(SpaceError, match="the key 'width' is missing"):
        from_json(Candidate, data)


def test_a_missing_key_takes_its_default() -> None:
    data = copy.deepcopy(GOOD)
    del data["recipe"]["precision"]
    assert from_json(Candidate, data).recipe.precision == "fp32"


def test_whole_numbers_are_read_as_reals() -> None:
    assert isinstance(from_json(Candidate, changed("recipe.learning_rate", 1)).recipe.learning_rate, float)


def test_a_later_field_is_left_out_at_its_default() -> None:
    @dataclass(frozen=True)
    class Grown:
        old: int
        new: int = field(default=0, metadata=LATER)

    assert to_json(Grown(1)) == {"old": 1}
    assert to_json(Grown(1, 2)) == {"old": 1, "new": 2}
    assert from_json(Grown, {"old": 1}) == Grown(1)
