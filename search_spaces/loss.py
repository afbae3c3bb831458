"""Losses: terms, and their weighted mean."""

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.codec import json_text
from search_spaces.domain import quantise
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.register import Entry

NEGLIGIBLE = -10.0  # log2 of a weight, relative to the largest, under which a term is dropped: a thousandth

Role = Literal["distribution", "region"]
Cost = Literal["pixel", "sort", "distance"]


class Scores:
    """Logits and labels of a batch in the forms that terms need, each made once.

    Attributes:
        logits: Float32 (N, K, *S).
        labels: Int64 (N, *S); ignored pixels hold 0, so that it can index classes.
        valid: Bool (N, *S); False where the pixel is ignored.
    """

    def __init__(self, logits: Tensor, labels: Tensor, ignore_index: int) -> None:
        self.logits = logits
        self.valid = labels != ignore_index
        self.labels = labels.masked_fill(~self.valid, 0)
        self.num_valid = self.valid.sum().clamp(min=1)

    @functools.cached_property
    def log_probs(self) -> Tensor:
        """Log-softmax over classes, (N, K, *S)."""
        return F.log_softmax(self.logits, dim=1)

    @functools.cached_property
    def probs(self) -> Tensor:
        """Softmax over classes, zero at ignored pixels, (N, K, *S)."""
        return self.log_probs.exp() * self.valid.unsqueeze(1)

    @functools.cached_property
    def truth(self) -> Tensor:
        """Bool one-hot labels, False at ignored pixels, (N, K, *S)."""
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        classes = classes.view(1, -1, *[1] * (self.labels.dim() - 1))
        return (self.labels.unsqueeze(1) == classes) & self.valid.unsqueeze(1)

    def mean(self, per_pixel: Tensor) -> Tensor:
        """Mean over valid pixels of a map (N, *S), zero where there are none."""
        return torch.where(self.valid, per_pixel, 0.0).sum() / self.num_valid


class LossTerm(Entry, ABC):
    """Contract of a term: a frozen dataclass of hyper-parameters that turns scores into a scalar.

    Attributes:
        role: ``distribution`` compares pixel by pixel, ``region`` compares whole masks.
        gradient_everywhere: Whether every wrong pixel gets a gradient; a loss needs one such term.
        bounds: Least and largest value.
        cost: What it takes beside the softmax: passes over pixels, a sort, a distance transform.
    """

    family: ClassVar[str] = "loss term"
    folder: ClassVar[str] = "search_spaces.losses"
    role: ClassVar[Role]
    gradient_everywhere: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    cost: ClassVar[Cost] = "pixel"

    @abstractmethod
    def value(self, scores: Scores) -> Tensor:
        """The term in float32; zero with a graph where no pixel is valid."""

    def __call__(self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255) -> Tensor:
        """The term alone, as ``Loss`` computes it."""
        return Loss((Weighted(self),))(logits, labels, ignore_index=ignore_index)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A term and its weight.

    Attributes:
        term: The term.
        log_ratio: Base-2 logarithm of its weight over the anchor's.
    """

    term: LossTerm
    log_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """The weighted mean of terms: sum_i w_i term_i / sum_i w_i with w_i = 2 ** log_ratio_i.

    A mean, because a common factor of all weights would only rescale the learning rate.

    Attributes:
        terms: The first one is the anchor, whose log-ratio is 0.
    """

    terms: tuple[Weighted, ...]

    def __post_init__(self) -> None:
        if not self.terms or self.terms[0].log_ratio != 0:
            raise SpaceError(
                "loss.terms: at least one term is needed, and the first, the anchor, has log_ratio 0."
            )
        if not all(math.isfinite(weighted.log_ratio) for weighted in self.terms):
            raise SpaceError("loss.terms: a log_ratio is not finite; leave out a term whose weight is 0.")
        if not any(weighted.term.gradient_everywhere for weighted in self.terms):
            raise SpaceError(
                "loss.terms: no term gives a gradient everywhere; add one, such as cross_entropy."
            )

    def __call__(self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255) -> Tensor:
        """The value, always in float32, also under autocast.

        Args:
            logits: Scores before softmax, any finite range.
            labels: Class of each pixel, in [0, K), or ``ignore_index``.
            ignore_index: Label that never counts.

        Shape:
            logits (N, K, *S) float; labels (N, *S) int64; returns a scalar.

        Raises:
            ShapeError: The sizes do not fit, or K < 2.
        """
        if logits.dim() < 3 or logits.shape[1] < 2 or logits.shape[:1] + logits.shape[2:] != labels.shape:
            raise ShapeError(
                f"loss: logits {tuple(logits.shape)} and labels {tuple(labels.shape)} given; "
                "(N, K, *S) with K >= 2 and (N, *S) are needed."
            )
        with torch.autocast(logits.device.type, enabled=False):
            scores = Scores(logits.float(), labels, ignore_index)
            weights = [2.0**weighted.log_ratio for weighted in self.terms]
            parts = (
                weight * weighted.term.value(scores)
                for weight, weighted in zip(weights, self.terms, strict=True)
            )
            total: Tensor = torch.stack(list(parts)).sum() / sum(weights)
            return total

    def canonical(self) -> "Loss":
        """Equal terms merged, negligible ones dropped, the anchor first in order of role and content."""
        weights: dict[LossTerm, float] = {}
        for weighted in self.terms:
            weights[weighted.term] = weights.get(weighted.term, 0.0) + 2.0**weighted.log_ratio
        largest = max(weights.values())
        kept = {term: w for term, w in weights.items() if math.log2(w / largest) >= NEGLIGIBLE}
        order = sorted(kept, key=lambda term: (term.role, json_text(term)))
        ratios = {term: quantise(math.log2(kept[term] / kept[order[0]])) + 0.0 for term in order}
        terms = tuple(Weighted(term, ratios[term]) for term in order)
        return self if terms == self.terms else Loss(terms)
