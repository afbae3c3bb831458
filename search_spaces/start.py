"""How presets are trained when a search starts from them: one loss and one recipe, so that networks are comparable."""

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.recipe import Augmentation, Recipe


def start_from(architecture: Architecture, *, learning_rate: float = 1e-3) -> Candidate:
    """An architecture with cross-entropy and Dice in equal parts, AdamW, a cosine schedule and light augmentation."""
    recipe = Recipe(
        learning_rate=learning_rate,
        warmup=0.05,
        augmentation=Augmentation(rotate_deg=10.0, zoom=0.1, intensity=0.1),
    )
    return Candidate(architecture, Loss((Weighted(CrossEntropy()), Weighted(Dice()))), recipe)
