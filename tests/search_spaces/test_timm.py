"""Encoders of timm: what happens without the package; with it, what it has is used."""

import importlib.util
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from search_spaces.encoder import Levels
from search_spaces.encoders import timm_features
from search_spaces.encoders.timm_features import Timm
from search_spaces.errors import MissingPackageError, ShapeError, SpaceError
from search_spaces.layers import Layers
from search_spaces.network import build_model
from search_spaces.preset import load_preset

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def test_without_the_package_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    timm_features._levels.cache_clear()
    with pytest.raises(MissingPackageError, match="pip install timm"):
        Timm().levels()


class Body(torch.nn.Module):
    """What timm returns, as far as it is used here."""

    def __init__(self, in_chans: int = 3, value: float = 0.0) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(in_chans, 4, 3, 2, 1)
        torch.nn.init.constant_(self.conv.weight, value)
        self.feature_info = SimpleNamespace(channels=lambda: [4, 4], reduction=lambda: [2, 4])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        fine = self.conv(x)
        return [fine, torch.nn.functional.max_pool2d(fine, 2)]


def pretend(monkeypatch: pytest.MonkeyPatch, *, reachable: bool) -> None:
    def create_model(name: str, *, features_only: bool, pretrained: bool = False, in_chans: int = 3) -> Body:
        if pretrained and not reachable:
            raise OSError("no route")
        return Body(in_chans, 7.0 if pretrained else 0.0)

    known = SimpleNamespace(
        create_model=create_model, is_model=lambda name: name == "net", list_models=lambda p: ["net"]
    )
    monkeypatch.setitem(sys.modules, "timm", known)
    timm_features._levels.cache_clear()


def test_a_new_network_starts_from_its_weights_and_a_loaded_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, reachable=True)
    architecture = replace(
        load_preset("small_unet").candidate().architecture, encoder=Timm("net", pretrained=True)
    )
    assert architecture.levels() == Levels((4, 4), (2, 4))
    new = build_model(architecture, in_channels=1, num_classes=2, ndim=2, seed=0)
    assert torch.equal(new.encoder.body.conv.weight, torch.full((4, 1, 3, 3), 7.0))
    later = build_model(architecture, in_channels=1, num_classes=2, ndim=2)
    assert (later.encoder.body.conv.weight != 7.0).all()


def test_what_cannot_be_had_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, reachable=False)
    small = load_preset("small_unet").candidate().architecture
    with pytest.raises(SpaceError, match=r"cannot be fetched .* pretrained: false"):
        build_model(replace(small, encoder=Timm("net", True)), in_channels=1, num_classes=2, ndim=2, seed=0)
    with pytest.raises(SpaceError, match="unknown network 'nett'; names that begin alike: net"):
        Timm("nett").levels()
    with pytest.raises(ShapeError, match="3 dimensions given"):
        Timm("net").build(Layers(3), 1)
    with pytest.raises(SpaceError, match="stride 8 has no features"):
        Timm("net", output_stride=8).levels()


@needs_timm
@pytest.mark.parametrize(("name", "stride"), [("resnet18", 16), ("mobilenetv3_small_100", 32)])
def test_a_network_of_timm_trains_under_a_decoder_of_ours(name: str, stride: int) -> None:
    timm_features._levels.cache_clear()
    small = load_preset("small_deeplabv3plus").candidate().architecture
    architecture = replace(small, encoder=Timm(name, output_stride=stride))  # type: ignore[arg-type]  # an allowed stride
    network = build_model(architecture, in_channels=2, num_classes=3, ndim=2, seed=0)
    logits = network(torch.zeros(2, 2, 70, 64))
    assert logits.shape == (2, 3, 70, 64)
    logits.sum().backward()
