"""Whether a loss can teach a network at all, found out on 12 x 12 pixels before a worker is used.

A loss that fails a property here is wrong or useless, whatever the data; one that passes may still be a poor choice. The
properties are judged on the weighted sum of the terms, at the start and at the end of its schedules:

    needs       training gives what its terms need (asked elsewhere, as it depends on the trainer)
    fits        weights and classes of its terms fit the number of classes
    finite      value and slope, also for logits of 1e4, empty, full and ignored labels
    bounded     growing confidence in the truth does not lower the value for ever
    monotone    growing sets of missed or false pixels do not lower the value, but for one step in ten
    minimal     no wrong mask has a lower value than the truth
    strict      false pixels on an empty label and a missed full label cost something
    recovers    60 steps of Adam on free logits find a large object, and one of two pixels, and keep them for ten

Source: after Liu et al. 2021, "Loss function discovery for object detection via convergence-simulation driven search",
    arXiv:2102.04700, and Li et al. 2022, "AutoLoss-Zero", section 3.3, arXiv:2103.14026.
Deviations: properties of segmentation instead of detection; all but the last need no training.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import ShapeError, SpaceError
from search_spaces.exact_distance import signed_distance
from search_spaces.loss import Loss
from search_spaces.loss_schedule import Constant
from search_spaces.scores import LossExtras

SIDE = 12
IGNORED = 255
MOST_CLASSES = 4  # more would cost time and show nothing new
CONFIDENCES = (
    1.0,
    2.0,
    4.0,
)  # half the difference of logits; a loss with label smoothing is least at a low one
SURE = 4.0
CERTAIN = (8.0, 16.0, 32.0)  # at the first all but 1e-7 of the probability is at the truth
SETTLED = 0.05  # how far a value may still fall from there
STEPS, RATE = 60, 0.3
RECOVERED = 0.9  # Dice
LOOK = 10  # steps; what is found at two looks in a row stays found
DROPS = 0.1  # share of steps with a growing error that may lower the value; Hausdorff terms do in 5 %
SLACK = 1e-5  # of float32 sums
FAINT = 0.9  # the second prediction over the first

Property = Literal["needs", "fits", "finite", "bounded", "monotone", "minimal", "strict", "recovers"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a loss is refused.

    Attributes:
        lacks: The property that it lacks; the first one found.
        message: One line for the user.
    """

    lacks: Property
    message: str


@functools.lru_cache(maxsize=10_000)
def fault_of(loss: Loss, *, num_classes: int) -> Fault | None:
    """The first property that a loss lacks, or None; a function of its arguments, remembered.

    A loss that is not computed of logits is not judged: what it teaches is up to the network.
    """
    if not loss.of_logits:
        return None
    try:
        _value_at(loss, _truths()["large"], num_classes, SURE, "large", 0.0)
    except SpaceError as error:
        return Fault("fits", str(error))
    try:
        return next(_faults(loss, min(num_classes, MOST_CLASSES)), None)
    except ShapeError:  # a term names a later class
        return next(_faults(loss, num_classes), None)


def _faults(loss: Loss, classes: int) -> Iterator[Fault]:
    scheduled = any(weighted.schedule != Constant() for weighted in loss.terms)
    yield from _not_finite(loss, classes, 1.0)
    yield from _not_bounded(loss, classes, 1.0)
    for fraction in (0.0, 1.0) if scheduled else (0.0,):
        yield from _not_monotone(loss, classes, fraction)
        yield from _not_minimal(loss, classes, fraction)
        yield from _not_strict(loss, classes, fraction)
    yield from _not_recovering(loss, classes)


def _not_finite(loss: Loss, classes: int, fraction: float) -> Iterator[Fault]:
    small = _logits(_truths()["small"], classes, 1.0)
    for label in ("empty", "full", "ignored", "large"):
        for scale in (0.0, 1e4, -1e4):
            value, slope = _gradient(loss, scale * small, label, fraction)
            if not (math.isfinite(value) and bool(torch.isfinite(slope).all())):
                message = f"its value or slope is not finite for an {label} label and logits of {scale:g}"
                yield Fault("finite", message)


def _not_bounded(loss: Loss, classes: int, fraction: float) -> Iterator[Fault]:
    first, *later = (
        _value_at(loss, _truths()["large"], classes, scale, "large", fraction) for scale in CERTAIN
    )
    if min(later) < first - SETTLED:
        message = (
            f"it falls without end as the truth grows more certain, from {first:.3g} to {min(later):.3g}"
        )
        yield Fault("bounded", message)


