"""Counting, listing and narrowing, against listing every trace one by one."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Integer, Real
from search_spaces.errors import NotInSpaceError, SpaceError
from search_spaces.exploration import decides, is_exact, paths, size
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.focal import Focal
from search_spaces.narrow import narrow
from search_spaces.preset import load_preset
from search_spaces.recipe import Augmentation
from search_spaces.space import Choose, Space, Trace, domains_of, encode, load_space, sample, trace_of

BASE = load_preset("small_unet").candidate()
COMPACT = load_space("compact")


def small(choose: Choose) -> Candidate:
    """A condition, a domain that depends on a decision, a real."""
    kind = choose("loss.terms.0.term.kind", Choice(("cross_entropy", "focal")))
    focal = kind == "focal"
    term = Focal(choose("loss.terms.0.term.gamma", Choice((1.0, 2.0, 3.0)))) if focal else CrossEntropy()
    rates = Choice((0.0, 10.0)) if focal else Choice((0.0, 10.0, 20.0))
    augmentation = Augmentation(
        rotate_deg=choose("recipe.augmentation.rotate_deg", rates),
        noise=choose("recipe.augmentation.noise", Choice((0.0, 0.1))),
    )
    rate = choose("recipe.learning_rate", Real(1e-3, 1e-2))
    recipe = replace(BASE.recipe, learning_rate=rate, augmentation=augmentation)
    return replace(BASE, loss=Loss((Weighted(term),)), recipe=recipe)


def every_trace(space: Space, start: Trace) -> Iterator[Trace]:
    """All traces, a continuum standing for its first value, by trying one after another."""
    _, trace = trace_of(space, lambda path, domain: _given(start, path, domain))
    domains = domains_of(space, trace)
    for path, domain in domains.items():
        if path not in start:
            values = domain.values() or (domain.first,)
            for value in values:
                yield from every_trace(space, start | {path: domain.to_scalar(value)})
            return
    yield trace


def _given(start, path, domain):  # type: ignore[no-untyped-def]  # of any types
    return domain.from_scalar(start[path]) if path in start else domain.first


def test_size_is_the_number_of_traces() -> None:
    traces = list(every_trace(small, {}))
    assert size(small, real_values=1) == len(traces) == (3 + 3 * 2) * 2
    assert size(small) == 10 * len(traces)


def test_size_of_compact_is_recorded() -> None:
    assert size(COMPACT, real_values=1) == 34_456_276_712_632_320_000


def test_paths_lists_conditional_ones_with_all_their_domains() -> None:
    found = paths(small)
    assert len(found["recipe.augmentation.rotate_deg"]) == 2
    assert found["loss.terms.0.term.gamma"] == (Choice((1.0, 2.0, 3.0)),)


def test_large_integers_are_counted_without_listing() -> None:
    def space(choose: Choose) -> Candidate:
        choose("recipe.learning_rate", Integer(1, 10_000))
        return BASE

    assert size(space) == 10_000


@pytest.mark.parametrize(
    ("fix", "number"),
    [
        ({"kind": "focal"}, 12),
        ({"gamma": [1.0, 2.0]}, 14),
        ({"recipe.augmentation.noise": 0}, 9),
        ({"gamma": {"low": 1.5}}, 14),
        ({"rotate_deg": 20, "kind": "cross_entropy"}, 2),
    ],
)
def test_a_fix_leaves_what_meets_it(fix: dict[str, object], number: int) -> None:
    assert size(narrow(small, fix), real_values=1) == number


def test_reals_are_narrowed_to_an_interval_or_pinned() -> None:
    rng = random.Random(0)
    narrowed = narrow(small, {"learning_rate": {"low": 0.004, "high": 0.005}})
    assert all(0.004 <= sample(narrowed, rng).recipe.learning_rate <= 0.005 for _ in range(30))
    assert sample(narrow(small, {"learning_rate": 0.004}), rng).recipe.learning_rate == 0.004


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ({"knd": "focal"}, r"fix\.knd: unknown choice 'knd'; did you mean 'kind'"),
        (
            {"kind": "focl"},
            r"fix\.kind: 'focl' given; did you mean 'focal'\? Allowed are cross_entropy, focal",
        ),
        ({"noise": 0.2}, r"fix\.noise: 0\.2 given; did you mean '0\.1'"),
        ({"learning_rate": {"low": 1}}, r"fix\.learning_rate: .* allowed are numbers from 0\.001 to 0\.01"),
        (
            {"learning_rate": {"low": 0.01, "high": 0.004}},
            r"fix\.learning_rate: low 0\.01 is above high 0\.004",
        ),
        ({"learning_rate": {"from": 1}}, r"fix\.learning_rate: .* allowed are numbers from"),
        ({"kind": "cross_entropy", "gamma": 1}, r"no candidate that meets the other fixes has .*gamma"),
        ({"kind": "focal", "rotate_deg": 20}, r"rotate_deg cannot be 20 .* allowed are 0\.0, 10\.0"),
        ({"kind": "focal", "loss.terms.0.term.kind": "focal"}, r"fixed twice"),
    ],
)
def test_a_fix_that_cannot_be_met_says_why(fix: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        narrow(small, fix)


def test_compact_narrowed_as_a_job_file_writes_it() -> None:
    narrowed = narrow(COMPACT, {"context.kind": "aspp", "context.rates": [1, 2, 4]})
    context = sample(narrowed, random.Random(0)).architecture.context
    assert context.kind == "aspp"
    assert context.rates == (1, 2, 4)  # type: ignore[attr-defined]  # it is an Aspp
    encode(narrowed, load_preset("small_deeplabv3plus").candidate())
    with pytest.raises(NotInSpaceError, match=r"context\.kind: 'none' is not in the space; allowed are aspp"):
        encode(narrowed, BASE)


def test_an_ambiguous_ending_lists_the_paths() -> None:
    with pytest.raises(
        SpaceError, match=r"several choices end in it; write one of .*encoder\.cell\.residual"
    ):
        narrow(COMPACT, {"cell.residual": True})


def test_a_space_too_large_to_walk_through_is_drawn_from() -> None:
    def many(choose: Choose) -> Candidate:
        """A tree with 3 ** 10 leaves, of which each candidate is one of two at a leaf."""
        trail = ""
        for _ in range(10):
            trail += str(choose(f"trail{trail}", Choice((0, 1, 2))))
        return replace(BASE, recipe=replace(BASE.recipe, warmup=choose("recipe.warmup", Choice((0.0, 0.05)))))

    assert decides(many, "recipe.warmup") and not decides(many, "trail2")
    assert not is_exact(many)
    assert size(many) == 2 * 3**10  # the same in every draw here, so the estimate is the number
    assert "trail000" in paths(many) and len(paths(many)) > 300
    assert is_exact(small)


def test_a_space_narrowed_alike_is_walked_once() -> None:
    walks = 0

    def space(choose: Choose) -> Candidate:
        nonlocal walks
        walks += 1
        return COMPACT(choose)

    fix = {"architecture.encoder.width": [8, 16], "recipe.optimiser": "adamw"}
    one = narrow(space, fix)
    before = walks
    other = narrow(space, dict(reversed(fix.items())))
    assert one == other and hash(one) == hash(other) and walks == before
    assert one != narrow(space, {**fix, "recipe.optimiser": "sgd"}) and walks > before
