"""Zero-cost scores: a guess at how well a network will do, from one batch at its random start and no training.

The network that is scored is the one that ``build_model`` makes, in training mode, so batch norm takes the statistics of the
batch. A score works on a copy: weights, gradients, running statistics and mode of what it is given stay as they were. Sums are
made on one thread, so the same seed gives the same number in every process on one kind of processor.

Survey: Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS", arXiv:2101.08134.
"""

import contextlib
import copy
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.network import build_model
from search_spaces.register import Entry, lookup

BATCH = 16  # images; NASWOT and jacobian covariance compare each with each other
FEWEST, MOST_PIXELS = 4, 2**22  # of a batch: a driver has no memory for 16 large volumes


@dataclass(frozen=True, slots=True)
class ZeroCost(Entry, ABC):
    """Contract: a number of a network and a batch, the higher the more promising.

    It is ``-inf`` for a network that the score finds useless, and never NaN.
    """

    family: ClassVar[str] = "zero-cost score"
    folder: ClassVar[str] = "search_spaces.zero_costs"
    kind: ClassVar[str] = ""

    @abstractmethod
    def of(self, network: nn.Module, images: Tensor) -> float:
        """The score.

        Args:
            network: A copy of its own, in training mode; it may be changed.
            images: The batch.

        Shape:
            images (N, C, *S) float32.
        """


def zero_cost(kind: str, network: nn.Module, images: Tensor) -> float:
    """Score a network, which stays as it was.

    Args:
        kind: Name of the score.
        network: Any module that gives logits for images, one head.
        images: A batch of its images.

    Shape:
        images (N, C, *S) float32.

    Raises:
        UnknownKindError: There is no such score.
    """
    score = lookup(ZeroCost, kind)()  # type: ignore[type-abstract]  # entries are concrete
    scored = copy.deepcopy(network).train()
    scored.zero_grad()
    with _one_thread(), torch.enable_grad():
        value = score.of(scored, images.detach().clone())
    return -math.inf if math.isnan(value) else value


def score_of(
    kind: str, architecture: Architecture, *, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> float:
    """Score the network of an architecture at its start from seed 0, on noise of the images' size.

    Real images of the hippocampus example rank networks no better (docs/benchmarks.md), and noise needs no data set.

    Args:
        kind: Name of the score.
        architecture: What to score; all that means the same network has the same score.
        in_channels: Channels of an image.
        num_classes: Channels of the logits.
        input_size: Spatial size, (H, W) or (D, H, W); its length is the number of dimensions.

    Raises:
        UnknownKindError: There is no such score.
    """
    return _score_of(kind, canonical(architecture), in_channels, num_classes, input_size)


@functools.lru_cache(maxsize=4096)
def _score_of(
    kind: str, architecture: Architecture, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> float:
    network = build_model(
        architecture, in_channels=in_channels, num_classes=num_classes, ndim=len(input_size), seed=0
    )
    return zero_cost(kind, network, noise(in_channels, input_size))


def noise(in_channels: int, input_size: tuple[int, ...], *, seed: int = 0) -> Tensor:
    """A batch of standard normal images, as bright as standardised ones; 4 to 16 of them, by their size.

    Shape:
        (N, in_channels, *input_size) float32.
    """
    count = min(BATCH, max(FEWEST, MOST_PIXELS // math.prod(input_size)))
    return torch.randn(count, in_channels, *input_size, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
