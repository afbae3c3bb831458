"""Distribution and region terms against their formula, written slowly and plainly, or against a number worked out by hand."""

import math
from itertools import product

import pytest
import torch
from loss_extras import close, of_two
from torch import Tensor

from search_spaces.candidate import canonical
from search_spaces.losses.balanced_cross_entropy import BalancedCrossEntropy
from search_spaces.losses.combo import Combo
from search_spaces.losses.conservative import Conservative
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.exponential_logarithmic import ExponentialLogarithmic
from search_spaces.losses.focal_one_vs_rest import FocalOneVsRest
from search_spaces.losses.focal_tversky import FocalTversky
from search_spaces.losses.frequency_weighted import FrequencyWeighted
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.jaccard import Jaccard
from search_spaces.losses.lovasz_hinge import LovaszHinge
from search_spaces.losses.lovasz_softmax import LovaszSoftmax
from search_spaces.losses.top_k import TopK
from search_spaces.losses.tversky import Tversky
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.scores import LossExtras


def batch() -> tuple[Tensor, Tensor]:
    """Two samples of 5 x 4 pixels, three classes, class 2 in the first one only, two pixels ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator)
    labels = torch.zeros(2, 5, 4, dtype=torch.int64)
    labels[:, 1:4, 1:3] = 1
    labels[0, 2, 1:3] = 2
    labels[0, 0, :2] = 255
    return logits, labels


def pixels(logits: Tensor, labels: Tensor) -> list[tuple[int, list[float], int]]:
    """Sample, probabilities and label of every valid pixel, by plain arithmetic."""
    found = []
    for n, i, j in product(range(labels.shape[0]), range(labels.shape[1]), range(labels.shape[2])):
        if labels[n, i, j] != 255:
            powers = [math.exp(float(z)) for z in logits[n, :, i, j]]
            found.append((n, [power / sum(powers) for power in powers], int(labels[n, i, j])))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def ce(p: list[float], label: int) -> float:
    return -math.log(p[label])


def test_weighted_cross_entropy() -> None:
    logits, labels = batch()
    weights, found = (1.0, 3.0, 5.0), pixels(logits, labels)
    expected = sum(weights[y] * ce(p, y) for _, p, y in found) / sum(weights[y] for _, _, y in found)
    assert WeightedCrossEntropy(weights)(logits, labels).item() == close(expected)
    two = sum((1.0, 3.0, 3.0)[y] * ce(p, y) for _, p, y in found) / sum(
        (1.0, 3.0, 3.0)[y] for _, _, y in found
    )
    assert WeightedCrossEntropy((1.0, 3.0))(logits, labels).item() == close(two)


def test_balanced_cross_entropy() -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    samples = []
    for n in (0, 1):
        own = [(p, y) for m, p, y in found if m == n]
        weight = {y: min(0.95, max(0.05, 1 - sum(k == y for _, k in own) / len(own))) for _, y in own}
        samples.append(sum(weight[y] * ce(p, y) for p, y in own) / sum(weight[y] for _, y in own))
    assert BalancedCrossEntropy()(logits, labels).item() == close(mean(samples))
    fixed = BalancedCrossEntropy("fixed", 0.8)
    assert fixed(logits, labels).item() == close(canonical(fixed)(logits, labels).item())


def test_top_k() -> None:
    logits, labels = batch()
    losses = sorted((ce(p, y) for _, p, y in pixels(logits, labels)), reverse=True)
    assert len(losses) == 38
    assert TopK(0.25)(logits, labels).item() == close(mean(losses[:10]))  # the ceiling of 9.5
    assert TopK(0.5)(logits[1:], labels[1:]).item() == close(
        mean(sorted((ce(p, y) for _, p, y in pixels(logits[1:], labels[1:])), reverse=True)[:10])
    )


def test_unet_border_multiplies() -> None:
    logits, labels = batch()
    distance = torch.full(labels.shape, math.inf)
    distance[0, 2] = 6.0
    term = UNetBorder(strength=10.0, width=3.0)
    weight = 1 + 10 * math.exp(-36 / 18)
    expected = [
        ce(torch.softmax(logits[n, :, i, j], 0).tolist(), int(labels[n, i, j]))
        * (weight if (n, i) == (0, 2) else 1)
        for n, i, j in product(range(2), range(5), range(4))
        if labels[n, i, j] != 255
    ]
    assert term(logits, labels, extras=LossExtras(neighbours=distance)).item() == close(mean(expected))


def test_focal_one_vs_rest() -> None:
    logits, labels = batch()
    total = []
    for n, i, j in product(range(2), range(5), range(4)):
        for c in range(3 if labels[n, i, j] != 255 else 0):
            p = 1 / (1 + math.exp(-float(logits[n, c, i, j])))
            right, alpha = (p, 0.25) if labels[n, i, j] == c else (1 - p, 0.75)
            total.append(alpha * (1 - right) ** 1.5 * -math.log(right))
    assert FocalOneVsRest(1.5, 0.25)(logits, labels).item() == close(mean(total))


def counts(found: list[tuple[int, list[float], int]], c: int) -> tuple[float, float, float]:
    """Overlap, predicted and labelled."""
    return (
        sum(p[c] for _, p, y in found if y == c),
        sum(p[c] for _, p, _ in found),
        float(sum(y == c for _, _, y in found)),
    )


def test_jaccard_and_focal_tversky() -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    parts = [counts(found, c) for c in (1, 2)]
    assert Jaccard()(logits, labels).item() == close(1 - mean([i / (p + t - i) for i, p, t in parts]))
    index = [i / (i + 0.3 * (p - i) + 0.7 * (t - i)) for i, p, t in parts]
    assert FocalTversky(2.0)(logits, labels).item() == close(mean([math.sqrt(1 - x) for x in index]))


def test_jaccard_is_above_dice_as_its_ratio_says() -> None:
    logits, labels = of_two([0.9, 0.6, 0.2, 0.1], [1, 1, 0, 0])
    dice = 1 - Dice()(logits, labels).item()
    assert Jaccard()(logits, labels).item() == close(1 - dice / (2 - dice))


def test_generalised_dice_weighs_by_the_squared_size() -> None:
    logits, labels = batch()
    losses = []
    for n in (0, 1):
        own = [pixel for pixel in pixels(logits, labels) if pixel[0] == n]
        parts = [counts(own, c) for c in range(3)]
        largest = max(1 / t**2 for _, _, t in parts if t)
        weights = [1 / t**2 if t else largest for _, _, t in parts]
        overlap = sum(w * i for w, (i, _, _) in zip(weights, parts, strict=True))
        losses.append(1 - 2 * overlap / sum(w * (p + t) for w, (_, p, t) in zip(weights, parts, strict=True)))
    assert GeneralisedDice()(logits, labels).item() == close(mean(losses))


@pytest.mark.parametrize("side", [8, 256])
def test_generalised_dice_does_not_depend_on_the_size_of_the_image(side: int) -> None:
    """Half and half, all wrong: with absolute smoothing MONAI says 0.995 at 64 pixels a side and 0.753 at 512."""
    labels = torch.zeros(1, side, side, dtype=torch.int64)
    labels[:, : side // 2] = 1
    logits = 40.0 * torch.nn.functional.one_hot(1 - labels, 2).movedim(-1, 1).float()
    assert GeneralisedDice()(logits, labels).item() == pytest.approx(1.0, abs=1e-6)


def test_exponential_logarithmic() -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    parts = [counts(found, c) for c in range(3)]
    dice = mean([(-math.log((2 * i + 1) / (p + t + 1))) ** 0.3 for i, p, t in parts])
    weights = [math.sqrt(len(found) / t) for _, _, t in parts]
    cross = mean([weights[y] * ce(p, y) ** 0.3 for _, p, y in found])
    assert ExponentialLogarithmic()(logits, labels).item() == close(0.8 * dice + 0.2 * cross)


def test_combo_is_least_at_the_truth() -> None:
    logits, labels = of_two([0.9, 0.6, 0.2], [1, 1, 0])
    cross = -(0.6 * math.log(0.9) + 0.6 * math.log(0.6) + 0.4 * math.log(0.8)) / 3
    dice = 2 * 1.5 / (1.7 + 2)
    assert Combo(alpha=0.3, beta=0.6)(logits, labels).item() == close(0.3 * cross + 0.7 * (1 - dice))
    assert Combo()(100 * logits.sign(), labels).item() == 0  # every pixel is on its side


def test_conservative_is_least_at_one_over_e() -> None:
    for p in (0.9, 0.5, 0.1):
        logits, labels = of_two([p], [1])
        expected = (1 + math.log(p)) ** 2 * abs(math.log(-math.log(p)))
        assert Conservative()(logits, labels).item() == close(expected)
    assert Conservative()(*of_two([1 / math.e], [1])).item() == pytest.approx(0, abs=1e-10)


def slow_lovasz(errors: list[float], truth: list[bool]) -> float:
    """Jaccard loss of growing sets of the largest errors, times how much each error exceeds the next."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total = 0.0
    for rank, i in enumerate(order):
        wrong = order[: rank + 1]
        missed, alarms = sum(truth[k] for k in wrong), sum(not truth[k] for k in wrong)
        loss = 1 - (sum(truth) - missed) / (sum(truth) + alarms)
        after = errors[order[rank + 1]] if rank + 1 < len(order) else 0.0
        total += loss * (errors[i] - after)
    return total


