"""The choice of a loss, for use inside any space.

An anchor of the cross-entropy family, at most one region term, at most one boundary term, at most two regularisers; weights as
log-ratios to the anchor, so that no direction of the space only rescales the learning rate; they weigh values or gradients.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Literal, TypedDict

from search_spaces.domain import Choice, Real
from search_spaces.loss import Loss, LossTerm, Role, Weighted
from search_spaces.loss_schedule import BoundaryRamp, Constant, GaussRamp, LossSchedule, StepOn
from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.balanced_cross_entropy import BalancedCrossEntropy
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.caliva import Caliva
from search_spaces.losses.consistency import Consistency
from search_spaces.losses.contour import Contour
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.exponential_logarithmic import ExponentialLogarithmic
from search_spaces.losses.focal import Focal
from search_spaces.losses.focal_tversky import FocalTversky
from search_spaces.losses.frequency_weighted import FrequencyWeighted
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.hausdorff_convolution import HausdorffConvolution
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.hausdorff_erosion import HausdorffErosion
from search_spaces.losses.jaccard import Jaccard
from search_spaces.losses.lovasz_softmax import LovaszSoftmax
from search_spaces.losses.mumford_shah import MumfordShah
from search_spaces.losses.size_constraint import SizeConstraint
from search_spaces.losses.star_shape import StarShape
from search_spaces.losses.top_k import TopK
from search_spaces.losses.tversky import Tversky
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.space import Choose

ANCHORS = (
    "cross_entropy", "focal", "weighted_cross_entropy", "balanced_cross_entropy", "top_k", "frequency_weighted",
)  # fmt: skip
REGIONS = (
    "dice", "tversky", "generalised_dice", "jaccard", "focal_tversky", "exponential_logarithmic", "lovasz_softmax",
)  # fmt: skip
BOUNDARIES: dict[str, tuple[float, float]] = {
    "boundary": (1.0, 7.0), "caliva": (-3.0, 3.0), "unet_border": (-3.0, 3.0), "contour": (1.0, 7.0),
    "hausdorff_distance": (2.0, 9.0), "hausdorff_erosion": (-2.0, 5.0), "hausdorff_convolution": (-1.0, 6.0),
}  # with the log2 of their weight: terms that measure in diagonals are small  # fmt: skip
REGULARISERS: dict[str, tuple[float, float]] = {
    "active_contour": (-5.0, 0.0), "consistency": (-1.0, 5.0), "mumford_shah": (-5.0, 1.0),
    "size_constraint": (-1.0, 6.0), "star_shape": (-2.0, 4.0),
}  # in the order of a canonical loss  # fmt: skip
SLOTS: tuple[Role, ...] = ("region", "boundary", "regulariser", "regulariser")
PATTERNS = {n: frozenset(combinations(SLOTS, n)) for n in range(len(SLOTS) + 1)}  # roles behind the anchor
KINDS: dict[Role, tuple[str, ...]] = {
    "region": REGIONS, "boundary": tuple(BOUNDARIES), "regulariser": tuple(REGULARISERS),
}  # fmt: skip
RATIO = (-3.0, 3.0)
RULES = (-5.0, 1.0)  # of a regulariser's gradient, which pulls away from the truth

Draw = Callable[[Choose, str], LossTerm]


def choose_loss(choose: Choose, path: str = "loss") -> Loss:
    """A loss of the grammar above.

    Args:
        choose: Makes decisions.
        path: Where the loss stands in the candidate.
    """
    length = choose(f"{path}.terms.length", Choice((2, 1, 3, 4, 5)))
    anchor = choose(f"{path}.terms.0.term.kind", Choice(ANCHORS))
    terms = [Weighted(TERMS[anchor](choose, f"{path}.terms.0.term"))]
    balance: tuple[Literal["gradients", "values"], ...] = ("gradients", "values")
    balanced = choose(f"{path}.balance", Choice(balance)) if length > 1 else "values"
    kinds: tuple[str, ...] = ()
    for place in range(1, length):
        where = f"{path}.terms.{place}"
        kind = choose(f"{where}.term.kind", Choice(_next_kinds(kinds, further=length - 1)))
        kinds = (*kinds, kind)
        range_of_values = (BOUNDARIES | REGULARISERS).get(kind, RATIO)
        range_of_gradients = RULES if kind in REGULARISERS else RATIO
        ratio = choose(
            f"{where}.log_ratio", Real(*(range_of_values if balanced == "values" else range_of_gradients))
        )
        term = TERMS[kind](choose, f"{where}.term")
        terms.append(Weighted(term, ratio, _schedule(choose, f"{where}.schedule", kind)))
    return Loss(tuple(terms), balanced)


def _next_kinds(before: tuple[str, ...], *, further: int) -> tuple[str, ...]:
    """Kinds that may follow some others where there are ``further`` terms behind the anchor."""
    place = len(before)
    roles = tuple(_role(kind) for kind in before)
    allowed = {pattern[place] for pattern in PATTERNS[further] if pattern[:place] == roles}
    kinds = [kind for role in KINDS if role in allowed for kind in KINDS[role]]
    last = KINDS["regulariser"].index(before[-1]) if roles and roles[-1] == "regulariser" else -1
    end = len(REGULARISERS) - (
        further - place - 1
    )  # two regularisers are in order, so the last one cannot come first
    return tuple(
        kind
        for kind in kinds
        if _role(kind) != "regulariser" or last < KINDS["regulariser"].index(kind) < end
    )


def _role(kind: str) -> Role:
    return next(role for role, kinds in KINDS.items() if kind in kinds)


def _schedule(choose: Choose, path: str, kind: str) -> LossSchedule:
    """Region terms may fade, boundary terms and consistency may come later; the others are constant."""
    if kind in REGIONS:
        fades = choose(f"{path}.kind", Choice(("constant", "boundary_ramp"))) == "boundary_ramp"
        return BoundaryRamp(falls=True) if fades else Constant()
    if kind == "consistency":
        return (
            GaussRamp(0.3)
            if choose(f"{path}.kind", Choice(("gauss_ramp", "constant"))) == "gauss_ramp"
            else Constant()
        )
    if kind not in BOUNDARIES:
        return Constant()
    match choose(f"{path}.kind", Choice(("constant", "boundary_ramp", "step_on"))):
        case "boundary_ramp":
            return BoundaryRamp()
        case "step_on":
            return StepOn(choose(f"{path}.at", Choice((0.25, 0.5))))
        case _:
            return Constant()


class Scope(TypedDict):
    """What a ratio is taken over."""

    per_sample: bool
    background: bool


def _scope(choose: Choose, path: str) -> Scope:
    per_sample = choose(f"{path}.per_sample", Choice((False, True)))
    return Scope(per_sample=per_sample, background=choose(f"{path}.background", Choice((False, True))))


def _cross_entropy(choose: Choose, path: str) -> LossTerm:
    return CrossEntropy(smoothing=choose(f"{path}.smoothing", Choice((0.0, 0.05, 0.1))))


def _focal(choose: Choose, path: str) -> LossTerm:
    return Focal(gamma=choose(f"{path}.gamma", Real(0.5, 5.0)))


def _weighted_cross_entropy(choose: Choose, path: str) -> LossTerm:
    weights = ((1.0, 2.0), (1.0, 5.0), (1.0, 10.0), (1.0, 20.0))
    return WeightedCrossEntropy(choose(f"{path}.weights", Choice(weights)))


def _balanced_cross_entropy(choose: Choose, path: str) -> LossTerm:
    return BalancedCrossEntropy()


def _top_k(choose: Choose, path: str) -> LossTerm:
    return TopK(choose(f"{path}.share", Choice((0.1, 0.2, 0.5))))


def _frequency_weighted(choose: Choose, path: str) -> LossTerm:
    return FrequencyWeighted(border=choose(f"{path}.border", Choice((0.0, 2.0, 5.0))))


def _dice(choose: Choose, path: str) -> LossTerm:
    return Dice(squared=choose(f"{path}.squared", Choice((False, True))), **_scope(choose, path))


def _tversky(choose: Choose, path: str) -> LossTerm:
    return Tversky(beta=choose(f"{path}.beta", Real(0.1, 0.9)), **_scope(choose, path))


def _generalised_dice(choose: Choose, path: str) -> LossTerm:
    return GeneralisedDice(**_scope(choose, path))


def _jaccard(choose: Choose, path: str) -> LossTerm:
    return Jaccard(**_scope(choose, path))


def _focal_tversky(choose: Choose, path: str) -> LossTerm:
    gamma = choose(f"{path}.gamma", Real(1.1, 3.0))
    return FocalTversky(gamma=gamma, beta=choose(f"{path}.beta", Real(0.1, 0.9)), **_scope(choose, path))


def _exponential_logarithmic(choose: Choose, path: str) -> LossTerm:
    gamma = choose(f"{path}.gamma", Real(0.3, 1.0))
    return ExponentialLogarithmic(gamma=gamma, per_sample=choose(f"{path}.per_sample", Choice((False, True))))


def _lovasz_softmax(choose: Choose, path: str) -> LossTerm:
    absent: tuple[Literal["skip", "penalise_fp"], ...] = ("skip", "penalise_fp")
    return LovaszSoftmax(absent=choose(f"{path}.absent", Choice(absent)), **_scope(choose, path))


def _boundary(choose: Choose, path: str) -> LossTerm:
    return Boundary()


def _caliva(choose: Choose, path: str) -> LossTerm:
    return Caliva(strength=choose(f"{path}.strength", Choice((1.0, 3.0, 10.0))))


def _unet_border(choose: Choose, path: str) -> LossTerm:
    return UNetBorder(width=choose(f"{path}.width", Choice((3.0, 5.0, 10.0))))


def _contour(choose: Choose, path: str) -> LossTerm:
    return Contour(sigma=choose(f"{path}.sigma", Choice((1.0, 2.0, 4.0))))


def _hausdorff_distance(choose: Choose, path: str) -> LossTerm:
    return HausdorffDistance(alpha=choose(f"{path}.alpha", Choice((1.0, 2.0, 3.0))))


def _hausdorff_erosion(choose: Choose, path: str) -> LossTerm:
    return HausdorffErosion(alpha=choose(f"{path}.alpha", Choice((1.0, 2.0, 3.0))))


def _hausdorff_convolution(choose: Choose, path: str) -> LossTerm:
    radii = ((3.0, 6.0, 9.0, 12.0, 15.0, 18.0), (2.0, 4.0, 8.0))
    return HausdorffConvolution(radii=choose(f"{path}.radii", Choice(radii)))


def _active_contour(choose: Choose, path: str) -> LossTerm:
    return ActiveContour(region=choose(f"{path}.region", Choice((0.0, 1.0))))


def _consistency(choose: Choose, path: str) -> LossTerm:
    return Consistency()


def _mumford_shah(choose: Choose, path: str) -> LossTerm:
    return MumfordShah(length=choose(f"{path}.length", Choice((0.0, 0.1, 1.0))))


def _size_constraint(choose: Choose, path: str) -> LossTerm:
    return SizeConstraint(slack=choose(f"{path}.slack", Choice((0.0, 0.1, 0.3))))


def _star_shape(choose: Choose, path: str) -> LossTerm:
    return StarShape(reach=choose(f"{path}.reach", Choice((2, 4, 8))))


TERMS: dict[str, Draw] = {
    draw.__name__[1:]: draw
    for draw in (
        _cross_entropy, _focal, _weighted_cross_entropy, _balanced_cross_entropy, _top_k, _frequency_weighted,
        _dice, _tversky, _generalised_dice, _jaccard, _focal_tversky, _exponential_logarithmic, _lovasz_softmax,
        _boundary, _caliva, _unet_border, _contour, _hausdorff_distance, _hausdorff_erosion, _hausdorff_convolution,
        _active_contour, _consistency, _mumford_shah, _size_constraint, _star_shape,
    )
}  # fmt: skip
