"""The contract suite: runs over every entry of every family, so a new file is tested as soon as it exists."""

from dataclasses import is_dataclass

import pytest
import torch
from entries import PARTS, architecture_with, example, skip_impossible

from search_spaces.codec import canonical, entry_from_json, to_json
from search_spaces.context import Context
from search_spaces.decoder import Decoder
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.front import Front
from search_spaces.head import Head
from search_spaces.layers import Layers
from search_spaces.loss import LossTerm
from search_spaces.network import build_model
from search_spaces.operation import Operation
from search_spaces.preset import Preset
from search_spaces.register import Entry, kinds
from search_spaces.skip import Skip

FAMILIES: tuple[type[Entry], ...] = (
    Operation,
    Front,
    Encoder,
    Context,
    Skip,
    Decoder,
    Head,
    LossTerm,
    Preset,
)
ALL = [(family, kind) for family in FAMILIES for kind in kinds(family)]


def images(ndim: int, channels: int = 8, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, *[size] * ndim, generator=generator, requires_grad=True)


def pooled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    pool = torch.nn.functional.max_pool2d if x.dim() == 4 else torch.nn.functional.max_pool3d
    return pool(x, 2, return_indices=True)  # type: ignore[return-value]  # the stubs know one result only


@pytest.mark.parametrize(("family", "kind"), ALL, ids=lambda value: getattr(value, "family", value))
def test_an_entry_is_a_frozen_value_with_json_and_a_canonical_form(family: type[Entry], kind: str) -> None:
    entry = example(family, kind)
    assert is_dataclass(entry)
    assert hash(entry) == hash(example(family, kind))
    assert entry_from_json(family, to_json(entry)) == entry
    assert canonical(canonical(entry)) == canonical(entry)
    assert (type(entry).__doc__ or "").strip()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Operation))
@pytest.mark.parametrize("channels", [8, 12])
def test_an_operation_maps_channels_and_keeps_the_size(kind: str, ndim: int, channels: int) -> None:
    operation = example(Operation, kind)
    assert isinstance(operation, Operation)
    x = images(ndim)
    y = operation.build(Layers(ndim), 8, channels)(x)
    assert y.shape == (2, channels, *x.shape[2:])
    y.square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Front))
def test_a_front_keeps_the_size(kind: str, ndim: int) -> None:
    front = example(Front, kind)
    assert isinstance(front, Front)
    y = front.build(Layers(ndim), 3)(images(ndim, channels=3))
    assert y.shape == (2, front.out_channels(3), *[8] * ndim)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Encoder))
def test_an_encoder_gives_the_levels_it_declares(kind: str, ndim: int) -> None:
    encoder = example(Encoder, kind)
    assert isinstance(encoder, Encoder)
    skip_impossible(encoder, ndim)
    levels = encoder.levels()
    size = 2 * levels.strides[-1]
    features = encoder.build(Layers(ndim), 1)(images(ndim, 1, size))
    shapes = [(2, c, *[size // s] * ndim) for c, s in zip(levels.channels, levels.strides, strict=True)]
    assert [feature.shape for feature in features.maps] == shapes
    assert not features.pool_indices
    if encoder.pools_max():
        pooled = encoder.build(Layers(ndim, pool_indices=True), 1)(images(ndim, 1, size))
        assert [places.shape[2:] for places in pooled.pool_indices] == [shape[2:] for shape in shapes[1:]]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Context))
def test_a_context_keeps_the_size(kind: str, ndim: int) -> None:
    context = example(Context, kind)
    assert isinstance(context, Context)
    for size in (2, 8):
        y = context.build(Layers(ndim), 8)(images(ndim, size=size))
        assert y.shape == (2, context.out_channels(8), *[size] * ndim)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Skip))
def test_a_skip_joins_two_features(kind: str, ndim: int) -> None:
    skip = example(Skip, kind)
    assert isinstance(skip, Skip)
    y = skip.build(Layers(ndim), fine=4, coarse=8)(images(ndim, 4), images(ndim, 8))
    assert y.shape == (2, skip.out_channels(4, 8), *[8] * ndim)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Decoder))
@pytest.mark.parametrize("skip", kinds(Skip))
def test_a_decoder_returns_one_of_the_strides(kind: str, skip: str, ndim: int) -> None:
    decoder, way = example(Decoder, kind), example(Skip, skip)
    assert isinstance(decoder, Decoder) and isinstance(way, Skip)
    skip_impossible(decoder, ndim)
    levels = Levels((4, 8, 12), (1, 2, 4))
    if decoder.refusal(levels, way):
        pytest.skip(f"{kind} does not go with {skip}")
    maps = [images(ndim, c, 8 // s) for c, s in zip(levels.channels, levels.strides, strict=True)]
    places = [pooled(x)[1] for x in maps[:-1]] if decoder.unpools else []
    results = decoder.build(Layers(ndim), levels, way, 3)(Features(maps, places))
    declared = decoder.out_levels(levels, 3)
    shapes = [(2, c, *[8 // s] * ndim) for c, s in zip(declared.channels, declared.strides, strict=True)]
    assert [y.shape for y in results] == shapes
    assert not decoder.classifies or declared.channels[0] == 3


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", kinds(Head))
def test_a_head_gives_one_logit_a_class(kind: str, ndim: int) -> None:
    head = example(Head, kind)
    assert isinstance(head, Head)
    y = head.build(Layers(ndim), 8, 3, stride=4)(images(ndim))
    assert y.shape[:2] == (2, 3)
    assert y.shape[2] in (8, 16, 32)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("part", "family", "kind"), PARTS, ids=str)
def test_every_part_trains_inside_a_network(part: str, family: type[Entry], kind: str, ndim: int) -> None:
    entry = example(family, kind)
    skip_impossible(entry, ndim)
    architecture = architecture_with(part, entry)
    network = build_model(architecture, in_channels=1, num_classes=3, ndim=ndim, seed=0)
    logits = network(torch.zeros(1, 1, *[16] * ndim))
    assert logits.shape == (1, 3, *[16] * ndim)
    logits.sum().backward()
