"""The choice of a loss: every draw is canonical, its encoding gives it back, and what the grammar promises holds."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.candidate import canonical, digest, from_json, to_json
from search_spaces.loss import Loss
from search_spaces.loss_battery import fault_of
from search_spaces.loss_presets import LossPreset, loss_presets
from search_spaces.loss_space import TERMS
from search_spaces.narrow import narrow
from search_spaces.preset import load_preset, losses_inside, preset_candidates
from search_spaces.space import decode, encode, load_space, mutate, sample

LOSSES = load_space("losses")
OUTSIDE = {"dice", "lovasz_softmax", "generalised_dice_boundary", "hausdorff_distance_dice", "combo"}
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_a_draw_is_canonical_and_its_encoding_gives_it_back(seed: int) -> None:
    rng = random.Random(seed)
    candidate = sample(LOSSES, rng)
    assert canonical(candidate) == candidate
    assert decode(LOSSES, encode(LOSSES, candidate)) == candidate
    assert from_json(Loss, to_json(candidate.loss)) == candidate.loss
    encode(LOSSES, mutate(LOSSES, candidate, rng))


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_the_grammar_holds(seed: int) -> None:
    terms = [weighted.term for weighted in sample(LOSSES, random.Random(seed)).loss.terms]
    roles = Counter(term.role for term in terms)
    assert terms[0].role == "distribution" and roles["distribution"] == 1
    assert roles["region"] <= 1 and roles["boundary"] <= 1 and roles["regulariser"] <= 2
    assert len({term.kind for term in terms}) == len(terms)


def test_every_term_and_every_length_is_drawn() -> None:
    rng = random.Random(0)
    drawn = [sample(LOSSES, rng).loss for _ in range(400)]
    assert {weighted.term.kind for loss in drawn for weighted in loss.terms} == set(TERMS)
    assert {len(loss.terms) for loss in drawn} == {1, 2, 3, 4, 5}
    assert {weighted.schedule.kind for loss in drawn for weighted in loss.terms} == {
        "constant", "boundary_ramp", "step_on", "gauss_ramp",
    }  # fmt: skip


def test_names_of_losses_are_told_apart() -> None:
    names = [preset.name for preset in loss_presets()]
    assert len(set(names)) == len(names)
    assert len({canonical(preset.loss) for preset in loss_presets()}) == len(names)


@pytest.mark.parametrize("preset", loss_presets(), ids=lambda preset: preset.name)
def test_a_named_loss_passes_the_battery(preset: LossPreset) -> None:
    assert fault_of(canonical(preset.loss), num_classes=3) is None


def test_a_search_over_losses_begins_with_the_named_ones_that_it_holds() -> None:
    inside = losses_inside(LOSSES)
    first = preset_candidates(LOSSES)
    assert first[0] == ("small_unet", load_preset("small_unet").candidate())
    names = {name for name, _ in first}
    assert {"focal_dice", "top_k_dice", "cross_entropy_consistency"} <= names
    assert not names & OUTSIDE and not any(inside[name] for name in OUTSIDE)
    digests = [digest(candidate) for _, candidate in first]
    assert len(set(digests)) == len(digests)


def test_other_spaces_begin_as_they_did() -> None:
    compact = load_space("compact")
    assert not {name for name, _ in preset_candidates(compact)} & {preset.name for preset in loss_presets()}
    assert losses_inside(compact)["cross_entropy_dice"] and not losses_inside(compact)["lovasz_softmax"]


def test_a_loss_with_a_schedule_has_another_digest_and_one_without_its_old_one() -> None:
    base = load_preset("small_unet").candidate()
    assert digest(base) == "710d83292c39f1f4d122f1eafeffcd0f"  # as before schedules existed
    scheduled = next(preset.loss for preset in loss_presets() if preset.name == "generalised_dice_boundary")
    still = Loss(
        tuple(
            replace(weighted, schedule=type(base.loss.terms[0].schedule)())
            for weighted in scheduled.terms[:1]
        )
    )
    assert digest(replace(base, loss=scheduled)) != digest(replace(base, loss=still))


def test_named_losses_come_first_also_where_no_network_preset_is_inside() -> None:
    kind = load_preset("small_unet").candidate().loss.terms[0].term.kind
    assert kind != "focal"
    narrowed = narrow(LOSSES, {"loss.terms.0.term.kind": "focal"})
    names = [name for name, _ in preset_candidates(narrowed)]
    assert names and "small_unet" not in names
    assert set(names) <= {name for name, inside in losses_inside(narrowed).items() if inside}
