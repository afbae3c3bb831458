"""What a loss term sees: logits and labels of a batch, and what training knows beside them."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import SpaceError

Need = Literal[
    "distance", "neighbours", "objects", "image", "prediction_distance", "second", "critic", "detection"
]

TINY = 1e-6  # under any sum of weights, but for that of no pixel


@dataclass(frozen=True, slots=True)
class LossExtras:
    """What training knows of a batch beside logits and labels. A term says in ``needs`` what it uses.

    Lengths are in the unit of ``spacing``: millimetres where the data set has a voxel size, pixels otherwise.

    Attributes:
        fraction: Share of the full training that is done, in [0, 1]; schedules refer to it.
        spacing: Size of a pixel along each spatial axis; empty where it is 1 everywhere.
        distance: ``distance``: signed distance maps of the labels, (N, K, *S) float32. Outside a class, the distance from
            the pixel's centre to the nearest centre inside; inside, minus the distance to the nearest centre outside. 0 where
            the class is absent or fills the sample.
        neighbours: ``neighbours``: sum of the distances to the two nearest objects (connected components of any
            class but 0), (N, *S) float32; infinite where the sample has fewer than two.
        objects: ``objects``: numbers of the objects of a sample from 1, 0 where there is none, (N, *S) int32.
        image: ``image``: what the labels were drawn on, as the network saw it, (N, C, *S).
        distances: ``prediction_distance``: a function of bool masks (M, *S) that returns their signed distance maps
            (M, *S) float32 on the same device, as in ``distance``.
        second: ``second``: logits of another forward pass over a perturbed batch, moved back to the geometry of the first,
            (N, K, *S).
        critic: ``critic``: a function of image (N, C, *S) and class maps (N, K, *S) that returns a logit of being
            real for each sample or patch.
        detection: ``detection``: of a network that finds objects, a function of labels (N, *S), -1 where they are ignored, and
            ``objects`` that returns its own losses (L,) of the batch.
    """

    fraction: float = 0.0
    spacing: tuple[float, ...] = ()
    distance: Tensor | None = None
    neighbours: Tensor | None = None
    objects: Tensor | None = None
    image: Tensor | None = None
    distances: Callable[[Tensor], Tensor] | None = None
    second: Tensor | None = None
    critic: Callable[[Tensor, Tensor], Tensor] | None = None
    detection: Callable[[Tensor, Tensor], Tensor] | None = None

    def to(self, device: torch.device | str) -> "LossExtras":
        """The same with all tensors on a device."""
        return self._with(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self._tensors().items()}
        )

    def split(self, parts: int) -> "tuple[LossExtras, ...]":
        """The extras of each part of a batch, cut as ``Tensor.tensor_split`` cuts it."""
        cut = {name: tensor.tensor_split(parts) for name, tensor in self._tensors().items()}
        return tuple(
            self._with({name: pieces[part] for name, pieces in cut.items()}) for part in range(parts)
        )

    def _with(self, tensors: dict[str, Tensor]) -> "LossExtras":
        changes: dict[str, Any] = {**tensors}
        return replace(self, **changes)

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


NO_EXTRAS = LossExtras()


class Scores:
    """Logits and labels of a batch in the forms that terms need, each made once.

    Attributes:
        logits: Float32 (N, K, *S).
        target: Labels as given, (N, *S) int64.
        ignore_index: Label of ignored pixels.
        extras: What training knows beside them.
        memo: What terms share beyond this, by name.
    """

    def __init__(
        self, logits: Tensor, labels: Tensor, ignore_index: int, extras: LossExtras | None = None
    ) -> None:
        self.logits = logits
        self.target = labels
        self.ignore_index = ignore_index
        self.extras = extras or NO_EXTRAS
        self.memo: dict[str, Any] = {}

    @functools.cached_property
    def valid(self) -> Tensor:
        """False where the pixel is ignored, bool (N, *S)."""
        return self.target != self.ignore_index

    @functools.cached_property
    def num_valid(self) -> Tensor:
        """Valid pixels of the batch, at least 1."""
        return self.valid.sum().clamp(min=1)

    @functools.cached_property
    def whole(self) -> bool:
        """Whether no pixel is known to be ignored; on a card it is not asked, as the host would wait."""
        return self.valid.is_cpu and int(self.num_valid) == self.valid.numel()

    @functools.cached_property
    def labels(self) -> Tensor:
        """Labels with 0 at ignored pixels, so that they can index classes, (N, *S) int64."""
        return self.target if self.whole else self.target.masked_fill(~self.valid, 0)

    def check_labels(self) -> None:
        """Look for a label of no class; a card is not asked, as the host would wait.

        Raises:
            SpaceError: A label is neither in [0, K) nor ignored.
        """
        if not self.target.is_cpu:
            return
        classes = self.logits.shape[1]
        wrong = self.valid & ((self.target < 0) | (self.target >= classes))
        if wrong.any():
            raise SpaceError(
                f"loss: a label is {int(self.target[wrong][0])}; whole numbers from 0 to {classes - 1}, and "
                f"{self.ignore_index} for ignored pixels, are allowed."
            )

    @functools.cached_property
    def log_probs(self) -> Tensor:
        """Log-softmax over classes, (N, K, *S)."""
        return self.logits.log_softmax(1)

    @functools.cached_property
    def softmax(self) -> Tensor:
        """Softmax over classes, also at ignored pixels, (N, K, *S)."""
        if "log_probs" in self.__dict__:
            return self.log_probs.exp()
        return self.logits.softmax(1)

    @functools.cached_property
    def probs(self) -> Tensor:
        """Softmax over classes, zero at ignored pixels, (N, K, *S)."""
        return self.softmax if self.whole else self.softmax * self.valid.unsqueeze(1)

    @functools.cached_property
    def cross_entropy(self) -> Tensor:
        """Minus log-probability of the label, zero at ignored pixels, (N, *S)."""
        return F.nll_loss(self.log_probs, self.target, ignore_index=self.ignore_index, reduction="none")

    @functools.cached_property
    def log_wrong(self) -> Tensor:
        """log(1 - p) of every class, exact also where p is 1 to the last digit, (N, K, *S)."""
        if self.logits.shape[1] == 2:
            return self.log_probs.flip(1)
        largest = self.logits.argmax(1, keepdim=True)
        others = torch.logsumexp(self.log_probs.scatter(1, largest, -math.inf), dim=1, keepdim=True)
        rest = self.log_probs.scatter(1, largest, -1.0)  # any p under 1 does: it is replaced below
        return torch.log1p(-rest.exp()).scatter(1, largest, others)

    @functools.cached_property
    def seen(self) -> Tensor:
        """Pixels for terms that need no label: the valid ones, and all of a sample without labels; bool (N, *S)."""
        labelled = self.valid.flatten(1).any(1).view(-1, *[1] * (self.labels.dim() - 1))
        return self.valid | ~labelled

    @functools.cached_property
    def truth(self) -> Tensor:
        """Bool one-hot labels, False at ignored pixels, (N, K, *S)."""
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        classes = classes.view(1, -1, *[1] * (self.labels.dim() - 1))
        return (self.labels.unsqueeze(1) == classes) & self.valid.unsqueeze(1)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a pixel along each spatial axis."""
        return self.extras.spacing or (1.0,) * (self.labels.dim() - 1)

    @property
    def diagonal(self) -> float:
        """Length of a sample's diagonal: the unit in which terms measure distances."""
        return math.sqrt(
            sum((size * step) ** 2 for size, step in zip(self.labels.shape[1:], self.spacing, strict=True))
        )

    def mean_cross_entropy(self, weights: Tensor | None = None) -> Tensor:
        """Mean of minus log-probability of the label, weighted by weights (K,) > 0 of its class; zero if nothing is valid."""
        if not self.logits.is_cpu:  # there torch adds up in an order that changes from run to run
            ignored = self.ignore_index
            losses = F.nll_loss(
                self.log_probs, self.target, weights, ignore_index=ignored, reduction="none"
            ).sum()
            share = self.valid if weights is None else weights[self.labels] * self.valid
            return losses / share.sum().clamp(min=1 if weights is None else TINY)
        options = (self.log_probs, self.target, weights)
        mean = F.nll_loss(*options, ignore_index=self.ignore_index)
        if math.isnan(mean.item()):  # nothing is valid, and torch's mean 0 / 0, or a logit is not finite
            mean = F.nll_loss(*options, ignore_index=self.ignore_index, reduction="sum")
        return mean

    def mean(self, per_pixel: Tensor) -> Tensor:
        """Mean over valid pixels of a map (N, *S), zero where there are none."""
        kept = per_pixel if self.whole else per_pixel * self.valid
        return kept.sum() / self.num_valid

    @property
    def distance(self) -> Tensor:
        """Signed distance maps of the labels, (N, K, *S)."""
        return cast(Tensor, self._extra("distance", self.extras.distance))

    @property
    def neighbours(self) -> Tensor:
        """Sum of the distances to the two nearest objects, (N, *S)."""
        return cast(Tensor, self._extra("neighbours", self.extras.neighbours))

    @property
    def objects(self) -> Tensor:
        """Numbers of the objects of each sample, (N, *S)."""
        return cast(Tensor, self._extra("objects", self.extras.objects))

    @property
    def image(self) -> Tensor:
        """What the network saw, (N, C, *S) float32."""
        return cast(Tensor, self._extra("image", self.extras.image)).float()

    @property
    def distances(self) -> Callable[[Tensor], Tensor]:
        """Signed distance maps (M, *S) of bool masks (M, *S)."""
        return cast(Callable[[Tensor], Tensor], self._extra("prediction_distance", self.extras.distances))

    @property
    def second(self) -> Tensor:
        """Logits of a second forward pass, (N, K, *S) float32."""
        return cast(Tensor, self._extra("second", self.extras.second)).float()

    @property
    def critic(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Logit of being real of image and class maps."""
        return cast(Callable[[Tensor, Tensor], Tensor], self._extra("critic", self.extras.critic))

    @property
    def detection(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Losses of a network that finds objects, of labels and numbers of objects."""
        return cast(Callable[[Tensor, Tensor], Tensor], self._extra("detection", self.extras.detection))

    def _extra(self, need: Need, value: object) -> object:
        if value is None:
            raise SpaceError(f"loss: a term needs {need!r}, which was not given; pass it in extras.")
        return value
