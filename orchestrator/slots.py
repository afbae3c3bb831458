"""How a machine or a cluster is divided into slots: one trial a card, or all cores in equal slots."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from orchestrator.job import Resources


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
    """

    count: int
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    whole: int = 1
    nodes: int = 1


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

    With cards, a slot has one card and the cores of its node shared equally among the cards (at least ``slot_cpus``, and within
    ``cpus`` in all).
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
    threads = max(resources.slot_cpus, min(node.cpus // node.gpus for node in with_cards), 1)
    count = sum(min(node.gpus, node.cpus // threads) for node in with_cards)
    if count == 0:
        most = max(node.cpus for node in with_cards)
        raise ResourceError(
            "slot_cpus", f"no node with a card has {threads} cores for one slot (largest {most})."
        )
    if isinstance(resources.gpus, int):
        count = min(count, resources.gpus)
    if isinstance(resources.cpus, int):
        count = min(count, resources.cpus)
        threads = max(1, min(threads, resources.cpus // count))
    return Slots(count, threads, "cuda", 1, len(with_cards))
