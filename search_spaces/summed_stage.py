"""Convolutions and their input, summed: the stages of V-Net, shared by its encoder and its decoder."""

from torch import Tensor, nn

from search_spaces.layers import Layers


class SummedStage(nn.Module):
    """Convolutions of equal width; their result and their input are added, and an activation follows.

    Args:
        depth: Number of convolutions.
        kernel: Odd size of their kernels in pixels.
        activate_last: Whether the last convolution has an activation of its own before the sum.
    """

    def __init__(
        self, layers: Layers, channels: int, *, depth: int, kernel: int, activate_last: bool
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential()
        for place in range(depth):
            block = layers.conv_block(channels, channels, kernel=kernel)
            self.convs.append(block if activate_last or place < depth - 1 else block[:-1])
        self.activation = layers.activate(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        result: Tensor = self.activation(x + self.convs(x))
        return result