def test_lovasz_softmax() -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    losses = [
        slow_lovasz([abs((y == c) - p[c]) for _, p, y in found], [y == c for _, _, y in found])
        for c in range(3)
    ]
    assert LovaszSoftmax()(logits, labels).item() == close(mean(losses))
    sample = [pixel for pixel in found if pixel[0] == 1]
    present = [
        slow_lovasz([abs((y == c) - p[c]) for _, p, y in sample], [y == c for _, _, y in sample])
        for c in (0, 1)
    ]
    absent = max(p[2] for _, p, _ in sample)
    assert LovaszSoftmax()(logits[1:], labels[1:]).item() == close(mean(present))
    every = LovaszSoftmax(absent="penalise_fp")(logits[1:], labels[1:]).item()
    assert every == close(mean([*present, absent]))


def test_lovasz_softmax_of_the_vector_on_which_others_are_wrong() -> None:
    """Four pixels, labels 0 1 2 2: kornia's sorted raw label gives another number."""
    probs = torch.tensor([[0.6, 0.3, 0.2, 0.1], [0.3, 0.5, 0.3, 0.2], [0.1, 0.2, 0.5, 0.7]])
    labels = torch.tensor([[[0, 1, 2, 2]]])
    slow = [
        slow_lovasz(
            [abs((int(labels[0, 0, i]) == c) - float(probs[c, i])) for i in range(4)],
            (labels[0, 0] == c).tolist(),
        )
        for c in range(3)
    ]
    assert LovaszSoftmax()(probs.log().view(1, 3, 1, 4), labels).item() == close(mean(slow))


