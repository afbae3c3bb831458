"""Terms that filter maps, and regularisers, against slow and obvious versions on maps of a few pixels."""

import math
from itertools import product
from statistics import fmean

import pytest
import torch
from loss_extras import close, of_two
from torch import Tensor

from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.contour import Contour
from search_spaces.losses.hausdorff_convolution import HausdorffConvolution
from search_spaces.losses.hausdorff_erosion import HausdorffErosion
from search_spaces.losses.mumford_shah import MumfordShah
from search_spaces.losses.size_constraint import SizeConstraint
from search_spaces.losses.star_shape import StarShape
from search_spaces.losses.topology import Topology
from search_spaces.scores import LossExtras

HEIGHT, WIDTH = 6, 7
GRID = list(product(range(HEIGHT), range(WIDTH)))
Map = dict[tuple[int, int], float]  # by place; what lies outside is no key


def wrong_batch() -> tuple[Tensor, Tensor]:
    """Two samples of three classes whose predictions are wrong at most pixels, surely or by a little."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, 1:5, 1:4] = 1
    labels[0, 3:, 4:] = 2
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    return torch.randn(labels.shape[0], 3, HEIGHT, WIDTH, generator=generator) - 4 * truth, labels


def each_class(logits: Tensor, labels: Tensor) -> list[tuple[Map, Map]]:
    """Probability and truth, by place, of each class but the first in each sample."""
    probs = logits.double().softmax(1)
    return [
        (
            {(i, j): float(probs[n, c, i, j]) for i, j in GRID},
            {(i, j): float(labels[n, i, j] == c) for i, j in GRID},
        )
        for n in range(len(labels))
        for c in (1, 2)
    ]


def mean_of(found: list[Map]) -> float:
    return fmean(value for of_class in found for value in of_class.values())


def average(values: Map, offsets: list[tuple[int, int]]) -> Map:
    """Mean over a neighbourhood; the ground outside counts as 0."""
    return {
        (i, j): sum(values.get((i + di, j + dj), 0.0) for di, dj in offsets) / len(offsets) for i, j in values
    }


@pytest.mark.parametrize(("alpha", "erosions"), [(2.0, 2), (0.5, 3)])
def test_hausdorff_erosion(alpha: float, erosions: int) -> None:
    logits, labels = wrong_batch()
    cross = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    totals = []
    for p, t in each_class(logits, labels):
        error = {x: (t[x] - p[x]) ** 2 for x in GRID}
        total = dict.fromkeys(GRID, 0.0)
        for k in range(1, erosions + 1):
            kept = {x: max(0.0, value - 0.5) for x, value in average(error, cross).items()}
            low, high = min(kept.values()), max(kept.values())
            error = {x: (value - low) / (high - low) if high > low else value for x, value in kept.items()}
            total = {x: total[x] + k**alpha * error[x] for x in GRID}
        totals.append(total)
    expected = mean_of(totals) / sum(k**alpha for k in range(1, erosions + 1))
    assert expected > 0.01  # something is left of the error
    assert HausdorffErosion(alpha, erosions)(logits, labels).item() == close(expected)


@pytest.mark.parametrize(("alpha", "radii"), [(2.0, (1.0, 2.5)), (1.0, (1.5, 2.0, 4.0))])
def test_hausdorff_convolution(alpha: float, radii: tuple[float, ...]) -> None:
    """Each set of errors is weighed by the balls that fit into it on either side of the border."""
    logits, labels = wrong_batch()
    reach = range(-4, 5)

    def threshold(x: float) -> float:
        return max(0.0, 2 * x - 1)

    totals = []
    for p, t in each_class(logits, labels):
        total = dict.fromkeys(GRID, 0.0)
        for r in radii:
            ball = [(i, j) for i, j in product(reach, reach) if i * i + j * j <= r * r]
            of_p, of_t = average(p, ball), average(t, ball)
            for x in GRID:
                alarm, miss = (t[x] - p[x]) ** 2 * p[x], (t[x] - p[x]) ** 2 * t[x]
                total[x] += r**alpha * (
                    alarm * (threshold(1 - of_t[x]) + threshold(of_p[x]))
                    + miss * (threshold(of_t[x]) + threshold(1 - of_p[x]))
                )
        totals.append(total)
    expected = mean_of(totals) / sum(r**alpha for r in radii)
    assert HausdorffConvolution(radii, alpha)(logits, labels).item() == close(expected)


def slope(values: Map, spacing: tuple[float, float] = (1.0, 1.0)) -> Map:
    """Length of the gradient by forward differences, 0 beyond the last pixel; rounded at 0 as the term rounds it."""
    unit = min(spacing)
    found = {}
    for i, j in values:
        down = (values.get((i + 1, j), values[i, j]) - values[i, j]) * unit / spacing[0]
        right = (values.get((i, j + 1), values[i, j]) - values[i, j]) * unit / spacing[1]
        found[i, j] = math.sqrt(down**2 + right**2 + 1e-6) - 1e-3
    return found


def test_active_contour_in_two_dimensions() -> None:
    logits, labels = wrong_batch()
    totals = []
    for p, t in each_class(logits, labels):
        length = slope(p)
        totals.append({x: length[x] + 3 * (p[x] * (1 - t[x]) + (1 - p[x]) * t[x]) for x in GRID})
    assert ActiveContour(region=3.0)(logits, labels).item() == close(mean_of(totals))


@pytest.mark.parametrize(("spacing", "sigma"), [((1.0, 1.0), 1.0), ((2.0, 0.5), 0.8)])
def test_contour_in_two_dimensions(spacing: tuple[float, float], sigma: float) -> None:
    logits, labels = wrong_batch()

    def weights(step: float) -> dict[int, float]:
        far = math.ceil(3 * sigma / step)
        powers = {k: math.exp(-((k * step / sigma) ** 2) / 2) for k in range(-far, far + 1)}
        return {k: power / sum(powers.values()) for k, power in powers.items()}

    down, right = weights(spacing[0]), weights(spacing[1])
    totals = []
    for p, t in each_class(logits, labels):
        of_p, of_t = slope(p, spacing), slope(t, spacing)
        apart = {x: of_p[x] - of_t[x] for x in GRID}
        smooth = {
            (i, j): sum(
                v * w * apart.get((i + k, j + m), 0.0)
                for (k, v), (m, w) in product(down.items(), right.items())
            )
            for i, j in GRID
        }
        totals.append({x: smooth[x] ** 2 for x in GRID})
    value = Contour(sigma)(logits, labels, extras=LossExtras(spacing=spacing)).item()
    assert value == close(mean_of(totals))


def test_mumford_shah_of_two_channels_with_its_contours() -> None:
    logits, labels = of_two(
        [0.25, 0.75, 0.5], [0, 1, 255]
    )  # an ignored pixel of a labelled sample is not seen
    image = torch.tensor([[1.0, 3.0, 9.0], [0.0, -2.0, 9.0]]).view(1, 2, 1, 3)
    seen, spread = [0.25, 0.75], 0.0
    for channel, k in product(((1.0, 3.0), (0.0, -2.0)), (0, 1)):
        p = [x if k else 1 - x for x in seen]
        mean = sum(a * x for a, x in zip(p, channel, strict=True)) / sum(p)
        spread += sum(a * (x - mean) ** 2 for a, x in zip(p, channel, strict=True)) / 2
    plain = MumfordShah(length=0.0)(logits, labels, extras=LossExtras(image=image)).item()
    assert plain == close(spread / 2)
    whole, labels = of_two([0.25, 0.75], [0, 1])
    given = LossExtras(image=image[..., :2])
    value = MumfordShah(length=0.4)(whole, labels, extras=given).item()
    steps = 2 * (math.sqrt(0.5**2 + 1e-6) - 1e-3)  # of two classes, at one of two pixels
    assert value == close(spread / 2 + 0.4 * steps / 2)


def test_a_class_that_is_absent_has_size_nothing() -> None:
    logits, labels = of_two([0.9, 0.2, 0.1, 0.4], [0, 0, 0, 0])
    assert SizeConstraint()(logits, labels).item() == close((1.6 / 4) ** 2)


def test_star_shape_looks_further_than_a_pixel() -> None:
    """A row with the centre at its middle; the outer pixels have two pixels before them, the inner ones one."""
    logits, labels = of_two([0.9, 0.1, 0.9, 0.8, 0.7], [1, 1, 1, 1, 1])
    nearest = [0.1 * 0.8, 0.9 * 0.8, 0.0, 0.2 * 0.1, 0.3 * 0.1]
    second = [0.1 * 0.0, 0.0, 0.0, 0.0, 0.3 * 0.2]
    assert StarShape(reach=2)(logits, labels).item() == close(fmean(nearest + second))


def test_topology_of_probabilities() -> None:
    rows = [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]]  # of three pixels in a row, the classes 0 1 2
    logits = torch.tensor(rows).log().T.view(1, 3, 1, 3)
    labels = torch.zeros(1, 1, 3, dtype=torch.int64)
    pairs = 0.3 * 0.6 + 0.3 * 0.2 + 0.3 * 0.1 + 0.7 * 0.6  # inner at one pixel, 0 at a neighbour
    assert Topology(inner=2, outer=1)(logits, labels).item() == close(pairs / (4 * 3))
