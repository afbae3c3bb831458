"""Boundary terms and regularisers against numbers worked out by hand."""

import math
from statistics import fmean
from typing import Any

import pytest
import torch
from loss_extras import close, extras, of_two

from search_spaces.errors import ShapeError, SpaceError
from search_spaces.exact_distance import signed_distance
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.adversarial import Adversarial
from search_spaces.losses.balanced_cross_entropy import BalancedCrossEntropy
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.caliva import Caliva
from search_spaces.losses.combo import Combo
from search_spaces.losses.consistency import Consistency
from search_spaces.losses.contour import Contour
from search_spaces.losses.exponential_logarithmic import ExponentialLogarithmic
from search_spaces.losses.focal_one_vs_rest import FocalOneVsRest
from search_spaces.losses.focal_tversky import FocalTversky
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
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.scores import LossExtras


def test_caliva_weighs_the_border_most() -> None:
    """Six pixels in a row, 0 0 0 0 1 1: depths 4 3 2 1 | 1 2, so weights 1, 1.25, 1.5, 1.75 | 1.75, 1.5."""
    logits, labels = of_two([0.3] * 6, [0, 0, 0, 0, 1, 1])
    low, high = -math.log(0.7), -math.log(0.3)
    expected = ((1 + 1.25 + 1.5 + 1.75) * low + (1.75 + 1.5) * high) / 6
    assert Caliva()(logits, labels, extras=extras(labels, 2)).item() == close(expected)


def test_boundary_is_the_mean_of_distance_times_probability() -> None:
    """0 0 1 1 0 in a row: the distances of class 1 are 2 1 -1 -1 1."""
    p = [0.1, 0.2, 0.9, 0.8, 0.3]
    logits, labels = of_two(p, [0, 0, 1, 1, 0])
    expected = (2 * 0.1 + 0.2 - 0.9 - 0.8 + 0.3) / 5
    given = extras(labels, 2)
    assert Boundary(scaled=False)(logits, labels, extras=given).item() == close(expected)
    assert Boundary()(logits, labels, extras=given).item() == close(expected / math.sqrt(26))
    wide = extras(labels, 2, spacing=(1.0, 3.0))
    assert Boundary(scaled=False)(logits, labels, extras=wide).item() == close(3 * expected)


def test_hausdorff_distance() -> None:
    """Label 0 0 1 1 0, prediction 0 1 1 0 0: distances 2 1 1 1 1 and 1 1 1 1 2."""
    p = [0.1, 0.8, 0.9, 0.3, 0.2]
    logits, labels = of_two(p, [0, 0, 1, 1, 0])
    errors = [0.01, 0.64, 0.01, 0.49, 0.04]
    weights = [4 + 1, 1 + 1, 1 + 1, 1 + 1, 1 + 4]
    expected = fmean([e * w for e, w in zip(errors, weights, strict=True)])
    term = HausdorffDistance(scaled=False)
    assert term(logits, labels, extras=extras(labels, 2)).item() == close(expected)


def test_hausdorff_distance_costs_something_on_an_empty_label() -> None:
    labels = torch.zeros(1, 3, 4, dtype=torch.int64)
    full = torch.stack([torch.full((3, 4), -20.0), torch.full((3, 4), 20.0)]).unsqueeze(0)
    assert HausdorffDistance()(full, labels, extras=extras(labels, 2)).item() == close(
        2.0
    )  # twice a diagonal


def test_hausdorff_erosion_of_a_thick_error() -> None:
    """All 5 x 5 pixels wrong: their mean over a cross is 1 inside, 4/5 at sides and 3/5 at corners; less 1/2 and stretched."""
    labels = torch.zeros(1, 5, 5, dtype=torch.int64)
    wrong = torch.stack([torch.full((5, 5), -30.0), torch.full((5, 5), 30.0)]).unsqueeze(0)
    inside, sides, corners = 9, 12, 4
    expected = (inside * 1.0 + sides * (0.3 - 0.1) / 0.4 + corners * 0.0) / 25
    assert HausdorffErosion(erosions=1)(wrong, labels).item() == close(expected)


