"""The rows of ``losses.py``: each definition by us and by its peers, with the constants that make them one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from search_spaces.loss import Loss, Weighted
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.focal_one_vs_rest import FocalOneVsRest
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.hausdorff_erosion import HausdorffErosion
from search_spaces.losses.jaccard import Jaccard
from search_spaces.losses.lovasz_hinge import LovaszHinge
from search_spaces.losses.lovasz_softmax import LovaszSoftmax
from search_spaces.losses.tversky import Tversky
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.scores import LossExtras
from workers.distance_maps import label_maps, prediction_maps

Run = Callable[[Tensor, Tensor], Tensor]
TINY = 1e-12  # smoothing of peers, where it cannot be turned off


@dataclass(frozen=True, slots=True)
class Pair:
    """One definition.

    Attributes:
        name: Of the row.
        ours: Our term.
        peers: What makes each peer's.
        shape: Of the logits.
        blobs: Whether labels and logits are smooth, as distances need.
    """

    name: str
    ours: Run
    peers: dict[str, Callable[["Pair"], Run]] = field(default_factory=dict)
    shape: tuple[int, ...] = (4, 4, 256, 256)
    blobs: bool = True

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.shape[1]


def inputs(shape: tuple[int, ...], classes: int, blobs: bool) -> tuple[Tensor, Tensor]:
    """Logits and labels with every class in every sample, and some agreement between them."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(shape[0], classes, *shape[2:])).astype(np.float32)
    if blobs:
        width = shape[-1] / 24
        noise = ndimage.gaussian_filter(noise, (0, 0, *(width,) * (len(shape) - 2)))
        noise /= noise.std()
    labels = torch.from_numpy(noise.argmax(axis=1))
    logits = 2 * torch.from_numpy(noise) + torch.from_numpy(rng.normal(size=noise.shape).astype(np.float32))
    return logits, labels


def monai(name: str, factor: float = 1.0, **options: object) -> Callable[[Pair], Run]:
    """A loss of MONAI on softmax probabilities unless options say otherwise."""

    def make(_: Pair) -> Run:
        import monai.losses

        loss = getattr(monai.losses, name)(**{"to_onehot_y": True, "softmax": True, **options})
        return lambda logits, labels: factor * loss(logits, labels.unsqueeze(1))

    return make


def monai_focal(softmax: bool, factor: float) -> Callable[[Pair], Run]:
    """MONAI's focal loss, whose options have other names."""

    def make(_: Pair) -> Run:
        from monai.losses import FocalLoss

        loss = FocalLoss(to_onehot_y=True, use_softmax=softmax)
        return lambda logits, labels: factor * loss(logits, labels.unsqueeze(1))

    return make


def smp(name: str, *args: object, **options: object) -> Callable[[Pair], Run]:
    """A loss of segmentation-models-pytorch."""

    def make(_: Pair) -> Run:
        import segmentation_models_pytorch.losses

        return getattr(segmentation_models_pytorch.losses, name)(*args, **options)  # type: ignore[no-any-return]  # no stubs

    return make


def kornia(name: str, factor: float = 1.0, **options: object) -> Callable[[Pair], Run]:
    """A function of kornia."""

    def make(_: Pair) -> Run:
        import kornia.losses

        function = getattr(kornia.losses, name)
        return lambda logits, labels: factor * function(logits, labels, **options)

    return make


def plain(run: Run) -> Callable[[Pair], Run]:
    """A function of torch or torchvision."""
    return lambda _: run


def torchvision_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """torchvision's focal loss on a one-hot map."""
    from torchvision.ops import sigmoid_focal_loss

    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    found: Tensor = sigmoid_focal_loss(logits, truth, alpha=-1, gamma=2.0, reduction="mean")
    return found


def binary(run: Run) -> Run:
    """A binary loss of the second class's log-odds."""
    return lambda logits, labels: run(logits[:, 1] - logits[:, 0], labels)


def kornia_binary_hinge(pair: Pair) -> Run:
    """kornia's hinge on the log-odds of the second class."""
    run = kornia("lovasz_hinge_loss")(pair)
    return lambda logits, labels: run((logits[:, 1] - logits[:, 0]).unsqueeze(1), labels)


def kornia_erosion(_: Pair) -> Run:
    """kornia's loss by erosion, which takes probabilities, in our scale."""
    from kornia.losses import HausdorffERLoss

    loss, total = HausdorffERLoss(alpha=2.0, k=10), math.fsum(k**2 for k in range(1, 11))
    return lambda logits, labels: loss(logits.softmax(1), labels.unsqueeze(1)) / total


