"""Regions: named unions of classes that may overlap, so that a pixel can have several labels.

Labels stay one class a pixel; what is learned, measured and predicted are regions. Losses: ``search_spaces.region_loss``.
"""

from dataclasses import dataclass

VALUES = 256  # of a stored label


@dataclass(frozen=True, slots=True)
class Region:
    """A union of classes.

    Attributes:
        name: Public name; results are called after it.
        classes: Indices of its classes, ascending, at least one.
    """

    name: str
    classes: tuple[int, ...]


Regions = tuple[Region, ...]