def _not_monotone(loss: Loss, classes: int, fraction: float) -> Iterator[Fault]:
    drops, steps = 0, 0
    for label in ("large", "small"):
        truth = _truths()[label]
        for masks in (_misses(truth), _alarms(truth)):
            values = [_value_at(loss, mask, classes, SURE, label, fraction) for mask in masks]
            margin = _margin(*values)
            drops += sum(after < before - margin for before, after in itertools.pairwise(values))
            steps += len(values) - 1
    if drops > DROPS * steps:
        yield Fault("monotone", f"it falls at {drops} of {steps} steps in which an error grows")


def _not_minimal(loss: Loss, classes: int, fraction: float) -> Iterator[Fault]:
    for label in ("large", "small"):
        truth = _truths()[label]
        best = min(_value_at(loss, truth, classes, scale, label, fraction) for scale in CONFIDENCES)
        found = (
            (name, _value_at(loss, mask, classes, SURE, label, fraction))
            for name, mask in _wrong(truth).items()
        )
        vague = ((name, _value(loss, logits, label, fraction)) for name, logits in _vague(truth, classes))
        for probe, value in itertools.chain(found, vague):
            if value < best - _margin(best):
                message = f"the prediction {probe!r} of the {label} object has a lower value than the truth"
                yield Fault("minimal", message)


def _not_strict(loss: Loss, classes: int, fraction: float) -> Iterator[Fault]:
    for label, wrong in (("empty", "full"), ("full", "empty")):
        right, other = (
            _value_at(loss, _truths()[mask], classes, SURE, label, fraction) for mask in (label, wrong)
        )
        if other <= right + _margin(right):
            message = f"the prediction {wrong!r} of the label {label!r} costs no more than the truth"
            yield Fault("strict", message)


def _not_recovering(loss: Loss, classes: int) -> Iterator[Fault]:
    labels, extras = _case("both", classes)
    logits = torch.zeros(len(labels), classes, SIDE, SIDE)
    first, second = (
        torch.zeros_like(logits),
        torch.zeros_like(logits),
    )  # moments; torch's Adam takes a second to import
    good_before = False
    for step in range(1, STEPS + 1):
        slope = _slope(loss, logits, labels, replace(extras, second=FAINT * logits))[1]
        first.lerp_(slope, 0.1)
        second.lerp_(slope.square(), 0.001)
        scale = (second / (1 - 0.999**step)).sqrt() + 1e-8
        logits -= RATE * first / (1 - 0.9**step) / scale
        if step % LOOK == 0:
            masks, truths = (logits.argmax(1) == 1).flatten(1), (labels == 1).flatten(1)
            dice = 2 * (masks & truths).sum(1) / (masks.sum(1) + truths.sum(1))
            good = bool((dice >= RECOVERED).all())
            if good and good_before:
                return
            if not good and step == STEPS - LOOK:
                break  # the last look alone would not do
            good_before = good
    name, found = min(zip(("large", "small"), dice.tolist(), strict=True), key=lambda pair: pair[1])
    yield Fault("recovers", f"{step} steps of descent find the {name} object with a Dice of {found:.2f}")


@functools.cache
def _truths() -> dict[str, Tensor]:
    """Labels (N, 12, 12) by name: a square, two pixels, both, none, all, and nothing known."""
    empty = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    large, small = empty.clone(), empty.clone()
    large[:, 2:10, 2:10] = 1
    small[:, 5, 5:7] = 1
    known = {"large": large, "small": small, "empty": empty, "full": empty + 1}
    return known | {"both": torch.cat([large, small]), "ignored": torch.full_like(empty, IGNORED)}


@functools.cache
def _case(label: str, classes: int) -> tuple[Tensor, LossExtras]:
    """Labels and their extras; the critic knows nothing."""
    labels = _truths()[label]
    masks = torch.stack([labels == c for c in range(classes)], dim=1)
    return labels, LossExtras(
        distance=signed_distance(masks.flatten(0, 1)).view(masks.shape),
        neighbours=torch.full(labels.shape, 6.0),
        image=(labels == 1).float().unsqueeze(1),
        distances=signed_distance,
        critic=lambda image, maps: 0 * maps[:, 0].flatten(1).mean(1),
    )


