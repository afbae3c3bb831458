"""The way back through the levels of a plain encoder: what its stages did, in reverse."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.skip import Skip
from search_spaces.upsampling import Upsample, factors, upsampler


def mirrored_levels(levels: Levels) -> Levels:
    """Every level but the deepest, with the channels of the next finer one, to which its last convolution leads."""
    return Levels((levels.channels[0], *levels.channels[:-2]), levels.strides[:-1])


class Mirrored(nn.Module):
    """Upsampling, skip and convolutions of each level, the deepest first.

    Args:
        upsample: How the size is doubled; None puts values back to where the maxima were.
        depths: Convolutions of each level, finest first; the last counts for all further levels.
        activate: Whether an activation follows each normalisation.
    """

    def __init__(
        self,
        layers: Layers,
        levels: Levels,
        skip: Skip,
        *,
        upsample: Upsample | None,
        depths: Sequence[int],
        kernel: int,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.convs = nn.ModuleList()
        coarse = levels.channels[-1]
        results, steps = mirrored_levels(levels).channels, factors(levels)
        for place in range(len(results) - 1, -1, -1):
            fine, result = levels.channels[place], results[place]
            if upsample is None:
                self.ups.append(_Unpool(layers.projection(coarse, fine)))
                channels = fine
            else:
                up, channels = upsampler(layers, upsample, coarse=coarse, fine=fine, factor=steps[place])
                self.ups.append(up)
            self.skips.append(skip.build(layers, fine=fine, coarse=channels))
            depth = depths[min(place, len(depths) - 1)]
            widths = [skip.out_channels(fine, channels), *[fine] * (depth - 1), result]
            blocks = nn.Sequential()
            for before, width in pairwise(widths):
                block = layers.conv_block(before, width, kernel=kernel)
                blocks.append(block if activate else block[:-1])
            self.convs.append(blocks)
            coarse = result

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, finest first."""
        x = features.maps[-1]
        results = []
        places = features.pool_indices[::-1]
        levels = zip(reversed(features.maps[:-1]), self.ups, self.skips, self.convs, strict=True)
        for step, (fine, up, skip, convs) in enumerate(levels):
            x = convs(skip(fine, up(x, places[step], fine) if places else up(x)))
            results.append(x)
        return results[::-1]


class _Unpool(nn.Module):
    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, x: Tensor, indices: Tensor, fine: Tensor) -> Tensor:
        """Values (N, C, *S), their places in an image, that image -> (N, C, *S_fine), zero elsewhere."""
        values = self.projection(x).flatten(2)
        empty = torch.zeros(*values.shape[:2], fine.shape[2:].numel(), dtype=values.dtype, device=x.device)
        return empty.scatter(2, indices.flatten(2), values).view(*values.shape[:2], *fine.shape[2:])
