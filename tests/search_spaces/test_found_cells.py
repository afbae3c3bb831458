"""Cells that searches found: numbers of their papers, paths through the trellis, and one form for equal cells."""

import random
from dataclasses import replace
from itertools import product

import pytest
import torch

from search_spaces.autodeeplab import BEST_CELL, autodeeplab
from search_spaces.codec import canonical, json_text
from search_spaces.contexts.dpc import BEST, Dpc, DpcBranch
from search_spaces.encoders.trellis import Block, Taken, Trellis
from search_spaces.encoders.wide_resnet import WideResnet
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.nas_unet import UP, nas_unet
from search_spaces.network import build_model
from search_spaces.operations.conv import Conv
from search_spaces.operations.pool import Pool
from search_spaces.operations.zero import Zero
from search_spaces.profile import profile
from search_spaces.scale_cells import ScaleCell, Step, Sum, check_nodes, tidy_nodes


@pytest.mark.parametrize(("width", "millions"), [(20, 10.15), (32, 21.62), (48, 44.42)])
def test_autodeeplab_has_the_parameters_of_its_paper(width: int, millions: float) -> None:
    found = profile(autodeeplab(width), 3, 19, (64, 64)).parameters
    assert round(found / 1e6, 2) == millions  # Table 2


@pytest.mark.parametrize(("width", "channels", "known"), [(32, (1, 2), 485_746), (48, (3, 21), 1_093_023)])
def test_nas_unet_has_the_parameters_of_its_code_but_for_idle_ones(
    width: int, channels: tuple[int, int], known: int
) -> None:
    idle = 2 * channels[1]  # a norm of the logits that is never called
    assert profile(nas_unet(width), *channels, (64, 64)).parameters == known - idle


def test_a_path_goes_down_and_up_and_ends_at_its_stride() -> None:
    blocks = (Block(Taken(Conv(3)), Taken(Pool("mean"), 1)),)
    encoder = Trellis(4, blocks, path=(0, 1, 2, 3, 2, 1, 0), stem=4)
    assert encoder.levels().strides == (2, 4, 4)
    maps = encoder.build(Layers(2), 1)(torch.zeros(2, 1, 24, 40)).maps  # no multiple of 32
    assert [tuple(x.shape) for x in maps] == [(2, 4, 12, 20), (2, 4, 6, 10), (2, 4, 6, 10)]


def test_a_path_that_never_leaves_stride_4_ends_where_its_fine_map_is() -> None:
    encoder = Trellis(4, (Block(Taken(Conv(3)), Taken(Pool("mean"), 1)),), path=(0, 0), stem=4)
    assert encoder.levels().strides == (2, 4, 4)
    _, fine, deep = encoder.build(Layers(2), 1)(
        torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    ).maps
    assert torch.equal(fine.relu(), deep) and not torch.equal(fine, deep)


@pytest.mark.parametrize("path", [(2,), (0, 2), (0, 1, 2, 3, 4), (0, -1)])
def test_a_path_that_jumps_is_refused(path: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match="steps of one at most"):
        Trellis(4, BEST_CELL, path)


def shuffled_blocks(rng: random.Random) -> tuple[Block, ...]:
    """The best cell, its blocks numbered otherwise and the two inputs of a block swapped at random."""
    order: list[int] = []
    while len(order) < len(BEST_CELL):
        ready = [
            i
            for i, block in enumerate(BEST_CELL)
            if i not in order and {block.first.source, block.second.source} <= {0, 1, *(2 + j for j in order)}
        ]
        order.append(rng.choice(ready))
    new = {0: 0, 1: 1} | {2 + old: 2 + place for place, old in enumerate(order)}
    blocks = []
    for old in order:
        pair = [replace(t, source=new[t.source]) for t in (BEST_CELL[old].first, BEST_CELL[old].second)]
        rng.shuffle(pair)
        blocks.append(Block(*pair))
    return tuple(blocks)


def test_a_cell_of_blocks_has_one_form_however_it_is_numbered() -> None:
    rng = random.Random(0)
    cells = [shuffled_blocks(rng) for _ in range(30)]
    assert len(set(cells)) > 10
    assert len({json_text(canonical(Trellis(4, blocks))) for blocks in cells}) == 1
    other = (*BEST_CELL[:-1], Block(Taken(Conv(3), 3), Taken(Conv(3), 4)))
    assert canonical(Trellis(4, other)) != canonical(Trellis(4, BEST_CELL))