def with_maps(term: Boundary | HausdorffDistance, *, inner: float = 0.0) -> Run:
    """A term with the maps that it needs, made in the call, as the peer does; ``inner`` is added inside classes."""

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        spacing = (1.0,) * (labels.ndim - 1)
        maps = label_maps(
            labels.cpu(), term.needs, num_classes=logits.shape[1], ignore_index=255, spacing=spacing
        )
        distance = maps["distance"]
        extras = LossExtras(
            spacing=spacing,
            distance=(distance + inner * (distance < 0) if inner else distance).to(logits.device),
            distances=prediction_maps(spacing) if "prediction_distance" in term.needs else None,
        )
        return term(logits, labels, extras=extras)

    return run


EXACT = {"smooth_nr": 0.0, "smooth_dr": TINY}
FOREGROUND = {"include_background": False, "batch": True, **EXACT}
WEIGHTS = (1.0, 2.0, 3.0, 4.0)

PAIRS = (
    Pair(
        "cross_entropy",
        CrossEntropy(),
        {"torch": plain(F.cross_entropy), "smp": smp("SoftCrossEntropyLoss", smooth_factor=0.0)},
    ),
    Pair(
        "weighted_cross_entropy",
        WeightedCrossEntropy(WEIGHTS),
        {"torch": plain(lambda z, y: F.cross_entropy(z, y, weight=z.new_tensor(WEIGHTS)))},
    ),
    Pair(
        "focal",
        Focal(2.0),
        {
            "monai": monai_focal(True, 4),
            "kornia": kornia("focal_loss", 4, alpha=None, reduction="mean"),
        },
    ),
    Pair(
        "focal_one_vs_rest",
        FocalOneVsRest(2.0),
        {
            "monai": monai_focal(False, 1),
            "smp": smp("FocalLoss", "multiclass"),
            "torchvision": plain(torchvision_focal),
        },
    ),
    Pair(
        "dice",
        Dice(),
        {"monai": monai("DiceLoss", **FOREGROUND), "smp": smp("DiceLoss", "multiclass", classes=[1, 2, 3])},
    ),
    Pair(
        "dice, per sample",
        Dice(per_sample=True, background=True),
        {"monai": monai("DiceLoss", **EXACT), "kornia": kornia("dice_loss", average="macro", eps=TINY)},
    ),
    Pair("dice, squared", Dice(squared=True), {"monai": monai("DiceLoss", squared_pred=True, **FOREGROUND)}),
    Pair(
        "jaccard",
        Jaccard(),
        {
            "monai": monai("DiceLoss", jaccard=True, **FOREGROUND),
            "smp": smp("JaccardLoss", "multiclass", classes=[1, 2, 3]),
        },
    ),
    Pair(
        "tversky",
        Tversky(0.3),
        {
            "monai": monai("TverskyLoss", alpha=0.3, beta=0.7, **FOREGROUND),
            "smp": smp("TverskyLoss", "multiclass", classes=[1, 2, 3], alpha=0.3, beta=0.7),
        },
    ),
    Pair(
        "tversky, per sample",
        Tversky(0.3, per_sample=True, background=True),
        {"kornia": kornia("tversky_loss", alpha=0.3, beta=0.7, eps=TINY)},
    ),
    Pair(
        "generalised_dice",
        GeneralisedDice(),
        {"monai": monai("GeneralizedDiceLoss", smooth_nr=0.0, smooth_dr=0.0)},
    ),
    Pair(
        "cross_entropy + dice",
        lambda z, y: 2 * Loss((Weighted(CrossEntropy()), Weighted(Dice())))(z, y),
        {"monai": monai("DiceCELoss", **FOREGROUND)},
    ),
    Pair(
        "lovasz_softmax",
        LovaszSoftmax(),
        {"smp": smp("LovaszLoss", "multiclass")},
        shape=(4, 19, 512, 512),
        blobs=False,
    ),
    Pair(
        "lovasz_softmax, per sample",
        LovaszSoftmax(per_sample=True, absent="penalise_fp"),
        {"kornia": kornia("lovasz_softmax_loss"), "smp": smp("LovaszLoss", "multiclass", per_image=True)},
        shape=(4, 19, 512, 512),
        blobs=False,
    ),
    Pair(
        "lovasz_hinge",
        LovaszHinge(),
        {"smp": lambda pair: binary(smp("LovaszLoss", "binary")(pair))},
        shape=(4, 2, 512, 512),
    ),
    Pair(
        "lovasz_hinge, per sample",
        LovaszHinge(per_sample=True),
        {"kornia": kornia_binary_hinge},
        shape=(4, 2, 512, 512),
    ),
    Pair(
        "boundary, with its maps",
        with_maps(Boundary(scaled=False), inner=1.0),
        {"monai": monai("BoundaryLoss", include_background=False)},
    ),
    Pair(
        "hausdorff_distance",
        with_maps(HausdorffDistance(scaled=False)),
        {"monai": monai("HausdorffDTLoss")},
    ),
    Pair("hausdorff_erosion", HausdorffErosion(background=True), {"kornia": kornia_erosion}),
)
