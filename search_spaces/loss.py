"""Losses: terms, and their weighted mean."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from search_spaces.codec import LATER, json_text
from search_spaces.domain import quantise
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.loss_schedule import Constant, LossSchedule, least
from search_spaces.register import Entry
from search_spaces.scores import LossExtras, Need, Scores

LEAST_NORM = (
    0.01  # of a term's gradient over the anchor's: a term without one at the start is not blown up later
)
NEGLIGIBLE = -10.0  # log2 of a weight, relative to the largest, under which a term is dropped: a thousandth

Role = Literal["distribution", "region", "boundary", "regulariser"]
ROLES: tuple[Role, ...] = get_args(Role)  # in the order of a canonical loss
SEE_LABELS: tuple[Role, ...] = ("distribution", "region")  # whose terms stumble over a label of no class
Cost = Literal["pixel", "sort", "distance", "forward"]


class LossTerm(Entry, ABC):
    """Contract of a term: a frozen dataclass of hyper-parameters that turns scores into a scalar.

    Attributes:
        role: ``distribution`` compares pixel by pixel, ``region`` compares whole masks, ``boundary`` measures by distance,
            ``regulariser`` knows the shape of masks, the image or another prediction.
        gradient_everywhere: Whether every wrong pixel gets a gradient; a loss needs one such term.
        bounds: Least and largest value.
        least_at_truth: Whether the right answer has the least value; not so for most regularisers.
        unlabelled: Whether it learns from samples without labels, too.
        of_logits: Whether logits are what it is computed of; one that is not stands alone.
        needs: What it uses beside logits and labels; see ``LossExtras``.
        cost: What it takes beside the softmax: passes over pixels, a sort, distance transforms, a forward pass.
    """

    family: ClassVar[str] = "loss term"
    folder: ClassVar[str] = "search_spaces.losses"
    role: ClassVar[Role]
    gradient_everywhere: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    least_at_truth: ClassVar[bool] = True
    unlabelled: ClassVar[bool] = False
    of_logits: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset()
    cost: ClassVar[Cost] = "pixel"

    @abstractmethod
    def value(self, scores: Scores) -> Tensor:
        """The term in float32; zero with a graph where no pixel is valid."""

    def __call__(
        self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255, extras: LossExtras | None = None
    ) -> Tensor:
        """The term alone, as ``Loss`` computes it."""
        scores = _scores(logits, labels, ignore_index, extras)
        if self.role not in SEE_LABELS:
            scores.check_labels()
        return _of_term(self, scores)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A term and its weight.

    Attributes:
        term: The term.
        log_ratio: Base-2 logarithm of its weight over the anchor's.
        schedule: Factor of the weight as training goes on.
    """

    term: LossTerm
    log_ratio: float = 0.0
    schedule: LossSchedule = field(default=Constant(), metadata=LATER)


