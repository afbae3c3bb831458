"""How a candidate is trained: optimiser, learning rate, augmentation, precision. Closed sets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of training samples. Flips are applied only along axes that the data set declares
    symmetric.

    Attributes:
        flip: Mirror along each symmetric axis with probability 1/2.
        rotate_deg: Rotation is drawn from [-rotate_deg, rotate_deg], in the plane (2D) or about the last axis
            (3D).
        zoom: Scale factor is drawn from [1 - zoom, 1 + zoom].
        intensity: Gain from [1 - intensity, 1 + intensity], offset from [-intensity, intensity], per channel,
            after normalisation.
        noise: Deviation of added Gaussian noise is drawn from [0, noise].
    """

    flip: bool = False
    rotate_deg: float = 0.0
    zoom: float = 0.0
    intensity: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about training that a trial may choose.

    Attributes:
        optimiser: ``adamw``, or ``sgd`` with Nesterov momentum 0.9.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled (adamw) or L2 (sgd); norms and biases are left out.
        schedule: Shape of the learning rate over the fraction of ``max_epochs`` done (never of a rung):
            ``constant``, ``cosine`` to zero, or ``poly`` with power 0.9 (nnU-Net, DeepLab).
        warmup: Fraction of training with a linear ramp from zero, in [0, 1).
        average: Decay of an exponential moving average of the weights used for evaluation; 0 turns it off.
        precision: ``fp32`` or ``bf16`` autocast.
        augmentation: Random changes of training samples.
    """

    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine", "poly"] = "cosine"
    warmup: float = 0.0
    average: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    augmentation: Augmentation = Augmentation()
