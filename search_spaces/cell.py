"""Cells: small graphs of operations, the genotype of encoders and decoders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from search_spaces.codec import canonical, json_text, text_digest
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation

MAX_NODES = (
    8  # canonical order compares the orders of look-alike nodes, of which there are few in small cells
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a cell.

    Attributes:
        operation: What is computed.
        inputs: Whose outputs are summed first: 0 is the cell's input, i the i-th node (from 1), earlier ones
            only.
    """

    operation: Operation
    inputs: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Cell:
    """A graph of operations with one input; outputs that no node takes are summed.

    Attributes:
        nodes: The operations, each after those it takes from.
        residual: Whether the input is added to the output (through a pointwise convolution where channels
            differ).
    """

    nodes: tuple[Node, ...]
    residual: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise SpaceError(f"cell.nodes: {len(self.nodes)} nodes given; 1 to {MAX_NODES} are allowed.")
        for place, node in enumerate(self.nodes, start=1):
            known = set(node.inputs) <= set(range(place))
            if not node.inputs or len(set(node.inputs)) != len(node.inputs) or not known:
                raise SpaceError(
                    f"cell.nodes.{place - 1}.inputs: {node.inputs} given; one or more different numbers "
                    f"from 0 (the cell's input) to {place - 1} are allowed."
                )

    def canonical(self) -> "Cell":
        """The same graph with its nodes in the one order that does not depend on how they were numbered."""
        best = min((_renumbered(self.nodes, order) for order in _orders(self.nodes)), key=json_text)
        return self if best == self.nodes else replace(self, nodes=best)

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        """The module of the canonical form.

        Shape:
            (N, in_channels, *S) -> (N, out_channels, *S).
        """
        return _CellModule(canonical(self), layers, in_channels, out_channels)


def chain(*operations: Operation, residual: bool = False) -> Cell:
    """A cell whose operations follow one another."""
    nodes = tuple(Node(operation, (place,)) for place, operation in enumerate(operations))
    return Cell(nodes, residual=residual)


class _CellModule(nn.Module):
    def __init__(self, cell: Cell, layers: Layers, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.inputs = [node.inputs for node in cell.nodes]
        taken = {source for node in cell.nodes for source in node.inputs}
        ends = [place for place in range(1, len(cell.nodes) + 1) if place not in taken]
        self.ends = [0, *ends] if cell.residual else ends
        joined = cell.residual or any(0 in inputs and len(inputs) > 1 for inputs in self.inputs)
        self.projection: nn.Module | None = None
        if joined and in_channels != out_channels:
            self.projection = layers.projection(in_channels, out_channels)
        self.operations = nn.ModuleList(
            node.operation.build(layers, in_channels if node.inputs == (0,) else out_channels, out_channels)
            for node in cell.nodes
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *S)."""
        projected = x if self.projection is None else self.projection(x)
        outputs = [projected]
        for inputs, operation in zip(self.inputs, self.operations, strict=True):
            outputs.append(operation(x if inputs == (0,) else _sum(outputs, inputs)))
        return _sum(outputs, self.ends)


def _sum(outputs: Sequence[Tensor], places: Sequence[int]) -> Tensor:
    total = outputs[places[0]]
    for place in places[1:]:
        total = torch.add(total, outputs[place])
    return total


def _orders(nodes: Sequence[Node]) -> Iterator[tuple[int, ...]]:
    """Orders of the nodes (from 0), sources first, that differ only among nodes that look alike."""
    colours = _colours(nodes)

    def extend(done: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(done) == len(nodes):
            yield done
            return
        placed = {0, *(index + 1 for index in done)}
        ready = [i for i, node in enumerate(nodes) if i not in done and set(node.inputs) <= placed]
        least = min(colours[i] for i in ready)
        for index in ready:
            if colours[index] == least:
                yield from extend((*done, index))

    return extend(())


def _colours(nodes: Sequence[Node]) -> list[str]:
    """What each node looks like: its operation and the looks around it (Weisfeiler-Leman refinement)."""
    colours = [json_text(node.operation) for node in nodes]
    for _ in nodes:
        up = [
            sorted("input" if source == 0 else colours[source - 1] for source in node.inputs)
            for node in nodes
        ]
        down = [
            sorted(colours[j] for j, user in enumerate(nodes) if place in user.inputs)
            for place in range(1, len(nodes) + 1)
        ]
        colours = [
            text_digest("|".join([own, *ins, "/", *outs]))
            for own, ins, outs in zip(colours, up, down, strict=True)
        ]
    return colours


def _renumbered(nodes: Sequence[Node], order: Sequence[int]) -> tuple[Node, ...]:
    new = {0: 0} | {old + 1: place for place, old in enumerate(order, start=1)}
    return tuple(
        Node(nodes[old].operation, tuple(sorted(new[source] for source in nodes[old].inputs)))
        for old in order
    )
