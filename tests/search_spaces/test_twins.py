"""Architectures that build the same network are one candidate: what nothing reads has its default in the canonical form."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate, digest
from search_spaces.cell import chain
from search_spaces.codec import canonical
from search_spaces.context import Context
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.none import NoContext
from search_spaces.contexts.pyramid_pool import PyramidPool
from search_spaces.decoder import Decoder
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.decoders.finest import Finest
from search_spaces.decoders.fpn import FpnDecoder
from search_spaces.decoders.global_conv import GlobalConvDecoder
from search_spaces.decoders.guided_attention import GuidedAttentionDecoder
from search_spaces.decoders.joined_scores import JoinedScores
from search_spaces.decoders.linknet import LinkNetDecoder
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.decoders.refinenet import RefineNetDecoder
from search_spaces.decoders.scores import ScoresDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.errors import NotInSpaceError
from search_spaces.heads.conv import ConvHead
from search_spaces.heads.duc import DucHead
from search_spaces.heads.hidden import HiddenHead
from search_spaces.layers import Norm
from search_spaces.network import build_model
from search_spaces.operations.conv import Conv
from search_spaces.preset import holds, load_preset, preset_names
from search_spaces.skip import Skip
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip
from search_spaces.skips.score_sum import ScoreSum
from search_spaces.skips.sum import Sum
from search_spaces.space import Choice, Choose, decode, encode, load_space, mutate

CELL = chain(Conv(3))
CELLS = Cells(CELL, width=4, widest=64, stages=3)  # 4, 8, 16 channels
UNET = UNetDecoder(CELL)


def network(
    decoder: Decoder = UNET,
    skip: Skip | None = None,
    context: Context | None = None,
    norm: Norm = "batch",
    **more: Any,
) -> Architecture:
    return Architecture(CELLS, context or NoContext(), skip or Concat(), decoder, norm=norm, **more)


ONE = {
    "no stage is so wide": (network(), replace(network(), encoder=replace(CELLS, widest=16))),
    "a bias without a norm": (network(norm="none"), network(norm="none", conv_bias=True)),
    "an image's mean is normalised by batches only": (
        network(context=Aspp((1, 2), 8, image_norm=True), norm="group"),
        network(context=Aspp((1, 2), 8), norm="group"),
    ),
    "so is a grid of one cell": (
        network(context=PyramidPool(4, image_norm=False), norm="instance"),
        network(context=PyramidPool(4), norm="instance"),
    ),
    "scores need no head": (
        network(ScoresDecoder(), ScoreSum(), head=HiddenHead(8)),
        network(ScoresDecoder(), ScoreSum(), head=ConvHead(dropout=0.5)),
    ),
    "scores of the deepest level meet no skip": (
        network(ScoresDecoder(fused=0), ScoreSum()),
        network(ScoresDecoder(fused=0), Sum()),
    ),
    "more levels than there are": (
        network(ScoresDecoder(fused=2), Sum()),
        network(ScoresDecoder(fused=9), Sum()),
    ),
    "the finest map has no context": (
        network(Finest(), NoSkip(), Aspp((1,), 8)),
        network(Finest(), NoSkip()),
    ),
    "linknet with biases all over": (
        network(LinkNetDecoder(bias=True), Sum(), conv_bias=True),
        network(LinkNetDecoder(), Sum(), conv_bias=True),
    ),
    "linknet without a skip": (
        network(LinkNetDecoder(unskipped=2), Sum()),
        network(LinkNetDecoder(unskipped=3), NoSkip()),
    ),
    "the deepest width written out": (
        network(RefineNetDecoder(8, finest=1), Sum()),
        network(RefineNetDecoder(8, deepest_width=16, finest=5), Sum()),
    ),
    "global_conv": (
        network(GlobalConvDecoder(finest=2), Sum()),
        network(GlobalConvDecoder(finest=4), NoSkip()),
    ),
    "fpn": (network(FpnDecoder(8, finest=1), Sum()), network(FpnDecoder(8, finest=2), Sum())),
    "guided_attention": (
        network(GuidedAttentionDecoder(8, finest=1), NoSkip()),
        network(GuidedAttentionDecoder(8, finest=2), NoSkip()),
    ),
    "deeplab": (network(DeepLabDecoder(CELL, 8, low_level=1)), network(DeepLabDecoder(CELL, 8, low_level=2))),
    "widths of the encoder written out": (network(), network(replace(UNET, widths=(4, 8)))),
    "of nested nodes, too": (network(NestedDecoder(CELL)), network(NestedDecoder(CELL, widths=(4, 8)))),
    "the usual skip at the finest level": (network(), network(replace(UNET, finest_skip=Concat()))),
    "inside of joined scores": (
        network(JoinedScores(UNET)),
        network(JoinedScores(replace(UNET, widths=(4, 8))), head=HiddenHead(8)),
    ),
    "no norm stands before the logits": (
        network(head=DucHead(), norm="none"),
        network(head=DucHead(normalise=False), norm="none"),
    ),
}

TWO = {
    "a stage is narrower": (network(), replace(network(), encoder=replace(CELLS, widest=8))),
    "a bias before a norm": (network(), network(conv_bias=True)),
    "an image's mean is normalised": (
        network(context=Aspp((1, 2), 8, image_norm=True)),
        network(context=Aspp((1, 2), 8)),
    ),
    "the head reads features": (network(), network(head=HiddenHead(8))),
    "a context that an auxiliary head reads": (
        network(Finest(), NoSkip(), Aspp((1,), 8), auxiliary=(Auxiliary("encoder", -1),)),
        network(Finest(), NoSkip(), auxiliary=(Auxiliary("encoder", -1),)),
    ),
    "linknet alone with biases": (
        network(LinkNetDecoder(bias=True), Sum()),
        network(LinkNetDecoder(), Sum()),
    ),
    "another skip at the finest level": (network(), network(replace(UNET, finest_skip=NoSkip()))),
}


def _outputs(architecture: Architecture) -> list[torch.Tensor]:
    built = build_model(architecture, in_channels=2, num_classes=3, ndim=2, seed=0)
    torch.manual_seed(0)
    x = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    return [logits for logits, _ in built.training_logits(x)]


@pytest.mark.parametrize("name", ONE)
def test_the_same_network_is_one_candidate(name: str) -> None:
    one, other = ONE[name]
    assert one != other
    assert canonical(one) == canonical(other)
    assert canonical(canonical(one)) == canonical(one)
    for a, b in zip(_outputs(one), _outputs(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", TWO)
def test_networks_that_differ_are_two_candidates(name: str) -> None:
    one, other = TWO[name]
    assert canonical(one) != canonical(other)
    same = [torch.equal(a, b) for a, b in zip(_outputs(one), _outputs(other), strict=True)]
    assert not all(same)


def _space(choose: Choose) -> Candidate:
    """Limits that few stages reach: the canonical form has a width that is no choice."""
    small = load_preset("small_unet").candidate()
    encoder = Cells(
        CELL,
        width=choose("architecture.encoder.width", Choice((4, 8))),
        widest=choose("architecture.encoder.widest", Choice((8, 64, 256))),
        stages=3,
    )
    return replace(small, architecture=replace(small.architecture, encoder=encoder))


WIDTH, WIDEST = "architecture.encoder.width", "architecture.encoder.widest"


def test_a_value_that_means_the_same_stands_in_for_one_that_the_space_lacks() -> None:
    narrow, wide = (decode(_space, {WIDTH: 4, WIDEST: widest}) for widest in (8, 64))
    assert decode(_space, {WIDTH: 4, WIDEST: 256}) == wide
    for candidate in (narrow, wide):
        assert decode(_space, encode(_space, candidate)) == candidate
    assert wide.architecture.encoder.levels().channels == (4, 8, 16)
    assert narrow.architecture.encoder.levels().channels == (4, 8, 8)


def test_a_mutation_is_another_network() -> None:
    wide = decode(_space, {WIDTH: 4, WIDEST: 64})
    rng = random.Random(0)
    assert all(digest(mutate(_space, wide, rng)) != digest(wide) for _ in range(20))


def test_a_candidate_of_another_space_is_refused_by_name() -> None:
    wide = decode(_space, {WIDTH: 4, WIDEST: 64})
    encoder = Cells(CELL, width=16, widest=16, stages=3)
    other = replace(wide, architecture=replace(wide.architecture, encoder=encoder))
    with pytest.raises(
        NotInSpaceError, match=r"architecture\.encoder\.width: 16 is not in the space; allowed are 4, 8"
    ):
        encode(_space, other)


def test_nothing_is_looked_for_in_a_space_of_other_encoders() -> None:
    """All presets are asked for whenever a job is planned."""
    calls = 0
    compact = load_space("compact")

    def counted(choose: Choose) -> Candidate:
        nonlocal calls
        calls += 1
        return compact(choose)

    for name in preset_names():
        candidate = load_preset(name).candidate()
        before = calls
        if not holds(counted, candidate) and not isinstance(candidate.architecture.encoder, Cells):
            assert calls == before + 1, name
    assert calls < 4 * len(preset_names())
