"""Fronts, crowding and hypervolume against slow and obvious versions."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.objective import Objective, Vector, objectives_of, vector_of
from orchestrator.engine.pareto import crowding, dominates, fronts, hypervolume, knee, ranking, spread

UNIT = st.integers(0, 6).map(float)


def points_of(length: int) -> st.SearchStrategy[list[Vector]]:
    return st.lists(st.tuples(*[UNIT] * length), min_size=1, max_size=14)


def peeled(points: list[Vector]) -> list[int]:
    """Fronts by their definition: peel off what none of the rest dominates."""
    found, left, level = [0] * len(points), set(range(len(points))), 0
    while left:
        level += 1
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for index in front:
            found[index] = level
        left -= front
    return found


@pytest.mark.parametrize("length", [1, 2, 3])
def test_fronts_are_those_of_the_definition(length: int) -> None:
    @settings(max_examples=80, deadline=None)
    @given(points_of(length))
    def check(points: list[Vector]) -> None:
        assert fronts(points) == peeled(points)

    check()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_hypervolume_counts_the_unit_cells_below_the_points(length: int) -> None:
    """On whole numbers the volume is the number of unit cells that some point covers."""

    @settings(max_examples=60, deadline=None)
    @given(points_of(length))
    def check(points: list[Vector]) -> None:
        cells = sum(
            any(all(corner < value for corner, value in zip(cell, point, strict=True)) for point in points)
            for cell in itertools.product(range(6), repeat=length)
        )
        assert hypervolume(points, (0.0,) * length) == cells

    check()


def test_hypervolume_by_hand() -> None:
    assert hypervolume([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], (0.0, 0.0)) == 6.0
    assert hypervolume([(1.0, 1.0)], (1.0, 0.0)) == 0.0  # not better than the reference in the first
    assert hypervolume([(2.0, 1.0, 1.0), (1.0, 2.0, 1.0), (1.0, 1.0, 2.0)], (0.0, 0.0, 0.0)) == 4.0


def test_crowding_by_hand() -> None:
    distances = crowding([(0.0, 10.0), (1.0, 4.0), (4.0, 0.0), (1.0, 4.0)])
    # 4/4 of the first range plus 10/10 of the second; equal points share it.
    assert distances == [math.inf, 2.0, math.inf, 2.0]


def test_ranking_prefers_fronts_then_room_then_the_cheap() -> None:
    points = [(1.0, 1.0), (0.0, 4.0), (4.0, 0.0), (2.0, 2.0), (2.1, 1.9), (0.5, 0.5)]
    order = ranking(points, [0.0] * 6)
    assert order[:2] == [2, 1] and set(order[2:4]) == {3, 4} and order[4:] == [0, 5]
    assert ranking([(1.0,), (2.0,), (1.0,)], [5.0, 9.0, 3.0]) == [1, 2, 0]


def test_knee_and_spread() -> None:
    front = [(0.9, -9.0), (0.89, -3.0), (0.6, -2.0), (0.3, -1.0)]
    assert knee(front) == 1
    assert spread(front, 1) == [0]
    assert spread(front, 2) == [0, 3]
    assert spread(front, 3) == [0, 3, 1]
    assert sorted(spread(front, 9)) == [0, 1, 2, 3]
    assert spread([], 3) == []


def test_objectives_of_a_job_put_what_is_learned_first() -> None:
    found = objectives_of({"minimize": ["parameters"], "maximize": ["dice", "miou"]})
    assert found == (Objective("dice"), Objective("miou"), Objective("parameters", "minimize"))
    assert objectives_of({"minimize": ["macs", "error"]}) == (
        Objective("error", "minimize"),
        Objective("macs", "minimize"),
    )
    assert vector_of(found, {"dice": 0.5, "miou": 0.25}, {"parameters": 3.0}) == (0.5, 0.25, -3.0)
    assert vector_of(found, {"dice": 0.5}, {"parameters": 3.0}) is None


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"minimize": ["parameters"]}, "at least one metric that training improves"),
        ({}, "got none"),
        ({"maximize": ["dice", "dice"]}, "'dice' is named twice"),
        ({"maximize": ["dice"], "minimize": ["dice"]}, "'dice' is named twice"),
        ({"maximize": ["dice", "macs"]}, "'macs' is a cost, which can only be minimised"),
    ],
)
def test_objectives_that_make_no_sense(wanted: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objectives_of(wanted)
