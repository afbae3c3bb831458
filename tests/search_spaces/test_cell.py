"""Cells: one canonical form for each graph."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.cell import Cell, Node, chain
from search_spaces.codec import canonical, json_text
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.operations.conv import Conv
from search_spaces.operations.identity import Identity
from search_spaces.operations.separable import Separable

OPERATIONS: tuple[Operation, ...] = (Conv(3), Conv(1), Separable(3), Identity())


@st.composite
def cells(draw: st.DrawFn, most: int = 5) -> Cell:
    nodes = []
    for place in range(draw(st.integers(1, most))):
        sources = draw(st.lists(st.integers(0, place), min_size=1, max_size=3, unique=True))
        nodes.append(Node(draw(st.sampled_from(OPERATIONS)), tuple(sources)))
    return Cell(tuple(nodes), residual=draw(st.booleans()))


def renumbered(cell: Cell, seed: int) -> Cell:
    """The same graph with its nodes in another order, sources first, and inputs shuffled."""
    rng = random.Random(seed)
    new, nodes = {0: 0}, []
    while len(nodes) < len(cell.nodes):
        ready = [i for i, node in enumerate(cell.nodes, 1) if i not in new and set(node.inputs) <= set(new)]
        chosen = rng.choice(ready)
        inputs = [new[source] for source in cell.nodes[chosen - 1].inputs]
        rng.shuffle(inputs)
        nodes.append(Node(cell.nodes[chosen - 1].operation, tuple(inputs)))
        new[chosen] = len(nodes)
    return Cell(tuple(nodes), residual=cell.residual)


@given(cells(), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_numbering_of_nodes_does_not_matter(cell: Cell, seed: int) -> None:
    assert canonical(renumbered(cell, seed)) == canonical(cell)


@given(cells())
@settings(max_examples=80, deadline=None)
def test_canonical_form_is_stable(cell: Cell) -> None:
    once = canonical(cell)
    assert canonical(once) == once


def test_twins_that_are_used_differently_are_told_apart() -> None:
    shared = Cell((Node(Conv(3)), Node(Conv(3)), Node(Conv(1), (1,)), Node(Conv(1), (1,))))
    apart = Cell((Node(Conv(3)), Node(Conv(3)), Node(Conv(1), (1,)), Node(Conv(1), (2,))))
    assert json_text(canonical(shared)) != json_text(canonical(apart))


@given(cells(most=4), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_equal_graphs_compute_the_same(cell: Cell, seed: int) -> None:
    layers = Layers(2)
    results = []
    for form in (cell, renumbered(cell, seed)):
        torch.random.default_generator.manual_seed(5)
        module = form.build(layers, 3, 4)
        results.append(module(torch.linspace(-1, 1, 96).view(2, 3, 4, 4)))
    assert torch.equal(*results)


def test_loose_ends_and_the_input_are_summed() -> None:
    module = Cell((Node(Identity()), Node(Identity())), residual=True).build(Layers(2), 2, 2)
    x = torch.ones(1, 2, 4, 4)
    assert torch.equal(module(x), 3 * x)


def test_chain_is_one_after_another() -> None:
    assert chain(Conv(3), Conv(5)).nodes == (Node(Conv(3), (0,)), Node(Conv(5), (1,)))


def test_a_rate_of_a_single_pixel_vanishes() -> None:
    assert canonical(chain(Conv(1, rate=4))) == chain(Conv(1))


@pytest.mark.parametrize("inputs", [(), (1,), (0, 0), (-1,)])
def test_impossible_inputs_are_refused(inputs: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match=r"cell\.nodes\.0\.inputs"):
        Cell((Node(Conv(3), inputs),))


def test_a_cell_has_one_to_eight_nodes() -> None:
    with pytest.raises(SpaceError, match="0 nodes given; 1 to 8"):
        Cell(())
    with pytest.raises(SpaceError, match="9 nodes given"):
        chain(*[Conv(3)] * 9)
