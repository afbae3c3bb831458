"""Domains: draws stay inside, traces are exact."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.domain import Choice, Domain, Integer, Real, quantise
from search_spaces.errors import SpaceError

DOMAINS: tuple[Domain[Any], ...] = (
    Choice(("a", 1, 2.5, None, True)),
    Choice(((1, 2), (1, 2, 4))),
    Choice((0.0, 0.05)),
    Integer(3, 11, step=2),
    Integer(1, 1000, log=True),
    Real(-2.0, 3.0),
    Real(3e-4, 1e-2, log=True),
)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_draws_and_neighbours_stay_inside_and_traces_are_exact(domain: Domain[object]) -> None:
    rng = random.Random(0)
    for _ in range(200):
        value = domain.draw(rng)
        assert domain.contains(value)
        assert domain.from_scalar(domain.to_scalar(value)) == value
        near = domain.neighbours(value)
        assert not any(type(item) is type(value) and item == value for item in near)
        assert all(domain.contains(item) for item in near)
    assert domain.contains(domain.first)


@given(st.floats(3e-4, 1e-2))
def test_a_sampler_may_suggest_any_number(number: float) -> None:
    domain = Real(3e-4, 1e-2, log=True)
    assert domain.from_scalar(number) == quantise(number)


def test_true_is_not_one() -> None:
    assert not Choice((1, 2)).contains(True)
    assert not Choice((True, False)).contains(1)
    assert not Integer(0, 3).contains(True)
    assert Choice((1, True)).from_scalar(True) is True


def test_whole_numbers_stand_for_reals() -> None:
    assert Choice((0.0, 0.5)).from_scalar(0) == 0.0
    assert Real(0.0, 2.0).from_scalar(1) == 1.0
    assert Integer(1, 5).from_scalar(2.0) == 2


def test_a_real_of_many_digits_is_outside() -> None:
    assert Real(0.0, 1.0).contains(0.1234)
    assert not Real(0.0, 1.0).contains(0.12345)
    assert not Real(0.0, 1.0).contains(math.nan)


def test_logarithmic_integers_are_drawn_evenly_in_the_logarithm() -> None:
    rng = random.Random(0)
    drawn = [Integer(1, 1024, log=True).draw(rng) for _ in range(4000)]
    share = sum(value <= 32 for value in drawn) / len(drawn)
    assert abs(share - math.log(65) / math.log(2049)) < 0.03  # about four standard deviations


def test_digest_is_golden() -> None:
    assert Choice(("a", "b")).digest == "2edac897f57e918783dc1e7bb9ce7a4c"
    assert Integer(1, 2).digest != Integer(1, 3).digest


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice(()),
        lambda: Choice((1, 1)),
        lambda: Choice(((1, 2), "1,2")),
        lambda: Integer(3, 1),
        lambda: Integer(0, 5, step=2),
        lambda: Integer(0, 5, log=True),
        lambda: Real(1.0, 1.0),
        lambda: Real(0.0, 1.0, log=True),
        lambda: Real(0.0, 0.123456),
    ],
)
def test_impossible_domains_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(SpaceError):
        make()
