"""The critic of the adversarial term: a small network that tells labels from predictions, and what it learns from."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)
LEAST = 0.9  # of the label's probability in a map that passes for a label; Luc et al., section 3.2
CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


class Critic(nn.Module):
    """Convolutions of stride 2 over image and class maps; a logit of being real for each patch.

    Source: Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section 3.2.2,
        arXiv:1611.07004 (patches), for the critic of Luc et al. 2016, arXiv:1611.08408.
    Deviations: a few thousand parameters instead of millions, without norms, as networks here are small.
    """

    def __init__(self, in_channels: int, num_classes: int, *, ndim: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[ndim]
        layers: list[nn.Module] = []
        channels = in_channels + num_classes
        for width in WIDTHS:
            layers += [convolution(channels, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = width
        self.layers = nn.Sequential(*layers, convolution(channels, 1, 1))

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Logits (N, 1, *S / 8) of an image (N, C, *S) and class maps (N, K, *S)."""
        found: Tensor = self.layers(torch.cat([image, maps], dim=1))
        return found


def build_critic(in_channels: int, num_classes: int, *, ndim: int, seed: int) -> Critic:
    """A critic whose weights are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Critic(in_channels, num_classes, ndim=ndim)


def critic_loss(
    critic: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int,
) -> Tensor:
    """Cross-entropy of telling maps that pass for labels from predictions; its gradient reaches the critic only.

    A one-hot map gives itself away. So the prediction is moved towards the label: the label's class has at least 0.9, the
    others share the rest as they did. Ignored pixels keep the prediction.

    Source: Luc et al. 2016, "Semantic segmentation using adversarial networks", Eq. 3 and section 3.2 (scaling),
        arXiv:1611.08408.
    Deviations: none.
    """
    probs = F.softmax(logits.detach().float(), dim=1)
    valid = (labels != ignore_index).unsqueeze(1)
    index = labels.unsqueeze(1).masked_fill(~valid, 0)
    right = probs.gather(1, index)
    wanted = right.clamp(min=LEAST)
    rest = probs * ((1 - wanted) / (1 - right).clamp(min=1e-6))
    real = torch.where(valid, rest.scatter(1, index, wanted), probs)
    image = image.float()
    return (F.softplus(-critic(image, real)).mean() + F.softplus(critic(image, probs)).mean()) / 2
