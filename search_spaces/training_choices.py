"""Choices of how a network is trained that spaces share."""

from typing import Literal

from search_spaces.decoder import Decoder
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.detection import Detection
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.tversky import Tversky
from search_spaces.preprocessing import Intensity, Percentile, ZScore
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.space import Choice, Choose, Real

SCHEDULES: tuple[Literal["cosine", "poly", "constant"], ...] = ("cosine", "poly", "constant")
OPTIMISERS: tuple[Literal["adamw", "sgd"], ...] = ("adamw", "sgd")
LEARNING_RATES = {"adamw": Real(3e-4, 1e-2, log=True), "sgd": Real(1e-2, 0.3, log=True)}
PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")


def choose_simple_loss(choose: Choose) -> Loss:
    """A distribution term as the anchor, and at most one region term."""
    length = choose("loss.terms.length", Choice((2, 1)))
    terms = [Weighted(_distribution_term(choose, "loss.terms.0.term"))]
    if length == 2:
        log_ratio = choose("loss.terms.1.log_ratio", Real(-3.0, 3.0))
        terms.append(Weighted(_region_term(choose, "loss.terms.1.term"), log_ratio))
    return Loss(tuple(terms))


def choose_fitting_loss(choose: Choose, decoder: Decoder) -> Loss:
    """A simple loss, or the one of networks that find objects."""
    return Loss((Weighted(Detection()),)) if decoder.finds_objects else choose_simple_loss(choose)


def _distribution_term(choose: Choose, path: str) -> LossTerm:
    if choose(f"{path}.kind", Choice(("cross_entropy", "focal"))) == "cross_entropy":
        return CrossEntropy(smoothing=choose(f"{path}.smoothing", Choice((0.0, 0.05))))
    return Focal(gamma=choose(f"{path}.gamma", Real(0.5, 3.0)))


def _region_term(choose: Choose, path: str) -> LossTerm:
    kind = choose(f"{path}.kind", Choice(("dice", "tversky")))
    per_sample = choose(f"{path}.per_sample", Choice((False, True)))
    background = choose(f"{path}.background", Choice((False, True)))
    if kind == "dice":
        squared = choose(f"{path}.squared", Choice((False, True)))
        return Dice(squared=squared, per_sample=per_sample, background=background)
    return Tversky(beta=choose(f"{path}.beta", Real(0.2, 0.8)), per_sample=per_sample, background=background)


def choose_recipe(choose: Choose) -> Recipe:
    """Optimiser, schedule, precision, augmentation."""
    path = "recipe.augmentation"
    optimiser = choose("recipe.optimiser", Choice(OPTIMISERS))
    return Recipe(
        optimiser=optimiser,
        learning_rate=choose("recipe.learning_rate", LEARNING_RATES[optimiser]),
        weight_decay=choose("recipe.weight_decay", Choice((1e-4, 1e-3, 1e-2, 5e-2))),
        schedule=choose("recipe.schedule", Choice(SCHEDULES)),
        warmup=choose("recipe.warmup", Choice((0.0, 0.05))),
        average=choose("recipe.average", Choice((0.0, 0.99))),
        precision=choose("recipe.precision", Choice(PRECISIONS)),
        augmentation=Augmentation(
            flip=choose(f"{path}.flip", Choice((False, True))),
            rotate_deg=choose(f"{path}.rotate_deg", Choice((0.0, 10.0, 20.0))),
            zoom=choose(f"{path}.zoom", Choice((0.0, 0.1, 0.2))),
            intensity=choose(f"{path}.intensity", Choice((0.0, 0.1, 0.2))),
            noise=choose(f"{path}.noise", Choice((0.0, 0.05, 0.1))),
        ),
    )


def choose_intensity(choose: Choose) -> Intensity:
    """The rule that scales the values of an image."""
    kind = choose("preprocessing.intensity.kind", Choice(("zscore", "percentile")))
    return ZScore() if kind == "zscore" else Percentile()
