"""Cross-entropy of the hardest pixels."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.codec import entry_from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("top_k")
@dataclass(frozen=True, slots=True)
class TopK(LossTerm):
    """Mean of -log p over the share of valid pixels of the batch where it is largest.

    Attributes:
        share: Share of the valid pixels, in (0, 1]; 1 is cross-entropy.

    Source: Wu et al. 2016, "Bridging category-level and instance-level semantic image segmentation", section 3.2,
        arXiv:1605.06885.
    Deviations: a fixed share instead of a threshold on p, over the batch.
    """

    share: float = 0.1  # nnU-Net's
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SpaceError(f"top_k.share: {self.share} given; numbers in (0, 1] are allowed.")

    def canonical(self) -> LossTerm:
        """Of all pixels it is cross-entropy."""
        return self if self.share < 1 else entry_from_json(LossTerm, {"kind": "cross_entropy"})

    def value(self, scores: Scores) -> Tensor:
        losses = scores.cross_entropy.flatten()  # ignored pixels are 0, so they come last
        most = math.ceil(self.share * losses.numel())
        if scores.whole:
            return losses.topk(most, sorted=False).values.mean()
        taken = (self.share * scores.valid.sum()).ceil()
        largest = losses.topk(most).values
        ranks = torch.arange(most, device=losses.device)
        return torch.where(ranks < taken, largest, 0.0).sum() / taken.clamp(min=1)
