"""Guided attention: every level takes part, the result is the mean of the refined maps."""

import torch

from search_spaces.decoders.guided_attention import GuidedAttentionDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.preset import load_preset
from search_spaces.skips.none import NoSkip


def test_the_result_is_the_mean_of_what_all_levels_give() -> None:
    torch.manual_seed(0)
    levels = Levels((3, 4, 5), (1, 2, 4))
    decoder = GuidedAttentionDecoder(width=8)
    module = decoder.build(Layers(2), levels, NoSkip(), 2)
    maps = [torch.randn(2, c, 16 // s, 16 // s) for c, s in zip(levels.channels, levels.strides, strict=True)]
    mean, *refined = module(Features(maps, []))
    torch.testing.assert_close(mean, torch.stack(refined).mean(0))
    assert len(refined) == 2 and decoder.out_levels(levels, 2) == Levels((8, 8, 8), (2, 2, 2))
    mean.square().sum().backward()
    assert all(weight.grad is not None for weight in module.parameters())


def test_weights_are_those_counted_by_hand() -> None:
    body = 42_500_160 - 2 * 64 * 49  # ResNet-101 without classifier, of one channel instead of three
    narrow = (256 + 512 + 1024 + 2048) * 64 + 4 * 128
    enter = refine = 9 * 128 * 64 + 128
    places, channels = 2 * (64 * 8 + 8) + 64 * 64 + 64 + 1, 1
    hourglass = 9 * 128 * 64 + 64 + 9 * 64 * 64 + 64
    steps = 8 * (enter + places + channels + hourglass)
    heads = 5 * (64 * 5 + 5)
    fuse = 256 * 64 + 128
    assert load_preset("guided_attention").parameters == body + narrow + fuse + steps + 4 * refine + heads
