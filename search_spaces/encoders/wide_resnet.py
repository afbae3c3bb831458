"""ResNet-38: wide, shallow, with activations before convolutions.

Source: Wu et al. 2019, "Wider or deeper: revisiting the ResNet model for visual recognition", Table 1 and section 5
    (model A2), arXiv:1611.10080.
Deviations: without fully connected layer; dropout is not placed inside the last blocks.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


class _Stage(NamedTuple):
    """Widths are multiples of the first convolution's: of each convolution of a block; of how many pixels; blocks."""

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    blocks: int


STAGES = (
    _Stage((2, 2), (3, 3), 3),
    _Stage((4, 4), (3, 3), 3),
    _Stage((8, 8), (3, 3), 6),
    _Stage((8, 16), (3, 3), 3),
    _Stage((8, 16, 32), (1, 3, 1), 1),
    _Stage((16, 32, 64), (1, 3, 1), 1),
)  # Table 1, B2 to B7
HALVING = 5  # stages that halve the size where the output stride allows it


@entry("wide_resnet")
@dataclass(frozen=True, slots=True)
class WideResnet(Encoder):
    """One convolution at full size, then six stages; those beyond the output stride are dilated.

    Attributes:
        width: Channels of the first convolution, 64 in the paper; the last stage has 64 times as many.
        output_stride: That of the last stage.
    """

    width: int = 64
    output_stride: Literal[8, 16, 32] = 8

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"wide_resnet: width {self.width} given; at least 1 is allowed.")

    def levels(self) -> Levels:
        strides, channels = [1], [self.width]
        for place, stage in enumerate(STAGES):
            stride = min(2 ** min(place + 1, HALVING), self.output_stride)
            if stride == strides[-1]:
                channels[-1] = self.width * stage.widths[-1]
            else:
                strides.append(stride)
                channels.append(self.width * stage.widths[-1])
        return Levels(tuple(channels), tuple(strides))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _WideResnetModule(self, layers, in_channels)


class _WideResnetModule(nn.Module):
    def __init__(self, choice: WideResnet, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.stem = layers.conv(in_channels, choice.width, kernel=3, bias=layers.bias)
        self.stages = nn.ModuleList()
        before, stride, rate = choice.width, 1, 1
        for place, stage in enumerate(STAGES):
            wanted = 2 ** min(place + 1, HALVING)
            halves = stride < wanted <= choice.output_stride
            widths = tuple(choice.width * width for width in stage.widths)
            blocks = []
            for block in range(stage.blocks):
                step = 2 if halves and block == 0 else 1
                after = max(wanted // choice.output_stride, 1)
                blocks.append(
                    _Block(layers, before, widths, stage.kernels, stride=step, rate=after if block else rate)
                )
                before = widths[-1]
            self.stages.append(nn.Sequential(*blocks))
            stride, rate = (wanted if halves else stride), after
        self.last = nn.Sequential(layers.normalise(before), layers.activate(before))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> the last map of each stride, finest first."""
        x = self.stem(x)
        maps = [x]
        for stage in self.stages:
            x = stage(x)
            if tuple(x.shape[2:]) == tuple(maps[-1].shape[2:]):
                maps[-1] = x
            else:
                maps.append(x)
        maps[-1] = self.last(maps[-1])
        return Features(maps, [])


class _Block(nn.Module):
    """Norm and activation, then convolutions; the shortcut is the input, or a convolution of the activated input."""

    def __init__(
        self,
        layers: Layers,
        in_channels: int,
        widths: tuple[int, ...],
        kernels: tuple[int, ...],
        *,
        stride: int,
        rate: int,
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(
            layers.normalise(in_channels), layers.activate(in_channels, inplace=layers.norm != "none")
        )
        parts: list[nn.Module] = []
        for place, ((before, after), kernel) in enumerate(
            zip(pairwise((in_channels, *widths)), kernels, strict=True)
        ):
            if place:
                parts += [layers.normalise(before), layers.activate(before)]
            step = stride if place == 0 else 1
            parts.append(
                layers.conv(
                    before,
                    after,
                    kernel=kernel,
                    stride=step,
                    rate=rate if kernel > 1 else 1,
                    bias=layers.bias,
                )
            )
        self.body = nn.Sequential(*parts)
        self.shortcut: nn.Module | None = None
        if stride > 1 or in_channels != widths[-1]:
            self.shortcut = layers.conv(in_channels, widths[-1], kernel=1, stride=stride, bias=layers.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, widths[-1], *(S / stride))."""
        y = self.before(x)
        result: Tensor = self.body(y) + (x if self.shortcut is None else self.shortcut(y))
        return result
