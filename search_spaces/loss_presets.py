"""Losses that the literature names, as values: starting points, and what a search is compared with."""

from dataclasses import dataclass

from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.loss_schedule import BoundaryRamp, GaussRamp, StepOn
from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.adversarial import Adversarial
from search_spaces.losses.balanced_cross_entropy import BalancedCrossEntropy
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.caliva import Caliva
from search_spaces.losses.combo import Combo
from search_spaces.losses.conservative import Conservative
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
from search_spaces.losses.topology import Topology
from search_spaces.losses.tversky import Tversky
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy


@dataclass(frozen=True, slots=True)
class LossPreset:
    """A named loss.

    Attributes:
        name: Public name.
        paper: Where the combination comes from.
        loss: The value.
    """

    name: str
    paper: str
    loss: Loss


def loss_presets() -> tuple[LossPreset, ...]:
    """All of them, the plain ones first. A weight that a paper leaves open is 1, or balances the terms at the start."""
    ce, dice = Weighted(CrossEntropy()), Weighted(Dice())
    hausdorff = "Karimi & Salcudean 2019, Reducing the Hausdorff distance, arXiv:1904.10030"
    return (
        _of("cross_entropy", "Bishop 2006, Pattern recognition and machine learning", ce),
        _of("cross_entropy_dice", "Isensee et al. 2021, nnU-Net, arXiv:1904.08128", ce, dice),
        _of("weighted_cross_entropy", "Ronneberger et al. 2015, U-Net, arXiv:1505.04597", WeightedCrossEntropy((1.0, 5.0))),
        _of("balanced_cross_entropy", "Xie & Tu 2015, HED, arXiv:1504.06375", BalancedCrossEntropy()),
        _of("top_k", "Wu et al. 2016, arXiv:1605.06885", TopK()),
        _of("top_k_dice", "Ma et al. 2021, Loss odyssey in medical image segmentation", TopK(), dice),
        _of("unet_border", "Ronneberger et al. 2015, U-Net, arXiv:1505.04597", UNetBorder()),
        _of("focal", "Lin et al. 2017, arXiv:1708.02002", Focal()),
        _of("focal_dice", "Zhu et al. 2019, AnatomyNet, arXiv:1808.05238", Focal(), dice),
        _of("dice", "Milletari et al. 2016, V-Net, arXiv:1606.04797", Dice(squared=True)),
        _of("generalised_dice", "Sudre et al. 2017, arXiv:1707.03237", GeneralisedDice()),
        _of("jaccard", "Rahman & Wang 2016", Jaccard()),
        _of("tversky", "Salehi et al. 2017, arXiv:1706.05721", Tversky()),
        _of("cross_entropy_tversky", "mmsegmentation, pull request 919", ce, Weighted(Tversky(), 1.585)),  # 1 : 3
        _of("focal_tversky", "Abraham & Khan 2019, arXiv:1810.07842", FocalTversky()),
        _of("exponential_logarithmic", "Wong et al. 2018, arXiv:1809.00076", ExponentialLogarithmic()),
        _of("lovasz_softmax", "Berman et al. 2018, arXiv:1705.08790", LovaszSoftmax()),
        _of("cross_entropy_lovasz", "Berman et al. 2018, arXiv:1705.08790", ce, LovaszSoftmax()),
        _of("combo", "Taghanaki et al. 2019, arXiv:1805.02798", Combo()),
        _of("frequency_weighted_dice", "Roy et al. 2017, arXiv:1705.00938", FrequencyWeighted(), dice),
        _of(
            "generalised_dice_boundary",
            "Kervadec et al. 2019, arXiv:1812.07032",
            Weighted(GeneralisedDice(), 0.0, BoundaryRamp(falls=True)),
            Weighted(Boundary(scaled=False), 0.0, BoundaryRamp()),
        ),
        _of("hausdorff_distance_dice", hausdorff, dice, Weighted(HausdorffDistance(), 6.0)),
        _of("hausdorff_erosion_dice", hausdorff, dice, Weighted(HausdorffErosion(), 1.0, StepOn(0.25))),
        _of("hausdorff_convolution_dice", hausdorff, dice, Weighted(HausdorffConvolution(), 2.0)),
        _of("caliva", "Caliva et al. 2019, arXiv:1908.03679", Caliva()),
        _of("cross_entropy_contour", "Zhou et al. 2019", ce, Weighted(Contour(), 3.0)),
        _of("cross_entropy_active_contour", "Chen et al. 2019, CVPR", ce, Weighted(ActiveContour(), -2.0)),
        _of("cross_entropy_mumford_shah", "Kim & Ye 2020, arXiv:1904.02872", ce, Weighted(MumfordShah(), -3.0)),
        _of("cross_entropy_size", "Kervadec et al. 2019, arXiv:1805.04628", ce, SizeConstraint()),
        _of(
            "cross_entropy_consistency",
            "Laine & Aila 2017, arXiv:1610.02242",
            ce,
            Weighted(Consistency(), 3.0, GaussRamp(0.3)),
        ),
        _of("cross_entropy_conservative", "Zhu et al. 2018, arXiv:1809.00903", ce, Weighted(Conservative(), -5.0)),
        _of("cross_entropy_star", "Mirikharaji & Hamarneh 2018, arXiv:1806.08437", ce, StarShape()),
        _of("cross_entropy_topology", "BenTaieb & Hamarneh 2016", ce, Topology()),
        _of("cross_entropy_adversarial", "Luc et al. 2016, arXiv:1611.08408", ce, Weighted(Adversarial(), -3.0)),
    )  # fmt: skip


def _of(name: str, paper: str, *parts: Weighted | LossTerm) -> LossPreset:
    weighted = (part if isinstance(part, Weighted) else Weighted(part) for part in parts)
    return LossPreset(name, paper, Loss(tuple(weighted)))