def test_hausdorff_convolution_of_one_wrong_pixel() -> None:
    """A ball of radius 1 around the only pixel of class 1: a fifth of it is in the class, four fifths are not."""
    labels = torch.zeros(1, 5, 5, dtype=torch.int64)
    logits = torch.zeros(1, 2, 5, 5)
    logits[:, 0] = 40.0
    logits[:, :, 2, 2] = torch.tensor([0.0, 40.0])
    term = HausdorffConvolution(radii=(1.0,))
    assert term(logits, labels).item() == close((1 + 0) / 25)  # f(1 - B t) = 1, f(B p) = f(1/5) = 0
    labels[:, 2, 2] = 1
    logits[:, :, 2, 2] = torch.tensor([40.0, 0.0])
    assert term(logits, labels).item() == close((0 + 1) / 25)


def test_active_contour_is_length_plus_soft_errors() -> None:
    logits, labels = of_two([0.2, 0.9, 0.9, 0.1], [0, 1, 1, 0])
    length = 0.7 + 0.0 + 0.8
    errors = 0.2 + 0.1 + 0.1 + 0.1
    value = ActiveContour(region=2.0)(logits, labels).item()
    assert value == pytest.approx(
        (length + 2 * errors) / 4, abs=1e-3
    )  # the length is off by its smoothing of 0.001
    assert ActiveContour(region=0.0)(logits, labels).item() == pytest.approx(length / 4, abs=1e-3)


def test_mumford_shah_is_the_variance_within_classes() -> None:
    logits, labels = of_two([0.25, 0.75], [0, 1])
    image = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
    means = {0: 0.75 * 1 + 0.25 * 3, 1: 0.25 * 1 + 0.75 * 3}
    spread = sum(
        (p if c else 1 - p) * (x - means[c]) ** 2 for p, x in ((0.25, 1.0), (0.75, 3.0)) for c in (0, 1)
    )
    value = MumfordShah(length=0.0)(logits, labels, extras=LossExtras(image=image)).item()
    assert value == close(spread / 2)


def test_size_constraint() -> None:
    logits, labels = of_two([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0])  # size 3, wanted 1.8 to 2.2
    assert SizeConstraint()(logits, labels).item() == close((0.8 / 4) ** 2)
    logits, labels = of_two([0.3, 0.3, 0.1, 0.1], [1, 1, 0, 0])  # size 0.8
    assert SizeConstraint()(logits, labels).item() == close((1.0 / 4) ** 2)
    logits, labels = of_two([0.6, 0.5, 0.5, 0.5], [1, 1, 0, 0])
    assert SizeConstraint()(logits, labels).item() == 0


def test_consistency_and_adversarial() -> None:
    logits, labels = of_two([0.9, 0.6], [255, 255])
    second, _ = of_two([0.7, 0.6], [1, 1])
    value = Consistency()(logits, labels, extras=LossExtras(second=second)).item()
    assert value == close(0.2**2 / 2)  # two pixels, two classes, halved
    given = LossExtras(
        image=torch.ones(1, 1, 1, 2), critic=lambda image, maps: 2 * maps[:, 1].flatten(1).mean(1)
    )
    assert Adversarial()(logits, labels, extras=given).item() == close(math.log(1 + math.exp(-1.5)))


def test_star_shape_sees_a_hole_on_the_way_to_the_centre() -> None:
    """1 1 1 1 1 with the centre at the middle; a hole at the second pixel is between the first one and the centre."""
    logits, labels = of_two([0.9, 0.1, 0.9, 0.9, 0.9], [1, 1, 1, 1, 1])
    steps = [0.1 * 0.8, 0.9 * 0.8, 0.0, 0.0, 0.0]  # |t - p| * |p - p one pixel nearer to the centre|
    assert StarShape(reach=1)(logits, labels).item() == close(fmean(steps))
    even, _ = of_two([0.6] * 5, [1] * 5)
    assert StarShape(reach=1)(even, labels).item() == pytest.approx(0, abs=1e-7)


