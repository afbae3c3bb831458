"""Cells that halve or double the size, with two inputs.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation", section III and Table 1,
    doi:10.1109/ACCESS.2019.2908991; sizes of convolutions and gates from its code.
Deviations: ``conv`` is the plain convolution and ``shuffle_conv`` is not offered, as both are one with a single group;
    transposed convolutions double the size exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.branches import tidy_order
from search_spaces.codec import json_text
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.pooling import image_mean

Keeping = Literal["identity", "none", "cweight", "dil_conv", "dep_conv", "conv"]
Halving = Literal["avg_pool", "max_pool", "down_cweight", "down_dil_conv", "down_dep_conv", "down_conv"]
Doubling = Literal["up_cweight", "up_dep_conv", "up_conv", "up_dil_conv"]
Scaling = Literal[Keeping, Halving, Doubling]
HALVING: tuple[Halving, ...] = (
    "avg_pool", "max_pool", "down_cweight", "down_dil_conv", "down_dep_conv", "down_conv",
)  # fmt: skip
KEEPING: tuple[Keeping, ...] = ("identity", "none", "cweight", "dil_conv", "dep_conv", "conv")
DOUBLING: tuple[Doubling, ...] = ("up_cweight", "up_dep_conv", "up_conv", "up_dil_conv")
INPUTS = 2
REDUCTION = 16  # channels over those of a gate's hidden layer


@dataclass(frozen=True, slots=True)
class Step:
    """What a node does with one of its two inputs.

    Attributes:
        operation: ``down_`` and pools halve the size, ``up_`` doubles it, the others keep it; ``cweight`` weighs channels,
            ``dil`` is atrous of rate 2, ``dep`` depthwise separable.
        source: 0 and 1 the inputs of the cell, 2 + i node i, earlier ones only.
    """

    operation: Scaling
    source: int


@dataclass(frozen=True, slots=True)
class Sum:
    """A node: the sum of two steps."""

    first: Step
    second: Step


def tidy_nodes(nodes: tuple[Sum, ...]) -> tuple[Sum, ...]:
    """The same nodes in the one order that does not depend on how they were numbered."""
    pairs = [(node.first, node.second) for node in nodes]
    order = tidy_order([""] * len(nodes), [[(s.operation, s.source) for s in pair] for pair in pairs], INPUTS)
    new = {place: place for place in range(INPUTS)}
    new |= {INPUTS + old: INPUTS + place for place, old in enumerate(order)}
    found = []
    for old in order:
        steps = sorted((Step(s.operation, new[s.source]) for s in pairs[old]), key=json_text)
        found.append(Sum(*steps))
    return tuple(found)


def check_nodes(nodes: Sequence[Sum], where: str, scaling: Sequence[str]) -> None:
    """Refuse sources that do not come earlier, and scaling other than that of the cell.

    Raises:
        SpaceError: Naming the node.
    """
    if not nodes:
        raise SpaceError(f"{where}: no node given; at least one is needed.")
    for place, node in enumerate(nodes):
        for step in (node.first, node.second):
            if not 0 <= step.source < INPUTS + place:
                raise SpaceError(
                    f"{where}.{place}: source {step.source} given; 0 to {INPUTS + place - 1} are allowed."
                )
            allowed = KEEPING if step.source >= INPUTS else (*scaling, *KEEPING)
            if step.operation not in allowed:
                raise SpaceError(
                    f"{where}.{place}: {step.operation} given; allowed are {', '.join(allowed)}."
                )


class ScaleCell(nn.Module):
    """Two inputs, each reduced to one width, through nodes whose outputs are concatenated.

    Args:
        channels: Of the two inputs.
        first_stride: Stride of the first input's reduction, 2 where it is twice as large as the second.
    """

    def __init__(
        self,
        nodes: Sequence[Sum],
        layers: Layers,
        channels: tuple[int, int],
        width: int,
        *,
        first_stride: int,
    ) -> None:
        super().__init__()
        pairs = [(node.first, node.second) for node in nodes]
        self.sources = [(first.source, second.source) for first, second in pairs]
        used = {source for pair in self.sources for source in pair}
        self.reduce = nn.ModuleList(
            nn.Sequential(
                layers.activate(before, inplace=False),
                layers.conv(before, width, kernel=1, stride=stride, bias=layers.bias),
                layers.normalise(width),
            )
            if place in used
            else nn.Identity()
            for place, (before, stride) in enumerate(zip(channels, (first_stride, 1), strict=True))
        )
        self.first = nn.ModuleList(_operation(first.operation, layers, width) for first, _ in pairs)
        self.second = nn.ModuleList(_operation(second.operation, layers, width) for _, second in pairs)

    def forward(self, first: Tensor, second: Tensor, size: tuple[int, ...]) -> Tensor:
        """(N, C_0, *S_0), (N, C_1, *S_1) -> (N, nodes * width, *size)."""
        states = [reduce(x) for reduce, x in zip(self.reduce, (first, second), strict=True)]
        for (one, other), left, right in zip(self.sources, self.first, self.second, strict=True):
            states.append(_fitted(left(states[one]), size) + _fitted(right(states[other]), size))
        return torch.cat(states[INPUTS:], dim=1)


def _fitted(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Nearest values where a map has another size than the cell's."""
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size=size, mode="nearest")


def _operation(kind: Scaling, layers: Layers, width: int) -> nn.Module:
    match kind:
        case "identity":
            return nn.Identity()
        case "none":
            return _Nothing()
        case "avg_pool":
            return layers.halve("mean")
        case "max_pool":
            return layers.halve("max")
        case "cweight":
            return _Gate(width)
        case "down_cweight":
            return nn.Sequential(_Gate(width), *_convolved(layers, width, stride=2)[:2])
        case "up_cweight":
            conv = layers.transposed(width, width, kernel=3, bias=layers.bias)
            return nn.Sequential(_Gate(width), conv, layers.normalise(width))
        case "conv" | "down_conv" | "dil_conv" | "down_dil_conv":
            rate = 2 if "dil" in kind else 1
            return _convolved(layers, width, stride=2 if "down" in kind else 1, rate=rate)
        case "dep_conv" | "down_dep_conv":
            stride = 2 if "down" in kind else 1
            depthwise = layers.conv(width, width, kernel=3, stride=stride, groups=width)
            return nn.Sequential(depthwise, *layers.conv_block(width, width, kernel=1))
        case "up_conv" | "up_dil_conv":
            conv = layers.transposed(width, width, kernel=3, bias=layers.bias, rate=2 if "dil" in kind else 1)
            return nn.Sequential(conv, layers.normalise(width), layers.activate(width))
        case "up_dep_conv":
            depthwise = layers.transposed(width, width, kernel=3, bias=False, groups=width)
            return nn.Sequential(depthwise, *layers.conv_block(width, width, kernel=1))
    assert_never(kind)


def _convolved(layers: Layers, width: int, *, stride: int = 1, rate: int = 1) -> nn.Sequential:
    return layers.conv_block(width, width, kernel=3, stride=stride, rate=rate)


class _Gate(nn.Module):
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // REDUCTION, 1)
        self.weigh = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, *S) -> the same shape."""
        weights: Tensor = self.weigh(image_mean(x).flatten(1))  # (N, width)
        return x * weights.reshape(-1, x.shape[1], *[1] * (x.dim() - 2))


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the input's shape."""
        return x * 0.0
