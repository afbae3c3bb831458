"""How machines become slots: worked out by hand."""

import pytest

from orchestrator.job import Resources
from orchestrator.slots import Node, ResourceError, Slots, divide

TWO = [Node("a", 4), Node("b", 3)]
CARDS = [Node("head", 0), Node("a", 16, 2), Node("b", 8, 4), Node("c", 32)]


@pytest.mark.parametrize(
    ("nodes", "resources", "slots"),
    [
        (TWO, Resources(), Slots(7, 1, "cpu", 4, 2)),
        (TWO, Resources(slot_cpus=2), Slots(3, 2, "cpu", 2, 2)),  # the odd core of b is left
        (TWO, Resources(cpus=2), Slots(2, 1, "cpu", 2, 2)),
        ([Node("head", 0), Node("a", 2)], Resources(), Slots(2, 1, "cpu", 2, 1)),
        (CARDS, Resources(), Slots(6, 2, "cuda", 1, 2)),  # b has 2 cores a card, a could have 8
        (CARDS, Resources(gpus=3), Slots(3, 2, "cuda", 1, 2)),
        (CARDS, Resources(slot_cpus=4), Slots(4, 4, "cuda", 1, 2)),  # b has cores for two cards only
        (CARDS, Resources(cpus=4), Slots(4, 1, "cuda", 1, 2)),
        # 12 trials on 6 cards; b has a core a trial, so a trial has one and a core is left
        (CARDS, Resources(trials_per_gpu=2), Slots(12, 1, "cuda", 1, 2, 2)),
        (CARDS, Resources(gpus=1, trials_per_gpu=3), Slots(3, 1, "cuda", 1, 2, 3)),
        ([Node("a", 16, 1)], Resources(trials_per_gpu=4), Slots(4, 4, "cuda", 1, 1, 4)),
        (CARDS, Resources(gpus=0), Slots(56, 1, "cpu", 32, 3)),
    ],
)
def test_slots(nodes: list[Node], resources: Resources, slots: Slots) -> None:
    assert divide(nodes, resources) == slots


@pytest.mark.parametrize(
    ("nodes", "resources", "key", "sentence"),
    [
        (TWO, Resources(gpus=1), "gpus", r"there are 0 GPUs in all \(largest node 0\); got 1"),
        (CARDS, Resources(gpus=16), "gpus", r"there are 6 GPUs in all \(largest node 4\); got 16"),
        (TWO, Resources(cpus=8), "cpus", "there are 7 cores in all; got 8"),
        (TWO, Resources(slot_cpus=5), "slot_cpus", r"no node has 5 cores for one slot \(largest 4\)"),
        (TWO, Resources(cpus=3, slot_cpus=4), "slot_cpus", r"no node has 4 cores for one slot \(largest 3\)"),
        (CARDS, Resources(slot_cpus=20), "slot_cpus", r"no node with a card has 20 cores .* \(largest 16\)"),
        ([Node("head", 0)], Resources(), "cpus", "no node offers a core"),
    ],
)
def test_what_no_node_has_is_named(nodes: list[Node], resources: Resources, key: str, sentence: str) -> None:
    with pytest.raises(ResourceError, match=sentence) as caught:
        divide(nodes, resources)
    assert caught.value.key == key