def test_lovasz_hinge() -> None:
    p, t = [0.9, 0.6, 0.2, 0.7, 0.4], [1, 1, 0, 0, 1]
    odds = [math.log(x / (1 - x)) for x in p]
    errors = [max(0.0, 1 - z * (1 if y else -1)) for z, y in zip(odds, t, strict=True)]
    assert LovaszHinge()(*of_two(p, t)).item() == close(slow_lovasz(errors, [bool(y) for y in t]))


def test_frequency_weights() -> None:
    """Shares 3, 2 and 1 of six: the median is 2. Borders: the pixels on both sides of 2 | 3 and 4 | 5."""
    probs = torch.full((1, 3, 1, 6), 1 / 3)
    labels = torch.tensor([[[0, 0, 0, 1, 1, 2]]])
    weights = [2 / 3, 2 / 3, 2 / 3 + 4, 1 + 4, 1 + 4, 2 + 4]
    value = FrequencyWeighted(border=4.0)(probs.log(), labels).item()
    assert value == close(mean(weights) * math.log(3))
    assert FrequencyWeighted(border=0.0, most=1.5)(probs.log(), labels).item() == close(
        mean([2 / 3] * 3 + [1, 1, 1.5]) * math.log(3)
    )


def test_special_cases_have_one_name() -> None:
    assert canonical(WeightedCrossEntropy((2.0, 2.0))) == CrossEntropy()
    assert canonical(WeightedCrossEntropy((2.0, 4.0, 4.0))) == WeightedCrossEntropy((1.0, 2.0))
    assert canonical(BalancedCrossEntropy("fixed", 0.75)) == WeightedCrossEntropy((1.0, 3.0))
    assert canonical(TopK(1.0)) == CrossEntropy()
    assert canonical(FocalTversky(1.0, 0.3)) == Tversky(0.3)
    assert canonical(FocalTversky(1.0, 0.5)) == Dice()
