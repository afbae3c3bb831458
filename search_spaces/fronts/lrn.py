"""Local response normalisation of the image.

Source: Badrinarayanan et al. 2017, "SegNet: a deep convolutional encoder-decoder architecture for image
    segmentation", arXiv:1511.00561, whose networks begin so; the formula is that of Krizhevsky et al. 2012,
    "ImageNet classification with deep convolutional neural networks", section 3.3.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.front import Front
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("lrn")
@dataclass(frozen=True, slots=True)
class ResponseNormalised(Front):
    """Each value over (1 + alpha * mean square of its neighbours) ** beta.

    Attributes:
        neighbours: Odd number of channels at one place whose squares are averaged.
        alpha: Scale.
        beta: Exponent.
    """

    neighbours: int = 5
    alpha: float = 1e-4
    beta: float = 0.75

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.neighbours % 2 == 0 or self.alpha < 0 or self.beta < 0:
            raise SpaceError(
                f"lrn: {self!r} given; an odd number of neighbours, alpha and beta from 0 are allowed."
            )

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _ResponseModule(self)


class _ResponseModule(nn.Module):
    def __init__(self, choice: ResponseNormalised) -> None:
        super().__init__()
        self.choice = choice

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C, *S)."""
        reach = self.choice.neighbours // 2
        squares = nn.functional.pad(x * x, (0, 0) * (x.dim() - 2) + (reach, reach))  # (N, C + 2 reach, *S)
        total = squares[:, : x.shape[1]]
        for offset in range(1, self.choice.neighbours):
            total = total + squares[:, offset : offset + x.shape[1]]
        scale = 1.0 + self.choice.alpha / self.choice.neighbours * total
        return x / scale.pow(self.choice.beta)
