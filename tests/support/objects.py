"""Pictures of squares, and a network that finds them in seconds."""

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.mask_rcnn import MaskRcnn
from search_spaces.encoders.resnet import Resnet
from search_spaces.skips.none import NoSkip

FINDER = MaskRcnn(width=16, hidden=32, proposals=60, detections=10, samples=64, anchor=4)
SMALL = Architecture(Resnet(18, width=8), NoContext(), NoSkip(), FINDER)


def squares(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, 64, 64) with a bright or dark square in each half, labels 1 or 2, and numbers of the squares."""
    images = 0.1 * torch.randn(count, 1, 64, 64, generator=generator)
    labels, objects = torch.zeros(2, count, 64, 64, dtype=torch.int64)
    for image in range(count):
        for half in range(2):
            kind, side = (int(torch.randint(*ends, (1,), generator=generator)) for ends in ((1, 3), (10, 22)))
            y = int(torch.randint(0, 64 - side, (1,), generator=generator))
            x = int(torch.randint(0, 32 - side, (1,), generator=generator)) + 32 * half
            images[image, 0, y : y + side, x : x + side] += 3 - 2 * kind
            labels[image, y : y + side, x : x + side] = kind
            objects[image, y : y + side, x : x + side] = half + 1
    return images, labels, objects
