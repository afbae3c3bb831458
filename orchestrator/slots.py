"""How a machine or a cluster is divided into slots: one trial a card, or all cores in equal slots."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from orchestrator.job import Resources

LOADERS = 8  # processes that prepare batches for one card at most


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that runs trials.

    Attributes:
        name: Host name or address, for messages.
        cpus: Cores that it offers.
        gpus: Cards that it offers.
    """

    name: str
    cpus: int
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """What trials run in.

    Attributes:
        count: Slots side by side.
        threads: Cores of a slot.
        device: ``cuda`` where a slot has a card.
        whole: Slots that one leg may take at once: all cores of the largest node; one where a slot has a card.
        nodes: Machines that hold them.
        per_card: Slots that share a card, where they have one.
    """

    count: int
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    whole: int = 1
    nodes: int = 1
    per_card: int = 1

    @property
    def card_text(self) -> str:
        """What a slot has besides cores, for a user."""
        if self.device == "cpu":
            return ""
        return (
            " and a GPU each" if self.per_card == 1 else f" and a share of a GPU each ({self.per_card} a GPU)"
        )

    @property
    def loader_workers(self) -> int:
        """Processes that prepare the batches of a trial: the cores of its slot that do not feed the card."""
        return min(self.threads - 1, LOADERS) if self.device == "cuda" else 0


class ResourceError(ValueError):
    """A job asks for what no node has.

    Attributes:
        key: The key below ``resources``.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


def this_machine() -> tuple[Node, ...]:
    """The machine that this process runs on, with the cores that it may use."""
    import torch

    return (Node("this machine", len(os.sched_getaffinity(0)), torch.cuda.device_count()),)


def divide(nodes: Iterable[Node], resources: Resources) -> Slots:
    """The slots that a job's resources make of these nodes.

    With cards, a slot has one card, or its part of one where ``trials_per_gpu`` share it, and the cores of its node shared
    equally among these slots (at least ``slot_cpus``, and within ``cpus`` in all).
    Without, a slot has ``slot_cpus`` cores. A slot never spans nodes.

    Raises:
        ResourceError: More than there is: it would wait for ever.
    """
    able = [node for node in nodes if node.cpus > 0]
    cores, cards = sum(node.cpus for node in able), sum(node.gpus for node in able)
    if cores == 0:
        raise ResourceError("cpus", "no node offers a core to trials; add a worker node.")
    if isinstance(resources.gpus, int) and resources.gpus > cards:
        most = max(node.gpus for node in able)
        raise ResourceError(
            "gpus", f"there are {cards} GPUs in all (largest node {most}); got {resources.gpus}."
        )
    if isinstance(resources.cpus, int) and resources.cpus > cores:
        raise ResourceError("cpus", f"there are {cores} cores in all; got {resources.cpus}.")
    if cards and resources.gpus != 0:
        return _by_card(able, resources, cards)
    largest = max(able, key=lambda node: node.cpus)
    limit = largest.cpus if resources.cpus == "auto" else min(largest.cpus, resources.cpus)
    threads = resources.slot_cpus
    if threads > limit:
        raise ResourceError("slot_cpus", f"no node has {threads} cores for one slot (largest {limit}).")
    count = sum(node.cpus // threads for node in able)
    if resources.cpus != "auto":
        count = min(count, resources.cpus // threads)
    return Slots(count, threads, "cpu", min(count, largest.cpus // threads), len(able))


def _by_card(nodes: list[Node], resources: Resources, cards: int) -> Slots:
    with_cards = [node for node in nodes if node.gpus]
    per_card = resources.trials_per_gpu
    threads = max(resources.slot_cpus, min(node.cpus // (node.gpus * per_card) for node in with_cards), 1)
    count = sum(min(node.gpus * per_card, node.cpus // threads) for node in with_cards)
    if count == 0:
        most = max(node.cpus for node in with_cards)
        raise ResourceError(
            "slot_cpus", f"no node with a card has {threads} cores for one slot (largest {most})."
        )
    if isinstance(resources.gpus, int):
        count = min(count, resources.gpus * per_card)
    if isinstance(resources.cpus, int):
        count = min(count, resources.cpus)
        threads = max(1, min(threads, resources.cpus // count))
    return Slots(count, threads, "cuda", 1, len(with_cards), per_card)
