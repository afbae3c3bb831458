"""Plain encoders and what climbs back from them: SegNet, DeconvNet, fully convolutional networks, mirrored U-Nets."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg

from search_spaces.architecture import Architecture
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.mirror import MirrorDecoder
from search_spaces.decoders.scores import ScoresDecoder
from search_spaces.decoders.unpool import UnpoolDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.encoders.cells import Cells
from search_spaces.encoders.plain import Plain
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.mirrored import _Unpool
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip
from search_spaces.skips.score_sum import ScoreSum

SEGNET = load_preset("segnet").candidate().architecture


def test_segnet_has_its_parameters_for_pascal_voc_too() -> None:
    assert profile(SEGNET, 3, 21, (32, 32)).parameters == 29_455_125


def test_the_economical_unet_has_its_known_parameters() -> None:
    encoder = Plain((64, 128, 256, 512, 512), (2, 2, 2, 2, 2))
    architecture = Architecture(encoder, NoContext(), Concat(), MirrorDecoder())
    assert profile(architecture, 3, 2, (32, 32)).parameters == 17_263_042  # milesial/Pytorch-UNet, bilinear


@pytest.mark.parametrize("ndim", [2, 3])
def test_unpooling_is_that_of_torch(ndim: int) -> None:
    x = torch.randn(2, 3, *[6] * ndim, generator=torch.Generator().manual_seed(0))
    pool = F.max_pool2d if ndim == 2 else F.max_pool3d
    unpool = F.max_unpool2d if ndim == 2 else F.max_unpool3d
    values, places = pool(x, 2, return_indices=True)
    own = _Unpool(torch.nn.Identity())(values, places, x)
    assert torch.equal(own, unpool(values, places, 2))
    assert (own[own != 0] == x[own != 0]).all()


def test_unpooling_needs_max_pooling() -> None:
    with pytest.raises(SpaceError, match="pool indices, which need max-pool downsampling"):
        # a field of the concrete entry
        replace(SEGNET, encoder=replace(SEGNET.encoder, hands_over="pooled"))  # type: ignore[type-var]


def test_pooled_levels_are_those_of_the_convolutions_after_pooling() -> None:
    torch.manual_seed(0)
    convolved = Plain().build(Layers(2), 1).eval()
    pooled = Plain(hands_over="pooled").build(Layers(2), 1).eval()
    pooled.load_state_dict(convolved.state_dict())
    x = torch.randn(1, 1, 16, 16)
    for after, before in zip(pooled(x).maps, convolved(x).maps, strict=True):
        assert torch.equal(after, F.max_pool2d(before, 2))


def test_a_stage_of_pooling_alone_keeps_its_channels() -> None:
    with pytest.raises(SpaceError, match="keeps the 8 channels before it"):
        Plain((8, 16), (1, 0))


def test_mean_pooling_halves_the_size() -> None:
    # a field of the concrete entry
    cells = replace(load_preset("small_unet").candidate().architecture.encoder, downsample="mean_pool")  # type: ignore[type-var]
    assert isinstance(cells, Cells) and not cells.pools_max()
    features = cells.build(Layers(2), 1)(torch.ones(1, 1, 32, 32))
    assert [x.shape[2] for x in features.maps] == [16, 8, 4, 2]


def test_scores_are_summed_from_coarse_to_fine() -> None:
    levels = Levels((2, 3, 4), (2, 4, 8))
    decoder = ScoresDecoder(fused=1).build(Layers(2), levels, ScoreSum(), 5)
    maps = [torch.randn(1, c, 16 // s, 16 // s) for c, s in zip(levels.channels, levels.strides, strict=True)]
    fine, deepest = decoder(Features(list(maps), []))
    torch.testing.assert_close(deepest, decoder.get_submodule("score")(maps[2]))
    up = F.interpolate(deepest, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fine, up + decoder.get_submodule("skips.0.score")(maps[1]))


def test_scores_refuse_a_skip_that_makes_no_scores() -> None:
    assert ScoresDecoder().refusal(Levels((2, 3), (1, 2)), Concat()) is not None
    assert ScoresDecoder().refusal(Levels((2, 3), (1, 2)), NoSkip()) is None


def test_an_unpooling_decoder_may_have_no_activation() -> None:
    levels = Levels((4, 4), (1, 2))
    decoder = UnpoolDecoder(depths=(2,), activate=False).build(Layers(2), levels, NoSkip(), 2)
    assert not any(isinstance(module, torch.nn.ReLU) for module in decoder.modules())


def test_the_encoder_of_fcn_computes_what_torchvisions_vgg_computes() -> None:
    torch.manual_seed(0)
    theirs = vgg.make_layers(vgg.cfgs["D"]).eval()  # VGG-16 without the classifier
    own = load_preset("fcn8s").candidate().architecture.encoder.build(Layers(2, "none"), 3).eval()
    values = theirs.state_dict().values()
    own.load_state_dict(dict(zip(own.state_dict(), values, strict=True)))
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(own(x).maps[-1], theirs(x))
