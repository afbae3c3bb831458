"""The authors' volumetric Attention U-Net: its relatives' known numbers, and its parts."""

from dataclasses import replace

import pytest
import torch

from search_spaces.architecture import Architecture
from search_spaces.cell import chain
from search_spaces.codec import from_json, to_json
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.joined_scores import JoinedScores
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.decoders.scores import ScoresDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.decoders.unpool import UnpoolDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.operations.conv import Conv
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.skips.concat import Concat
from search_spaces.skips.grid_attention import GridAttention
from search_spaces.skips.none import NoSkip
from search_spaces.skips.score_sum import ScoreSum

MULTI = load_preset("attention_unet_3d").candidate().architecture
CELL = chain(Conv(3), Conv(3))


def test_relatives_have_their_known_parameters() -> None:
    single = replace(MULTI, skip=GridAttention(gates=1))
    plain = replace(MULTI, skip=Concat(), context=NoContext())
    assert profile(single, 1, 2, (32, 32, 32)).parameters == 6_213_613
    assert profile(plain, 1, 2, (32, 32, 32)).parameters == 5_887_466


def test_the_finest_skip_is_another() -> None:
    levels = Levels((4, 6, 8), (1, 2, 4))
    decoder = UNetDecoder(CELL, finest_skip=NoSkip()).build(Layers(2), levels, Concat(), 2)
    first_convs = [decoder.get_submodule(f"cells.{place}.operations.0.0") for place in (0, 1)]
    assert [conv.in_channels for conv in first_convs] == [12, 4]  # from deep to fine
    assert from_json(Architecture, to_json(MULTI)) == MULTI


def test_a_weight_between_nought_and_one_multiplies_the_fine_side() -> None:
    torch.manual_seed(0)
    module = GridAttention(gates=1).build(Layers(2, "none"), fine=3, coarse=5)
    gate = module.get_submodule("gates.0")
    gate.end = torch.nn.Identity()
    fine, coarse = torch.rand(1, 3, 8, 8) + 0.5, torch.randn(1, 5, 8, 8)
    weight = gate(fine, coarse) / fine
    assert (weight > 0).all() and (weight < 1).all()
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))


def test_scores_of_every_map_are_joined() -> None:
    torch.manual_seed(0)
    levels = Levels((4, 6, 8), (1, 2, 4))
    maps = [torch.randn(2, c, 8 // s, 8 // s) for c, s in zip(levels.channels, levels.strides, strict=True)]
    module = JoinedScores(NestedDecoder(CELL)).build(Layers(2), levels, Concat(), 3)
    [scores] = module(Features(maps, []))
    assert scores.shape == (2, 3, 8, 8)
    scores.square().sum().backward()
    assert all(weight.grad is not None for weight in module.parameters())


@pytest.mark.parametrize(("inner", "skip"), [(ScoresDecoder(), ScoreSum()), (UnpoolDecoder(), NoSkip())])
def test_decoders_that_classify_or_unpool_are_refused(
    inner: ScoresDecoder | UnpoolDecoder, skip: ScoreSum | NoSkip
) -> None:
    reason = JoinedScores(inner).refusal(Levels((4, 8), (1, 2)), skip)
    assert reason is not None and "joined_scores takes a decoder of features" in reason