def _misses(truth: Tensor) -> list[Tensor]:
    """Nested masks that miss ever more of an object, from its end."""
    places = truth.flatten().nonzero().flatten()
    kept = [places[: len(places) * quarters // 4] for quarters in (4, 3, 2, 1, 0)]
    return [torch.zeros_like(truth).view(-1).index_fill(0, part, 1).view_as(truth) for part in kept]


def _alarms(truth: Tensor) -> list[Tensor]:
    """Nested masks with ever more false pixels: rows from the top, then all."""
    rows = torch.arange(SIDE).view(1, SIDE, 1)
    return [truth.masked_fill(rows < count, 1) for count in (0, 1, 2, 6, SIDE)]


def _wrong(truth: Tensor) -> dict[str, Tensor]:
    """Wrong masks of a truth, by name."""
    grown = F.max_pool2d(truth.float(), 3, 1, 1).long()
    shrunk = 1 - F.max_pool2d(1 - truth.float(), 3, 1, 1).long()
    masks = {"empty": 0 * truth, "full": 0 * truth + 1, "inverted": 1 - truth}
    return masks | {"dilated": grown, "eroded": shrunk, "shifted": truth.roll(2, 2)}


def _vague(truth: Tensor, classes: int) -> Iterator[tuple[str, Tensor]]:
    """Logits that say little about a truth, by name."""
    even = torch.zeros(1, classes, SIDE, SIDE)
    yield "undecided", even
    unlikely = math.log((classes - 1) / (math.e - 1))  # the label's logit where its probability is 1/e
    yield "1/e", even.scatter(1, truth.unsqueeze(1), unlikely)
    yield "noise", 2 * torch.randn(even.shape, generator=torch.Generator().manual_seed(0))


def _logits(mask: Tensor, classes: int, scale: float) -> Tensor:
    """Logits of a mask (N, 12, 12): ``scale`` for its class and minus ``scale`` for the others."""
    rows = torch.full((len(mask), classes, SIDE, SIDE), -scale)
    return rows.scatter(1, mask.unsqueeze(1), scale)


def _value_at(loss: Loss, mask: Tensor, classes: int, scale: float, label: str, fraction: float) -> float:
    """Value of a loss where a mask is predicted; several properties ask for the same one."""
    return _remembered(loss, tuple(mask.flatten().tolist()), classes, scale, label, fraction)


@functools.lru_cache(maxsize=128)  # more than one loss needs
def _remembered(
    loss: Loss, mask: tuple[int, ...], classes: int, scale: float, label: str, fraction: float
) -> float:
    return _value(loss, _logits(torch.tensor(mask).view(1, SIDE, SIDE), classes, scale), label, fraction)


def _value(loss: Loss, logits: Tensor, label: str, fraction: float) -> float:
    labels, extras = _case(label, logits.shape[1])
    known = replace(extras, fraction=fraction, second=FAINT * logits)
    norms = _norms(loss, logits.shape[1])
    with torch.no_grad():
        return loss(logits, labels, ignore_index=IGNORED, extras=known, norms=norms).item()


def _gradient(loss: Loss, logits: Tensor, label: str, fraction: float) -> tuple[float, Tensor]:
    labels, extras = _case(label, logits.shape[1])
    known = replace(extras, fraction=fraction, second=FAINT * logits)
    return _slope(loss, logits, labels, known)


def _slope(loss: Loss, logits: Tensor, labels: Tensor, extras: LossExtras) -> tuple[float, Tensor]:
    leaf = logits.clone().requires_grad_()
    norms = _norms(loss, logits.shape[1])
    value = loss(leaf, labels, ignore_index=IGNORED, extras=extras, norms=norms)
    (slope,) = torch.autograd.grad(value, leaf)
    return value.item(), slope


@functools.lru_cache(maxsize=4)
def _norms(loss: Loss, classes: int) -> Tensor | None:
    """Norms as the first steps of training would measure them, of logits that know nothing yet."""
    if loss.balance == "values":
        return None
    labels, extras = _case("both", classes)
    logits = 0.1 * torch.randn(len(labels), classes, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return loss.gradient_norms(
        logits, labels, ignore_index=IGNORED, extras=replace(extras, second=FAINT * logits)
    )


def _margin(*values: float) -> float:
    return SLACK * (1 + max(map(abs, values)))
