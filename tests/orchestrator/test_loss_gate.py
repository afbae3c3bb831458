"""The gate of losses: what it lets pass, what it names, and that equal losses are looked at once."""

import random
from dataclasses import replace

from orchestrator.loss_gate import fault_of_space, make_loss_gate
from search_spaces.candidate import Candidate
from search_spaces.domain import Choice
from search_spaces.loss import Loss, Weighted
from search_spaces.loss_battery import fault_of
from search_spaces.loss_presets import loss_presets
from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.detection import Detection
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.topology import Topology
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.preset import load_preset
from search_spaces.space import Choose, Space, load_space, sample
from workers.trainer import GIVEN


def test_training_gives_what_any_named_loss_needs() -> None:
    assert frozenset().union(*(preset.loss.needs for preset in loss_presets())) <= GIVEN


def test_losses_of_the_compact_space_pass() -> None:
    gate, rng = make_loss_gate(3), random.Random(1)
    assert [gate(sample(load_space("compact"), rng).loss) for _ in range(5)] == [None] * 5


def test_a_loss_of_the_network_itself_passes_but_for_regions() -> None:
    loss = Loss((Weighted(Detection()),))
    assert make_loss_gate(3)(loss) is None
    fault = make_loss_gate(2, regions=True)(loss)
    assert fault is not None and fault.lacks == "needs" and "leave out data.regions" in fault.message


def test_a_loss_is_refused_with_its_property() -> None:
    gate = make_loss_gate(2)
    heavy = gate(Loss((Weighted(CrossEntropy()), Weighted(ActiveContour(), 5.0))))
    assert heavy is not None and heavy.lacks in ("monotone", "minimal", "recovers")
    unfit = gate(Loss((Weighted(CrossEntropy()), Weighted(Topology()))))
    assert unfit is not None and unfit.lacks == "fits"


def test_equal_losses_are_looked_at_once() -> None:
    gate = make_loss_gate(2)
    plain = Loss((Weighted(CrossEntropy()), Weighted(Dice(), 0.125)))
    same = Loss(
        (Weighted(Dice()), Weighted(Focal(gamma=0.0), -0.125))
    )  # cross-entropy by another name, in another order
    gate(plain)
    before = fault_of.cache_info()
    gate(same)
    after = fault_of.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_a_space_whose_only_loss_cannot_train_is_told_before_a_search() -> None:
    good = Loss((Weighted(CrossEntropy()),))
    many = Loss((Weighted(WeightedCrossEntropy((1.0, 2.0, 3.0, 4.0))),))
    gate = make_loss_gate(3)

    def with_losses(*losses: Loss) -> Space:
        def space(choose: Choose) -> Candidate:
            found = load_preset("small_unet").candidate()
            return replace(found, loss=losses[choose("which", Choice(tuple(range(len(losses)))))])

        return space

    assert fault_of_space(with_losses(good), gate) is None
    fault = fault_of_space(with_losses(many), gate)
    assert fault is not None and "4 weights given for 3 classes; leave some out" in fault.message
    assert fault_of_space(with_losses(many, good), gate) is None  # the search turns down one of two
