"""Fully convolutional DenseNets: channels on the way, and what is counted."""

import torch

from search_spaces.decoders.dense import DenseDecoder
from search_spaces.dense_block import DenseBlock
from search_spaces.encoder import Levels
from search_spaces.encoders.dense import Dense
from search_spaces.layers import Layers
from search_spaces.network import Network
from search_spaces.preset import load_preset
from search_spaces.skips.concat import Concat
from search_spaces.skips.sum import Sum


def test_channels_on_the_way_are_those_of_the_authors() -> None:
    encoder = load_preset("fc_densenet103").candidate().architecture.encoder
    assert encoder.levels() == Levels((112, 192, 304, 464, 656, 240), (1, 2, 4, 8, 16, 32))
    # after the skips, authors' code: 656 + 240 = 896 enter the first block up, 464 + 192 the second, ...
    decoder = load_preset("fc_densenet103").candidate().architecture.decoder
    assert decoder.out_levels(encoder.levels(), 11).channels == (256, 80, 112, 160, 192)


def test_the_numbers_of_the_paper_count_running_statistics() -> None:
    numbers = {"fc_densenet56": 1_397_963, "fc_densenet67": 3_502_923, "fc_densenet103": 9_425_163}
    for name, number in numbers.items():
        with torch.device("meta"):
            network = Network(load_preset(name).candidate().architecture, 3, 11, 2)
        counted = [value for key, value in network.state_dict().items() if "num_batches" not in key]
        assert sum(value.numel() for value in counted) == number


def test_a_layer_sees_all_before_it() -> None:
    block = DenseBlock(Layers(2, "none"), 3, depth=2, growth=2, dropout=0.0, keep=True)
    x = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    y = block(x)
    assert torch.equal(x, before)
    assert torch.equal(y[:, :3], x)
    second = block.get_submodule("layers.1")(y[:, :5].clone())
    torch.testing.assert_close(y[:, 5:], second)


def test_a_dense_decoder_refuses_a_skip_that_adds() -> None:
    levels = Dense().levels()
    assert DenseDecoder().refusal(levels, Sum()) is not None
    assert DenseDecoder().refusal(levels, Concat()) is None