def test_topology_lets_the_inner_class_touch_the_outer_one_only() -> None:
    def value(row: list[int]) -> float:
        labels = torch.tensor(row).view(1, 1, -1)
        logits = 60.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
        return Topology(inner=2, outer=1)(logits, labels).item()

    assert value([0, 1, 2, 1, 0]) == pytest.approx(0, abs=1e-12)
    assert value([0, 2, 1, 1, 0]) == close(1 / (4 * 5))  # one pair of 2 and 0, over 2 axes and 2 sides
    with pytest.raises(ShapeError, match="inner 2 and outer 1 given; classes under 2 are allowed"):
        Topology()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64))


def test_exact_distances_by_hand() -> None:
    mask = torch.tensor([[[False, False, True, True]]])
    assert signed_distance(mask, (1.0, 2.0)).tolist() == [[[4.0, 2.0, -2.0, -4.0]]]
    assert not signed_distance(torch.zeros(1, 2, 2, dtype=torch.bool)).any()
    assert not signed_distance(torch.ones(1, 2, 2, dtype=torch.bool)).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: WeightedCrossEntropy((1.0, -1.0)),
        lambda: WeightedCrossEntropy(()),
        lambda: BalancedCrossEntropy("fixed", 1.0),
        lambda: BalancedCrossEntropy("sample", 0.3),
        lambda: TopK(0.0),
        lambda: UNetBorder(strength=-1.0),
        lambda: Caliva(math.inf),
        lambda: FocalOneVsRest(-1.0),
        lambda: FocalOneVsRest(2.0, 1.0),
        lambda: FocalTversky(0.5),
        lambda: ExponentialLogarithmic(gamma=0.0),
        lambda: Combo(alpha=1.0),
        lambda: HausdorffDistance(alpha=-1.0),
        lambda: HausdorffErosion(erosions=0),
        lambda: HausdorffConvolution(radii=(3.0, 2.0)),
        lambda: ActiveContour(-0.1),
        lambda: MumfordShah(math.nan),
        lambda: SizeConstraint(1.0),
        lambda: StarShape(0),
        lambda: Topology(1, 1),
        lambda: Loss((Weighted(Boundary()),)),
        lambda: Loss((Weighted(Boundary()), Weighted(SizeConstraint()))),
    ],
)
def test_impossible_terms_are_refused(make: Any) -> None:
    with pytest.raises(SpaceError, match=r"given|no effect|at least one|gives a gradient everywhere"):
        make()


def test_terms_of_three_dimensions_use_the_spacing() -> None:
    """One voxel of class 1 between its neighbours along each axis; the nearest other voxel is along the finest axis."""
    labels = torch.zeros(1, 3, 3, 3, dtype=torch.int64)
    labels[0, 1, 1, 1] = 1
    given = extras(labels, 2, spacing=(1.0, 2.0, 5.0))
    assert given.distance is not None and given.distance[0, 1, 1, 1, 1] == -1.0
    logits = torch.zeros(1, 2, 3, 3, 3)
    total = given.distance[0, 1].sum().item()
    assert Boundary(scaled=False)(logits, labels, extras=given).item() == close(0.5 * total / 27)


def test_contour_compares_smoothed_borders() -> None:
    """One step of height 1 against none: a contour of one pixel, smoothed by a Gaussian along both axes of a row of nine."""
    logits, labels = of_two([1e-9] * 4 + [1 - 1e-6] * 5, [0] * 9)
    weights = [math.exp(-(k**2) / 2) for k in range(-3, 4)]
    total = sum(weights)
    across = 1.0 / total  # the row is one pixel high: the Gaussian across it keeps its middle weight
    expected = sum((w / total * across) ** 2 for w in weights) / 9
    assert Contour(sigma=1.0)(logits, labels).item() == pytest.approx(
        expected, rel=5e-3
    )  # smoothing of 0.001 in the length


def test_right_masks_cost_nothing() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[:, 1:3, 1:3] = 1
    logits = 60.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    for term in (HausdorffErosion(), HausdorffConvolution(), Contour(), Combo(), Jaccard(), LovaszSoftmax()):
        assert term(logits, labels).item() == pytest.approx(0, abs=1e-12)