def test_a_prediction_cell_has_one_form_however_it_is_numbered() -> None:
    a, b, c, d, e = BEST
    other = (a, replace(d, source=1), replace(e, source=1), replace(b, source=1), replace(c, source=4))
    assert other != BEST and canonical(Dpc(8, other)) == canonical(Dpc(8, BEST))
    assert canonical(Dpc(8, (a, b, c, d, replace(e, source=0)))) != canonical(Dpc(8, BEST))


def test_twins_of_a_prediction_cell_may_swap_their_users() -> None:
    twin, user = DpcBranch(("conv", 1, 1), 0), ("atrous", 3, 3)
    first, second = (Dpc(8, (twin, twin, DpcBranch(user, source))) for source in (1, 2))
    assert canonical(first) == canonical(second)


@pytest.mark.parametrize(
    "branch", [DpcBranch(("conv", 3, 3)), DpcBranch(("atrous", 0, 1)), DpcBranch(("pool", 1, 1), 1)]
)
def test_a_wrong_branch_is_refused(branch: DpcBranch) -> None:
    with pytest.raises(SpaceError, match=r"dpc\.branches\.0"):
        Dpc(8, (branch,))


def test_rates_of_height_and_width_differ() -> None:
    module = Dpc(4, (DpcBranch(("atrous", 1, 3)),)).build(Layers(2, norm="none"), 1)
    x = torch.zeros(1, 1, 15, 15, requires_grad=True)
    module.branches[0][0][0](x)[0, 0, 7, 7].backward()
    assert x.grad is not None
    rows, columns = x.grad[0, 0].nonzero().T
    assert set(rows.tolist()) == {6, 7, 8} and set(columns.tolist()) == {4, 7, 10}


def test_nodes_have_one_form_and_refuse_what_cannot_be() -> None:
    swapped = tuple(Sum(node.second, node.first) for node in UP)
    assert tidy_nodes(swapped) == tidy_nodes(UP)
    with pytest.raises(SpaceError, match="source 2 given"):
        check_nodes((Sum(Step("identity", 0), Step("identity", 2)),), "nodes", ())
    with pytest.raises(SpaceError, match="up_conv given; allowed are"):
        check_nodes((Sum(Step("identity", 0), Step("up_conv", 1)),), "nodes", ("down_conv",))


def test_nas_unet_returns_to_full_size() -> None:
    network = build_model(nas_unet(4, depth=2), in_channels=1, num_classes=2, ndim=2, seed=0)
    assert network(torch.zeros(1, 1, 18, 23)).shape == (1, 2, 18, 23)


def test_zero_is_zero_even_for_a_change_of_channels() -> None:
    assert torch.equal(Zero().build(Layers(2), 2, 5)(torch.ones(1, 2, 3, 3)), torch.zeros(1, 5, 3, 3))


@pytest.mark.parametrize(("stride", "strides"), [(8, (1, 2, 4, 8)), (32, (1, 2, 4, 8, 16, 32))])
def test_a_wide_network_keeps_one_map_a_stride(stride: int, strides: tuple[int, ...]) -> None:
    encoder = WideResnet(2, output_stride=stride)  # type: ignore[arg-type]  # of the allowed ones
    assert encoder.levels().strides == strides
    maps = encoder.build(Layers(2), 1)(torch.zeros(2, 1, 64, 64)).maps
    assert [64 // x.shape[2] for x in maps] == list(strides)


def test_layers_and_inputs_that_nothing_takes_have_no_parameters() -> None:
    skipping = (Block(Taken(Conv(3), 1), Taken(Pool("mean"), 1)),)  # takes the layer before the last one only
    encoder = Trellis(8, skipping, path=(0, 0, 1, 1, 1))
    assert encoder.used() == {0, 1, 2, 4}  # the end, what it takes, and the map of stride 4
    network = encoder.build(Layers(2), 1)
    sum(x.sum() for x in network(torch.ones(2, 1, 32, 32)).maps).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    cell = ScaleCell((Sum(Step("conv", 1), Step("cweight", 1)),), Layers(2), (4, 4), 8, first_stride=1)
    cell(torch.ones(2, 4, 8, 8), torch.ones(2, 4, 8, 8), (8, 8)).sum().backward()
    assert all(weight.grad is not None for weight in cell.parameters())


@pytest.mark.parametrize("size", [(2, 2, 2), (1, 4, 2), (5, 4, 3)])
def test_means_of_maps_smaller_than_the_kernel_leave_the_border_out(size: tuple[int, ...]) -> None:
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    expected = torch.empty_like(x)
    for place in product(*(range(length) for length in size)):
        around = tuple(slice(max(p - 1, 0), p + 2) for p in place)
        expected[(0, 0, *place)] = x[(0, 0, *around)].mean()
    assert torch.allclose(Pool("mean").build(Layers(3), 1, 1)(x), expected, atol=1e-6)
