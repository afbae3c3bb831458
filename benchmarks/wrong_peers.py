"""Smallest cases where a released loss of a peer is wrong, each beside ours; printed by ``losses.py``."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.loss import LossTerm
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.jaccard import Jaccard
from search_spaces.losses.tversky import Tversky
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.scores import LossExtras
from workers.distance_maps import prediction_maps

CLOSE = 0.02  # smoothing by a pixel is no defect


@dataclass(frozen=True, slots=True)
class Defect:
    """One case: what the peer gives, what it should, what ours gives."""

    peer: str
    case: str
    theirs: float
    right: float
    ours: float

    def __str__(self) -> str:
        wrong = not math.isclose(self.theirs, self.right, rel_tol=CLOSE, abs_tol=CLOSE)
        verdict = "wrong" if wrong else "RIGHT NOW: strike it out"
        if not math.isclose(self.ours, self.right, rel_tol=CLOSE, abs_tol=CLOSE):
            verdict += ", OURS IS WRONG TOO"
        return f"{self.peer:<38}{self.case:<62}{self.theirs:9.4f} right {self.right:7.4f} ours {self.ours:7.4f}  {verdict}"


def wrong_peers() -> Iterator[Defect]:
    """Every case; the peers are imported when asked for."""
    yield from _smp()
    yield from _monai()


def sure(labels: Tensor, logit: float = 20.0) -> Tensor:
    """Logits of two classes that are sure of some labels."""
    return logit * (2 * F.one_hot(labels, 2).movedim(-1, 1).float() - 1)


def _smp() -> Iterator[Defect]:
    from segmentation_models_pytorch import losses as smp

    empty = torch.zeros(1, 8, 8, dtype=torch.long)
    alarm = sure(1 - empty)
    ours: list[tuple[str, LossTerm]] = [
        ("DiceLoss", Dice()),
        ("JaccardLoss", Jaccard()),
        ("TverskyLoss", Tversky(0.5)),
    ]
    for name, term in ours:
        theirs = getattr(smp, name)("multiclass", classes=[1])(alarm, empty)
        yield Defect(
            f"smp {name}", "all pixels predicted, none there", float(theirs), 1.0, float(term(alarm, empty))
        )
    logits = torch.linspace(-1, 1, 32).view(1, 2, 4, 4)
    half = torch.tensor([0, 1, 1, 0]).repeat(4, 1)[None]
    half[:, :2] = 255
    right = float(F.cross_entropy(logits[:, :, 2:], half[:, 2:]))
    theirs = smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255)(logits, half)
    yield Defect(
        "smp SoftCrossEntropyLoss",
        "half of the pixels ignored",
        float(theirs),
        right,
        float(CrossEntropy()(logits, half)),
    )
    flat, truth = torch.zeros(1, 2, 512, 512).half(), torch.zeros(1, 512, 512, dtype=torch.long)
    truth[:, 256:] = 1
    term = Dice(background=True)
    theirs = smp.DiceLoss("multiclass")(flat, truth)
    yield Defect(
        "smp DiceLoss",
        "512 x 512 in float16, p = 1/2 everywhere",
        float(theirs),
        0.5,
        float(term(flat, truth)),
    )


def _monai() -> Iterator[Defect]:
    from monai import losses as monai

    for size in ((256, 256), (512, 512), (128, 128, 128)):
        labels = torch.zeros(1, *size, dtype=torch.long)
        labels[:, size[0] // 2 :] = 1
        inverted = sure(1 - labels)
        theirs = monai.GeneralizedDiceLoss(to_onehot_y=True, softmax=True)(inverted, labels.unsqueeze(1))
        case = f"everything inverted, {' x '.join(map(str, size))}"
        yield Defect(
            "monai GeneralizedDiceLoss", case, float(theirs), 1.0, float(GeneralisedDice()(inverted, labels))
        )
    empty = torch.zeros(1, 8, 8, dtype=torch.long)
    alarm = sure(1 - empty)
    theirs = monai.HausdorffDTLoss(to_onehot_y=True, softmax=True)(alarm, empty.unsqueeze(1))
    extras = LossExtras(distance=torch.zeros(1, 2, 8, 8), distances=prediction_maps((1.0, 1.0)))
    far = float(HausdorffDistance(scaled=False)(alarm, empty, extras=extras))
    case = "all predicted, none there (right: any cost; here two diagonals^2)"
    yield Defect("monai HausdorffDTLoss", case, float(theirs), 2 * 128.0, far)
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 2).requires_grad_()
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    gradients = []
    loss = monai.FocalLoss(to_onehot_y=True, use_softmax=True, gamma=0.5)
    for value in (loss(logits, labels.unsqueeze(1)), Focal(0.5)(logits, labels)):
        gradients.append(float(torch.autograd.grad(value, logits)[0][0, 0, 0, 0]))
    yield Defect(
        "monai FocalLoss, softmax, gamma 1/2",
        "gradient at a pixel that is sure and right",
        gradients[0],
        0.0,
        gradients[1],
    )
    seen = torch.zeros(1, 8, 8, dtype=torch.long)
    seen[:, :4] = 1
    mask = torch.ones(1, 1, 8, 8)
    mask[:, :, 6:] = 0
    masked = monai.MaskedDiceLoss(softmax=True, to_onehot_y=True, smooth_nr=0, smooth_dr=0)
    known = seen.masked_fill(mask[:, 0] == 0, 255)
    yield Defect(
        "monai MaskedDiceLoss",
        "a right prediction, a quarter masked",
        float(masked(sure(seen), seen.unsqueeze(1), mask=mask)),
        0.0,
        float(Dice(background=True)(sure(seen), known)),
    )
    quiet = sure(empty, 5.0)
    theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, include_background=False)(
        quiet, empty.unsqueeze(1)
    )
    yield Defect(
        "monai DiceLoss",
        "nothing there, each pixel 0.005 % wrong",
        float(theirs),
        0.0029,
        float(Dice()(quiet, empty)),
    )
    logits, labels = torch.linspace(-1, 1, 32).view(1, 2, 4, 4), torch.tensor([0, 1, 1, 0]).repeat(4, 1)[None]
    cross = monai.DiceCELoss(softmax=True, lambda_dice=0, weight=torch.tensor([1.0, 5.0]))
    theirs = cross(logits, F.one_hot(labels, 2).movedim(-1, 1).float())
    right = float(F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 5.0])))
    term = WeightedCrossEntropy((1.0, 5.0))
    yield Defect(
        "monai DiceCELoss, weights (1, 5)",
        "one-hot labels instead of indices",
        float(theirs),
        right,
        float(term(logits, labels)),
    )
