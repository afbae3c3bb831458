"""Metrics beside those of MONAI, medpy, surface-distance and scikit-image on drawn volumes, and what each measure costs.

Rows of the first part give ours, the peer's, and why they differ where they do. The second part gives the milliseconds of a
measure for an image of 512 x 512 and a volume of 64^3, four classes each, on one core.

The peers are no dependency; see ``losses.py`` for an environment that has them, and add
``pip install --no-deps medpy surface-distance scikit-image imageio lazy-loader tifffile SimpleITK``.

    PYTHONPATH=. /tmp/peers/bin/python benchmarks/metrics.py
"""

import functools
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from workers.measure import Compared, all_measures
from workers.measures.partition import info_scores, rand_scores
from workers.measures.surface import Surface
from workers.metrics import confusion, summary

SPACING = (1.0, 1.0, 2.5)
NAMES = ("background", "a", "b", "c")


def main() -> None:
    """Print the figures."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    surfaces()
    partitions()
    counts()
    costs()


def drawn(
    shape: tuple[int, ...], seed: int, *, classes: int = 4, shift: float = 1.5
) -> tuple[npt.NDArray[np.uint8], ...]:
    """Smooth labels and a prediction that is a little off."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(classes, *shape))
    smooth = np.stack([ndimage.gaussian_filter(channel, shape[0] / 12) for channel in noise])
    smooth[0] += 0.3 * smooth.std()
    moved = np.stack([ndimage.shift(channel, [shift] * len(shape), mode="nearest") for channel in smooth])
    return smooth.argmax(axis=0).astype(np.uint8), moved.argmax(axis=0).astype(np.uint8)


def say(what: str, ours: float, peer: str, theirs: float, why: str = "") -> None:
    """Print one row."""
    verdict = "equal" if abs(ours - theirs) <= 1e-5 * max(1.0, abs(theirs)) else f"differs: {why}"
    print(f"{what:<22}ours {ours:9.5f}  {peer:<32}{theirs:9.5f}  {verdict}")


def surfaces() -> None:
    """hd95 and asd of one class in a volume with thick slices."""
    from medpy.metric import binary
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
    from surface_distance import compute_average_surface_distance as deepmind_average
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    truth, predicted = (labels == 1 for labels in drawn((48, 48, 24), 0, classes=2))
    case = Compared(truth.astype(np.uint8), predicted.astype(np.uint8), SPACING, NAMES[:2], 255)
    hd95, asd = Surface().of(case)[1]
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth)]
    found = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=SPACING)
    say("hd95, 48 x 48 x 24", hd95, "monai", float(found))
    found = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=SPACING)
    say("asd", asd, "monai, symmetric", float(found))
    say(
        "hd95",
        hd95,
        "medpy hd95",
        binary.hd95(predicted, truth, SPACING),
        "percentile of both directions together",
    )
    say("asd", asd, "medpy assd", binary.assd(predicted, truth, SPACING))
    distances = compute_surface_distances(truth, predicted, SPACING)
    areas = "surface elements weighed by area, at corners of voxels"
    say("hd95", hd95, "surface-distance", compute_robust_hausdorff(distances, 95), areas)
    say("asd", asd, "surface-distance, mean of both", float(np.mean(deepmind_average(distances))), areas)
    empty = np.zeros_like(truth)
    missed = Surface().of(Compared(truth.astype(np.uint8), empty.astype(np.uint8), SPACING, NAMES[:2], 255))[
        1, 0
    ]
    pair[0] = torch.zeros_like(pair[0])
    found = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=SPACING)
    say(
        "hd95, nothing found",
        missed,
        "monai",
        float(found),
        "ours is the diagonal, theirs is left out of means",
    )


def partitions() -> None:
    """V_Rand and V_Info of two numberings."""
    from skimage.metrics import adapted_rand_error, variation_of_information

    rng = np.random.default_rng(0)
    true, predicted = rng.integers(1, 30, 5000).astype(np.int32), rng.integers(1, 40, 5000).astype(np.int32)
    predicted[:3500] = true[:3500]
    whole, split, merge = rand_scores(true, predicted)
    error, precision, recall = adapted_rand_error(true, predicted, ignore_labels=())
    pairs = "pairs n (n - 1), ours squares n^2, as published"
    say("v_rand", whole, "skimage 1 - adapted Rand error", 1 - error, pairs)
    pairs += "; its precision and recall are swapped"
    say("v_rand_split", split, "skimage precision", precision, pairs)
    say("v_rand_merge", merge, "skimage recall", recall, pairs)
    rest, _ = variation_of_information(true, predicted)  # entropy of the second that the first does not tell

    def entropy(numbers: npt.NDArray[np.int32]) -> float:
        shares = np.unique(numbers, return_counts=True)[1] / len(numbers)
        return float(-(shares * np.log2(shares)).sum())

    known = 2 * (entropy(predicted) - rest) / (entropy(true) + entropy(predicted))
    say("v_info", info_scores(true, predicted)[0], "skimage, from entropies", known)


def counts() -> None:
    """Confusion-matrix metrics against scikit-learn."""
    from sklearn import metrics as sklearn

    truth, predicted = drawn((96, 96), 1)
    found = summary(confusion(truth, predicted, num_classes=4, ignore_index=255), NAMES)
    flat = truth.ravel(), predicted.ravel()
    options = {"labels": [1, 2, 3], "average": "macro"}
    say("precision", found["precision"], "sklearn", sklearn.precision_score(*flat, **options))
    say("recall", found["recall"], "sklearn", sklearn.recall_score(*flat, **options))
    say("dice", found["dice"], "sklearn f1", sklearn.f1_score(*flat, **options))
    say("miou", found["miou"], "sklearn jaccard", sklearn.jaccard_score(*flat, average="macro"))
    say(
        "fwiou", found["fwiou"], "sklearn jaccard, weighted", sklearn.jaccard_score(*flat, average="weighted")
    )
    say(
        "mean_accuracy",
        found["mean_accuracy"],
        "sklearn balanced accuracy",
        sklearn.balanced_accuracy_score(*flat),
    )


def costs() -> None:
    """Milliseconds of each measure."""
    print()
    for shape in ((512, 512), (64, 64, 64)):
        truth, predicted = drawn(shape, 2)
        probabilities = np.full((4, *shape), 0.1, np.float32)
        np.put_along_axis(probabilities, predicted[None].astype(np.int64), 0.7, axis=0)
        spacing = SPACING[: len(shape)]
        case = Compared(truth, predicted, spacing, NAMES, 255, probabilities)
        runs: dict[str, Callable[[], object]] = {
            "confusion": functools.partial(confusion, truth, predicted, num_classes=4, ignore_index=255),
            **{one.kind: functools.partial(one.of, case) for one in all_measures()},
        }
        cells = []
        for name, run in runs.items():
            seconds = []
            for _ in range(5):
                started = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - started)
            cells.append(f"{name} {1e3 * statistics.median(seconds):.0f}")
        print(f"ms for {' x '.join(map(str, shape))}, 4 classes: {', '.join(cells)}")


if __name__ == "__main__":
    main()
