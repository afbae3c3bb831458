"""Feature pyramid attention.

Source: Li et al. 2018, "Pyramid attention network for semantic segmentation", section 3.1, Figure 3, arXiv:1805.10180.
Deviations: a dimension shorter than four pixels is not halved any more; the branch of the image mean normalises a batch of one
    image by the running statistics; maps are interpolated with corners not aligned.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.pooling import image_mean, pooled_block
from search_spaces.register import entry

KERNELS = (7, 5, 3)  # of the three halvings


@entry("pyramid_attention")
@dataclass(frozen=True, slots=True)
class PyramidAttention(Context):
    """Features weighted, place by place, by a small U-shaped pyramid of 7-, 5- and 3-convolutions, plus their mean.

    Attributes:
        width: Channels of the result.
        inner: Channels of the pyramid: 1 weighs all channels alike, otherwise it is the width.
    """

    width: int
    inner: int = 1

    def __post_init__(self) -> None:
        if self.width < 1 or self.inner not in (1, self.width):
            raise SpaceError(
                f"pyramid_attention: width {self.width}, inner {self.inner} given; a width from 1 is allowed, and 1 or "
                "the width as inner channels."
            )

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _PyramidAttentionModule(self, layers, in_channels)


class _PyramidAttentionModule(nn.Module):
    def __init__(self, choice: PyramidAttention, layers: Layers, in_channels: int) -> None:
        super().__init__()
        inner = choice.inner
        self.image = pooled_block(layers, in_channels, choice.width)
        self.middle = layers.conv_block(in_channels, choice.width, kernel=1)
        self.down = nn.ModuleList()
        self.across = nn.ModuleList()
        before = in_channels
        for kernel in KERNELS:
            self.down.append(layers.conv_block(before, inner, kernel=kernel))
            self.across.append(layers.conv_block(inner, inner, kernel=kernel))
            before = inner

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        sizes, results, y = [tuple(x.shape[2:])], [], x
        for down, across in zip(self.down, self.across, strict=True):
            y = down(_halved(y))
            results.append(across(y))
            sizes.append(tuple(y.shape[2:]))
        weight = results[-1]
        for result, size in zip(results[-2::-1], sizes[-2:0:-1], strict=True):
            weight = resize(weight, size) + result
        weighted: Tensor = self.middle(x) * resize(weight, sizes[0]) + self.image(image_mean(x))
        return weighted


def _halved(x: Tensor) -> Tensor:
    """Max-pooling by two of the dimensions of four pixels and more."""
    kernel = [2 if size >= 4 else 1 for size in x.shape[2:]]
    pool = F.max_pool2d if len(kernel) == 2 else F.max_pool3d
    return pool(x, kernel) if max(kernel) > 1 else x
