"""Any encoder of the library timm, with its pretrained weights where they can be reached.

Source: Wightman 2019, "PyTorch image models", doi:10.5281/zenodo.4414861; ``features_only`` models.
Deviations: none.
"""

import functools
import importlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import MissingPackageError, ShapeError, SpaceError
from search_spaces.layers import Layers, Pretrained
from search_spaces.register import entry


@entry("timm")
@dataclass(frozen=True, slots=True)
class Timm(Encoder):
    """A network of timm for images of two dimensions; norms and activations are its own.

    The package is optional: ``pip install timm``. Networks must take any size and return maps with channels first, as
    convolutional ones do.

    Attributes:
        name: The name that timm has for it.
        pretrained: Whether a new network starts from timm's weights, which are fetched when it is built.
        output_stride: That of the last map; below 32 only where timm's network can be dilated.
    """

    name: str = "resnet18"
    pretrained: bool = False
    output_stride: Literal[8, 16, 32] = 32

    def levels(self) -> Levels:
        return _levels(self.name, self.output_stride)

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        if layers.ndim != 2:
            raise ShapeError(
                f"encoder timm: {layers.ndim} dimensions given; it has networks for 2 only, so choose another encoder."
            )
        return _TimmModule(self, in_channels)


class _TimmModule(Pretrained):
    def __init__(self, choice: Timm, in_channels: int) -> None:
        super().__init__()
        self.choice = choice
        self.body = _network(choice.name, choice.output_stride, in_chans=in_channels)

    def load(self) -> None:
        """Take over timm's weights, where they are asked for."""
        choice = self.choice
        if not choice.pretrained:
            return
        channels = next(self.body.parameters()).shape[1]
        try:
            found = _network(choice.name, choice.output_stride, in_chans=channels, pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise SpaceError(
                f"encoder timm: the weights of {choice.name!r} cannot be fetched ({type(error).__name__}: {error}); put them "
                "into the cache of the hub, or choose pretrained: false."
            ) from error
        self.body.load_state_dict(found.state_dict())

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, H, W) -> maps as timm's ``feature_info`` says, finest first."""
        return Features(list(self.body(x)), [])


@functools.lru_cache(maxsize=256)
def _levels(name: str, output_stride: int) -> Levels:
    with torch.device("meta"):
        info = _network(name, output_stride).feature_info
    channels, strides = tuple(map(int, info.channels())), tuple(map(int, info.reduction()))
    rising = all(after % before == 0 for before, after in pairwise(strides))
    if len(strides) < 2 or not rising:
        raise SpaceError(
            f"encoder timm: strides {strides} of {name!r} given; two or more are needed, each a multiple of the one before."
        )
    return Levels(channels, strides)


def _network(name: str, output_stride: int, **given: Any) -> Any:
    """A network of timm that returns features.

    Raises:
        MissingPackageError: timm is not installed.
        SpaceError: It has no such network, or none of this output stride.
    """
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "encoder timm: the package timm is not installed; run pip install timm, or choose another encoder."
        ) from error
    if not timm.is_model(name):
        near = timm.list_models(f"{name[:6]}*")[:5]
        hint = f"; names that begin alike: {', '.join(near)}." if near else "; see timm.list_models()."
        raise SpaceError(f"encoder timm: unknown network {name!r}{hint}")
    stride = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        return timm.create_model(name, features_only=True, **stride, **given)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise SpaceError(
            f"encoder timm: {name!r} with output stride {output_stride} has no features ({error}); choose another network, "
            "or stride 32."
        ) from error
