"""The laws that hold for any space, on ``compact``."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.candidate import Candidate, architecture_digest, canonical, digest, from_json, to_json
from search_spaces.domain import Choice, Integer
from search_spaces.errors import NotInSpaceError, SpaceError
from search_spaces.preset import load_preset, preset_candidates
from search_spaces.space import (
    Choose,
    crossover,
    decode,
    domains_of,
    encode,
    load_space,
    mutate,
    neighbours,
    sample,
    space_names,
    trace_of,
)

COMPACT = load_space("compact")
GOLDEN = {
    "small_unet": "710d83292c39f1f4d122f1eafeffcd0f",
    "small_deeplabv3plus": "8445e95ba161dedbbf7dd4163f59dab5",
    "small_unet_full": "cee9a0e1305f4e1533a47dbce01b083c",
    "unet": "8148c592eb0882fff4d8aef90cc72d37",
}
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> Candidate:
    return sample(COMPACT, random.Random(seed))


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_decoding_an_encoding_gives_the_candidate_back(seed: int) -> None:
    candidate = drawn(seed)
    trace = encode(COMPACT, candidate)
    assert decode(COMPACT, trace) == candidate
    assert encode(COMPACT, decode(COMPACT, trace)) == trace


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_canonical_form_is_reached_in_one_step(seed: int) -> None:
    candidate = drawn(seed)
    assert canonical(candidate) == candidate


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_json_gives_the_candidate_back(seed: int) -> None:
    candidate = drawn(seed)
    again = from_json(Candidate, to_json(candidate))
    assert again == candidate
    assert digest(again) == digest(candidate)


@given(seeds, seeds)
@settings(max_examples=60, deadline=None)
def test_a_mutant_is_another_candidate_of_the_space(seed: int, other: int) -> None:
    candidate = drawn(seed)
    mutant = mutate(COMPACT, candidate, random.Random(other))
    assert digest(mutant) != digest(candidate)
    encode(COMPACT, mutant)


@given(seeds, seeds, seeds)
@settings(max_examples=40, deadline=None)
def test_a_child_lies_in_the_space_and_takes_each_part_from_a_parent(
    first: int, second: int, seed: int
) -> None:
    mother, father = drawn(first), drawn(second)
    child = crossover(COMPACT, mother, father, random.Random(seed))
    encode(COMPACT, child)
    for part in ("encoder", "context", "skip", "decoder", "norm", "activation"):
        parents = (getattr(mother.architecture, part), getattr(father.architecture, part))
        assert getattr(child.architecture, part) in parents
    assert crossover(COMPACT, mother, mother, random.Random(seed)) == mother


@given(seeds)
@settings(max_examples=2, deadline=None)
def test_neighbours_lie_in_the_space_and_never_repeat(seed: int) -> None:
    candidate = drawn(seed)
    found = neighbours(COMPACT, candidate)
    digests = [digest(near) for near in found]
    assert digest(candidate) not in digests
    assert len(set(digests)) == len(digests) > 20
    for near in found[::10]:
        encode(COMPACT, near)


def test_neighbours_of_plain_choices_are_mutual() -> None:
    candidate = load_preset("small_unet").candidate()
    wide = replace(candidate, architecture=replace(candidate.architecture, norm="group"))
    assert canonical(wide) in neighbours(COMPACT, candidate)
    assert canonical(candidate) in neighbours(COMPACT, wide)


def test_same_seed_same_candidate() -> None:
    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_presets_of_compact() -> None:
    names = [name for name, _ in preset_candidates(COMPACT)]
    assert names == ["small_deeplabv3plus", "small_unet", "small_unet_full"]


def test_a_candidate_outside_names_path_value_and_domain() -> None:
    with pytest.raises(
        NotInSpaceError, match=r"architecture\.encoder\.width: 64 is not in the space; allowed"
    ):
        encode(COMPACT, load_preset("unet").candidate())


def test_what_a_space_never_asks_is_checked_too() -> None:
    candidate = load_preset("small_unet").candidate()
    preprocessing = replace(candidate.preprocessing, crop="nonzero")
    with pytest.raises(NotInSpaceError, match=r"preprocessing\.crop: 'nonzero' .* always 'none'"):
        encode(COMPACT, replace(candidate, preprocessing=preprocessing))


def test_a_trace_with_a_missing_left_over_or_wrong_decision_is_refused() -> None:
    trace = encode(COMPACT, load_preset("small_unet").candidate())
    with pytest.raises(SpaceError, match=r"recipe\.learning_rate is missing"):
        decode(COMPACT, {path: value for path, value in trace.items() if path != "recipe.learning_rate"})
    with pytest.raises(SpaceError, match=r"architecture\.context\.rates is no decision"):
        decode(COMPACT, trace | {"architecture.context.rates": "1,2,4"})
    with pytest.raises(
        SpaceError, match=r"architecture\.norm: 'layer' given; allowed are batch, instance, group"
    ):
        decode(COMPACT, trace | {"architecture.norm": "layer"})


def test_recorder_returns_decisions_and_their_domains() -> None:
    rng = random.Random(0)
    candidate, trace = trace_of(COMPACT, lambda path, domain: domain.draw(rng))
    assert decode(COMPACT, trace) == candidate
    domains = domains_of(COMPACT, trace)
    assert list(domains) == list(trace)
    assert domains["architecture.encoder.stages"] == Integer(3, 5)


def test_a_space_of_one_candidate_cannot_mutate() -> None:
    def one(choose: Choose) -> Candidate:
        choose("architecture.norm", Choice(("batch",)))
        return load_preset("small_unet").candidate()

    with pytest.raises(SpaceError, match="no other candidate"):
        mutate(one, sample(one, random.Random(0)), random.Random(0))


def test_loading_spaces() -> None:
    assert "compact" in space_names()
    assert load_space("search_spaces.spaces.compact:compact") is COMPACT
    with pytest.raises(SpaceError, match="did you mean 'compact'"):
        load_space("compct")
    with pytest.raises(SpaceError, match="cannot be loaded"):
        load_space("no_such_module:space")
    with pytest.raises(SpaceError, match="no function"):
        load_space("search_spaces.spaces.compact:NORMS")


@pytest.mark.parametrize("name", GOLDEN)
def test_digests_of_presets_never_change(name: str) -> None:
    assert digest(load_preset(name).candidate()) == GOLDEN[name]


def test_digest_does_not_depend_on_the_process() -> None:
    code = (
        "from search_spaces.candidate import digest; from search_spaces.preset import load_preset; "
        "print(digest(load_preset('small_unet').candidate()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == GOLDEN["small_unet"]


def test_architecture_digest_leaves_the_rest_out() -> None:
    candidate = load_preset("small_unet").candidate()
    other = replace(candidate, recipe=replace(candidate.recipe, learning_rate=0.5))
    assert architecture_digest(candidate) == architecture_digest(other)
    assert digest(candidate) != digest(other)


TWICE = """
from search_spaces.space import Choice
from search_spaces.spaces.compact import compact
def twice(choose):
    choose("recipe.warmup", Choice((0.0, 0.1)))
    return compact(choose)
def endless(choose):
    count = 0
    while True:
        count += 1
        choose(f"more.{count}", Choice((0, 1)))
def nothing(choose):
    return None
def fine(choose):
    return compact(choose)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "twice",
            r"space mine:twice: recipe\.warmup is chosen twice, once among 0\.0, 0\.1, once among 0\.0, 0\.05",
        ),
        (
            "endless",
            r"space mine:endless: more than 10,000 decisions for one candidate, the last about more\.10001",
        ),
        ("nothing", r"space mine:nothing: it returned None; a Candidate is needed"),
    ],
)
def test_a_users_space_is_tried_before_it_is_used(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(TWICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(SpaceError, match=message):
        load_space(f"mine:{name}")
    assert isinstance(sample(load_space("mine:fine"), random.Random(0)), Candidate)