@dataclass(frozen=True, slots=True)
class Loss:
    """The weighted mean of terms: sum_i w_i g_i(t) term_i / sum_i w_i with w_i = 2 ** log_ratio_i.

    A mean, because a common factor of all weights would only rescale the learning rate. g_i is the term's schedule and t the
    share of training that is done.

    Attributes:
        terms: The first one is the anchor, whose log-ratio is 0.
        balance: What weights weigh: ``values`` of terms, or ``gradients``: each term is first brought to the anchor's mean
            norm of the gradient with regard to the logits, measured in the first steps of training and kept from then on.

    Source: Karimi & Salcudean 2019, section III-C, arXiv:1904.10030, balance two terms once an epoch by their values.
    Deviations: gradients instead of values, which say little about influence; measured once, so that what is minimised does not
        change during training.
    """

    terms: tuple[Weighted, ...]
    balance: Literal["values", "gradients"] = field(default="values", metadata=LATER)

    def __post_init__(self) -> None:
        if not self.terms or self.terms[0].log_ratio != 0:
            raise SpaceError(
                "loss.terms: at least one term is needed, and the first, the anchor, has log_ratio 0."
            )
        if not all(math.isfinite(weighted.log_ratio) for weighted in self.terms):
            raise SpaceError("loss.terms: a log_ratio is not finite; leave out a term whose weight is 0.")
        if not any(
            weighted.term.gradient_everywhere and least(weighted.schedule) > 0 for weighted in self.terms
        ):
            kinds = ", ".join(weighted.term.kind for weighted in self.terms)
            raise SpaceError(
                f"loss.terms: no term of {kinds} gives a gradient everywhere at all times; add one, such as cross_entropy."
            )
        if not self.of_logits and (len(self.terms) > 1 or self.balance == "gradients"):
            alone = next(weighted.term.kind for weighted in self.terms if not weighted.term.of_logits)
            raise SpaceError(
                f"loss.terms: {alone} is computed inside the network, which gives no logits to other terms in training; "
                "let it stand alone, with balance values."
            )

    @property
    def needs(self) -> frozenset[Need]:
        """What its terms use beside logits and labels."""
        return frozenset().union(*(weighted.term.needs for weighted in self.terms))

    @property
    def of_logits(self) -> bool:
        """Whether all of its terms are computed of logits."""
        return all(weighted.term.of_logits for weighted in self.terms)

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        ignore_index: int = 255,
        extras: LossExtras | None = None,
        norms: Tensor | None = None,
    ) -> Tensor:
        """The value, always in float32, also under autocast.

        Args:
            logits: Scores before softmax, any finite range.
            labels: Class of each pixel, in [0, K), or ``ignore_index``.
            ignore_index: Label that never counts.
            extras: What training knows beside them; needed as far as ``needs`` says.
            norms: For a balance of gradients the mean of what ``gradient_norms`` gave; without it values are weighed.

        Shape:
            logits (N, K, *S) float; labels (N, *S) int64; norms (T,) float32; returns a scalar.

        Raises:
            ShapeError: The sizes do not fit, or K < 2.
            SpaceError: On the CPU, a label is neither in [0, K) nor ignored. A card is not asked, as the host would wait.
        """
        scores = _scores(logits, labels, ignore_index, extras)
        if self.balance == "values" or norms is None:
            return _value(scores, self.terms, (1.0,) * len(self.terms))
        return _value(scores, self.terms, (norms[0] / torch.maximum(norms, LEAST_NORM * norms[0])).unbind())

    def gradient_norms(
        self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255, extras: LossExtras | None = None
    ) -> Tensor:
        """Norm of the gradient of each term, without weight or schedule, with regard to the logits, (T,) float32."""
        leaf = logits.detach().float().requires_grad_()
        with torch.autocast(logits.device.type, enabled=False):
            values = [
                _of_term(weighted.term, _scores(leaf, labels, ignore_index, extras))
                for weighted in self.terms
            ]
            return torch.stack([torch.autograd.grad(value, leaf)[0].norm() for value in values])

    def canonical(self) -> "Loss":
        """Equal terms merged, negligible ones dropped, the anchor first in order of role and content."""
        weights: dict[tuple[LossTerm, LossSchedule], float] = {}
        for weighted in self.terms:
            part = (weighted.term, weighted.schedule)
            weights[part] = weights.get(part, 0.0) + 2.0**weighted.log_ratio
        largest = max(weights.values())
        kept = {part: w for part, w in weights.items() if math.log2(w / largest) >= NEGLIGIBLE}
        order = sorted(
            kept, key=lambda part: (ROLES.index(part[0].role), json_text(part[0]), json_text(part[1]))
        )
        ratios = {part: quantise(math.log2(kept[part] / kept[order[0]])) + 0.0 for part in order}
        terms = tuple(Weighted(term, ratios[term, schedule], schedule) for term, schedule in order)
        balance = self.balance if len(terms) > 1 else "values"
        return self if (terms, balance) == (self.terms, self.balance) else Loss(terms, balance)


def _scores(logits: Tensor, labels: Tensor, ignore_index: int, extras: LossExtras | None) -> Scores:
    if logits.dim() < 3 or logits.shape[1] < 2 or logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise ShapeError(
            f"loss: logits {tuple(logits.shape)} and labels {tuple(labels.shape)} given; "
            "(N, K, *S) with K >= 2 and (N, *S) are needed."
        )
    return Scores(logits.float(), labels, ignore_index, extras)


def _value(scores: Scores, terms: tuple[Weighted, ...], scales: Sequence[float | Tensor]) -> Tensor:
    """Weighted mean of terms, each scaled beforehand, in float32."""
    shares = [2.0**weighted.log_ratio for weighted in terms]
    whole = sum(shares)
    total: Tensor | None = None
    if not any(weighted.term.role in SEE_LABELS for weighted in terms):
        scores.check_labels()
    for share, weighted, scale in zip(shares, terms, scales, strict=True):
        weight = share / whole * weighted.schedule.factor(scores.extras.fraction)
        if weight > 0:
            value = _of_term(weighted.term, scores)
            factor = weight * scale
            part = value if isinstance(factor, float) and factor == 1 else factor * value
            total = part if total is None else total + part
    assert total is not None, "a loss has a term that is always on"
    return total


def _of_term(term: LossTerm, scores: Scores) -> Tensor:
    """A term in a loss, in full precision; a label of no class is named."""
    device = scores.logits.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return _of_term(term, scores)
    try:
        return term.value(scores)
    except (IndexError, RuntimeError):  # what such a label makes of terms that see labels
        scores.check_labels()
        raise
