"""Dense upsampling convolution.

Source: Wang et al. 2018, "Understanding convolution for semantic segmentation", section 3.1, arXiv:1702.08502.
Deviations: the normalisation of the logits is that of the re-write whose parameter count is known; its rectifier, without
    which logits may be negative, is left out.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from search_spaces.head import Head
from search_spaces.layers import Layers, Norm
from search_spaces.register import entry


@entry("duc")
@dataclass(frozen=True, slots=True)
class DucHead(Head):
    """A 3-convolution makes the logits of all pixels of a cell as channels, which are then laid out in space.

    Attributes:
        normalise: Whether a normalisation stands between the two.
    """

    normalise: bool = True

    def in_network(self, norm: Norm) -> "DucHead":
        return replace(self, normalise=self.normalise or norm == "none")

    def build(self, layers: Layers, in_channels: int, num_classes: int, *, stride: int) -> nn.Module:
        return _DucModule(self, layers, in_channels, num_classes, stride)


class _DucModule(nn.Module):
    def __init__(
        self, choice: DucHead, layers: Layers, in_channels: int, num_classes: int, stride: int
    ) -> None:
        super().__init__()
        self.factor = stride
        channels = num_classes * stride**layers.ndim
        self.conv = layers.conv(in_channels, channels, kernel=3, bias=True)
        self.norm = layers.normalise(channels) if choice.normalise else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, num_classes, *(stride * S))."""
        return _laid_out(self.norm(self.conv(x)), self.factor)


def _laid_out(x: Tensor, factor: int) -> Tensor:
    """(N, K * factor^D, *S) -> (N, K, *(factor * S)), in the order of torch's pixel shuffle."""
    size = tuple(int(length) for length in x.shape[2:])
    dims = len(size)
    classes = int(x.shape[1]) // factor**dims
    cells = x.reshape(-1, classes, *[factor] * dims, *size)  # (N, K, f, f, H, W)
    order = [axis for dim in range(dims) for axis in (2 + dims + dim, 2 + dim)]
    return cells.permute(0, 1, *order).reshape(-1, classes, *(factor * length for length in size))
