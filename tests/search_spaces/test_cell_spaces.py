"""Spaces of cells: their published sizes, the laws of spaces, and that what they hold can be built."""

import random
from collections import Counter
from math import prod

import pytest

from search_spaces.candidate import digest
from search_spaces.domain import Choice
from search_spaces.errors import SpaceError
from search_spaces.exploration import size
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.profile import profile
from search_spaces.space import decode, encode, load_space, mutate, neighbours, sample

PRESETS = {
    "dpc": {"dpc"},
    "trellis": {"autodeeplab_s", "autodeeplab_m", "autodeeplab_l"},
    "nas_unet": {"nas_unet"},
}
INPUTS = {"dpc": (3, 19), "trellis": (3, 19), "nas_unet": (1, 2)}


def paths_of(layers: int, starts: tuple[int, ...]) -> int:
    """Paths of so many layers by adding up, level by level, how many lead there."""
    ways = Counter(starts)
    for _ in range(layers - 1):
        ways = Counter({new: sum(ways[old] for old in (new - 1, new, new + 1)) for new in range(4)})
    return ways.total()


def test_the_spaces_have_their_published_sizes() -> None:
    assert size(load_space("dpc")) == 120 * 81**5 == 418_414_128_120
    cells = prod((states * 8) ** 2 for states in range(2, 7))
    assert cells == 556_627_761_561_600
    either, finest = paths_of(12, (0, 1)), paths_of(12, (0,))
    assert (either, finest) == (75_025, 28_657)
    trellis = load_space("trellis")
    assert size(narrow(trellis, {"encoder.width": 20})) == cells * either
    assert size(narrow(trellis, {"encoder.width": 20, "encoder.path.0": 0})) == cells * finest
    steps = [(2 * 6 + 6 * nodes, 6 + 4 + 6 * nodes) for nodes in range(3)]
    pairs = prod((down * up) ** 2 for down, up in steps)
    assert size(load_space("nas_unet")) == pairs * 9 == 332_977_825_382_400 * 9


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_results_lie_in_their_spaces(name: str) -> None:
    assert {found for found, _ in preset_candidates(load_space(name))} == PRESETS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_samples_have_a_trace_that_gives_them_back(name: str) -> None:
    space, rng = load_space(name), random.Random(0)
    for _ in range(20):
        candidate = sample(space, rng)
        assert decode(space, encode(space, candidate)) == candidate
        child = mutate(space, candidate, rng)
        assert digest(child) != digest(candidate)
        assert decode(space, encode(space, child)) == child
    near = [digest(other) for other in neighbours(space, candidate)]
    assert len(set(near)) == len(near) and digest(candidate) not in near


@pytest.mark.parametrize("name", PRESETS)
def test_samples_can_be_built_in_both_dimensions(name: str) -> None:
    space, rng = load_space(name), random.Random(1)
    for ndim in (2, 2, 2, 3):
        architecture = sample(space, rng).architecture
        assert profile(architecture, *INPUTS[name], (64,) * ndim).macs > 0


def test_all_eight_operations_are_drawn_alike() -> None:
    space, rng, drawn = load_space("trellis"), random.Random(2), Counter[object]()
    for _ in range(200):
        for block in sample(space, rng).architecture.encoder.blocks:  # type: ignore[attr-defined]  # a trellis
            drawn.update([block.first.operation, block.second.operation])
    assert len(drawn) == 8
    assert all(
        abs(count - 250) < 5 * 15 for count in drawn.values()
    )  # 2000 draws, deviation sqrt(2000 * 7) / 8


def test_weights_of_a_choice_say_how_often_it_is_drawn() -> None:
    domain, rng = Choice(("a", "b"), weights=(3, 1)), random.Random(0)
    drawn = Counter(domain.draw(rng) for _ in range(4000))
    assert abs(drawn["a"] - 3000) < 5 * 28  # deviation sqrt(4000 * 3) / 4
    assert domain.to_json() == {"kind": "choice", "options": ["a", "b"], "weights": [3, 1]}
    assert Choice(("a", "b")).to_json() == {"kind": "choice", "options": ["a", "b"]}
    plain, same = random.Random(5), random.Random(5)
    assert [Choice((1, 2, 3)).draw(plain) for _ in range(50)] == [
        1 + int(same.random() * 3) for _ in range(50)
    ]
    with pytest.raises(SpaceError, match="one weight from 1 for each option"):
        Choice(("a", "b"), weights=(1,))
