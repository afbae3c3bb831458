"""What is done to a case before the network sees it: a part of the candidate, carried by its export.

Here stand the choices only. ``workers/preprocessing.py`` applies and undoes them; statistics come from
training cases.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

Scope = Literal["image", "training"]


@dataclass(frozen=True, slots=True)
class ZScore:
    """Subtract the mean, divide by the deviation, per channel.

    Attributes:
        scope: ``image`` measures each case by itself; ``training`` measures all training cases once.
    """

    scope: Scope = "image"
    kind: ClassVar[str] = "zscore"


@dataclass(frozen=True, slots=True)
class Percentile:
    """Clip to two percentiles and scale to [0, 1], per channel; percentiles in [0, 100]."""

    low: float = 0.5
    high: float = 99.5
    scope: Scope = "image"
    kind: ClassVar[str] = "percentile"


@dataclass(frozen=True, slots=True)
class Window:
    """Clip to a fixed interval of the stored unit (Hounsfield units in CT) and scale to [0, 1]."""

    low: float
    high: float
    kind: ClassVar[str] = "window"


Intensity = ZScore | Percentile | Window


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Geometry and intensity rule of a candidate.

    Attributes:
        orientation: ``stored`` keeps the axes of the file; ``ras`` turns volumes to right-anterior-superior.
        spacing: ``stored`` keeps the voxel size; ``median`` resamples to the median spacing of the training
            cases.
        intensity: How grey values become network input.
        crop: ``none``, or ``nonzero``: cut to the box of non-zero voxels (restored in the output as
            background).
    """

    intensity: Intensity = ZScore()
    orientation: Literal["stored", "ras"] = "ras"
    spacing: Literal["stored", "median"] = "stored"
    crop: Literal["none", "nonzero"] = "none"
