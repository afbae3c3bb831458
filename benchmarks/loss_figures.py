"""Figures 12 and 13 of the survey (Taghanaki et al. 2020, arXiv:1910.07655), drawn anew from our terms.

Figure 13 compares two errors in an object of 16 and one of 2 pixels on a 5 x 5 grid; its six numbers are printed beside ours.

Figure 12 shows losses while a prediction comes to overlap a large and a small object, and says that on the small one only
combo and focal fall all the way. Its predictions are not given. Two ways to more overlap are drawn here: mistakes are mended
one after another (first row), and the overlap grows while false alarms come and go (second row). The number of steps in which
a loss rises stands in the legend.

    python benchmarks/loss_figures.py --out docs/losses
"""

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search_spaces.loss import LossTerm
from search_spaces.losses.combo import Combo
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.exponential_logarithmic import ExponentialLogarithmic
from search_spaces.losses.focal import Focal
from search_spaces.losses.tversky import Tversky

CLIP = 1e-9  # the survey's probability of a wrong pixel, inferred from its numbers
SURE = 0.9  # probability of what the predictions of figure 12 say
SIDE = 12
TERMS: dict[str, LossTerm] = {
    "cross-entropy": CrossEntropy(),
    "focal": Focal(2.0),
    "Dice": Dice(),
    "Tversky, 0.3": Tversky(0.3),
    "exp-log, gamma 1": ExponentialLogarithmic(gamma=1.0),
    "combo": Combo(),
}
Mask = npt.NDArray[np.bool_]


def main() -> None:
    """Write the figures, print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/losses"))
    options = parser.parse_args()
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "segsearch"  # the same file from the same numbers
    options.out.mkdir(parents=True, exist_ok=True)
    figure_13(options.out / "figure-13.svg")
    figure_12(options.out / "figure-12.svg")


def logits(mask: Mask, wrong: float) -> Tensor:
    """Logits (1, 2, H, W) that give what a mask says all but ``wrong`` of the probability."""
    half = math.log((1 - wrong) / wrong) / 2
    signed = torch.from_numpy(np.where(mask, half, -half)).float()
    return torch.stack([-signed, signed])[None]


def value(term: LossTerm, truth: Mask, predicted: Mask, *, wrong: float) -> float:
    """A term's value for masks."""
    labels = torch.from_numpy(truth.astype(np.int64))[None]
    return float(term(logits(predicted, wrong), labels))


def figure_13(path: Path) -> None:
    """Two errors in a large and in a small object."""
    from matplotlib import pyplot as plt

    large, small = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    large[:4, :4], small[1, 1:3] = True, True
    printed = {
        ("large", 1): (0.96, 0.83),
        ("large", 2): (0.93, 1.66),
        ("small", 1): (0.66, 0.83),
        ("small", 2): (0.50, 1.66),
    }
    figure, axes = plt.subplots(1, 4, figsize=(10, 3))
    for axis, ((name, errors), (dice, cross)) in zip(axes, printed.items(), strict=True):
        truth = large if name == "large" else small
        predicted = truth.copy()
        predicted[tuple(np.argwhere(truth)[0])] = False  # one pixel missed
        predicted[4, 4] |= errors == 2  # and one invented
        ours = (
            1 - value(Dice(), truth, predicted, wrong=CLIP),
            value(CrossEntropy(), truth, predicted, wrong=CLIP),
        )
        print(
            f"{name} object, {errors} wrong: Dice {ours[0]:.4f} (survey {dice}), cross-entropy {ours[1]:.4f} (survey {cross})"
        )
        picture = np.where(truth & predicted, 3, np.where(predicted, 2, np.where(truth, 1, 0)))
        axis.imshow(
            picture,
            cmap=mpl.colors.ListedColormap(["white", "tab:red", "tab:orange", "tab:green"]),
            vmin=0,
            vmax=3,
        )
        axis.set_xticks(np.arange(-0.5, 5), minor=True)
        axis.set_yticks(np.arange(-0.5, 5), minor=True)
        axis.grid(which="minor", color="lightgrey")
        axis.tick_params(which="both", bottom=False, left=False, labelbottom=False, labelleft=False)
        axis.set_title(f"{name}, {errors} wrong\nDice {ours[0]:.3f}, CE {ours[1]:.3f}", fontsize=10)
    figure.suptitle("green found, red missed, orange invented", y=0.07, fontsize=9)
    save(figure, path)


def figure_12(path: Path) -> None:
    """Losses on two ways to a large and a small object."""
    from matplotlib import pyplot as plt

    large, small = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    large[2:10, 2:10], small[5:7, 5:7] = True, True
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
    for row, (way, walk) in enumerate(
        (("mistakes mended one by one", mended), ("false alarms come and go", restless))
    ):
        for column, (size, truth) in enumerate((("large", large), ("small", small))):
            axis, masks = axes[row, column], walk(truth)
            for name, term in TERMS.items():
                values = np.array([value(term, truth, mask, wrong=1 - SURE) for mask in masks])
                rises = int((np.diff(values) > 1e-6).sum())
                axis.plot(
                    np.linspace(0, 1, len(values)),
                    values / values.max(),
                    label=f"{name}: rises {rises}",
                    lw=1.2,
                )
                print(f"{size} object, {way}: {name} rises in {rises} of {len(values) - 1} steps")
            axis.set_title(f"{size} object ({int(truth.sum())} px), {way}", fontsize=10)
            axis.legend(fontsize=7)
    for axis in axes[1]:
        axis.set_xlabel("share of the way; the found part of the object grows along it")
    for axis in axes[:, 0]:
        axis.set_ylabel("loss over its largest value")
    save(figure, path)


def mended(truth: Mask) -> list[Mask]:
    """From as many false pixels as the object has, and none found, to the truth: a pixel found, then a false one gone."""
    rng = np.random.default_rng(0)
    missed = rng.permutation(np.argwhere(truth))
    false = rng.permutation(np.argwhere(~truth))[: len(missed)]
    mask = np.zeros_like(truth)
    mask[tuple(false.T)] = True
    masks = [mask.copy()]
    for found, gone in zip(missed, false, strict=True):
        mask[tuple(found)] = True
        masks.append(mask.copy())
        mask[tuple(gone)] = False
        masks.append(mask.copy())
    return masks


def restless(truth: Mask) -> list[Mask]:
    """Ever more of the object is found, and at each step other pixels beside it are false, up to a quarter as many."""
    rng = np.random.default_rng(0)
    missed, outside = rng.permutation(np.argwhere(truth)), np.argwhere(~truth)
    steps = max(16, len(missed))
    masks = []
    for step in range(steps + 1):
        mask = np.zeros_like(truth)
        mask[tuple(missed[: round(step / steps * len(missed))].T)] = True
        alarms = 0 if step == steps else rng.integers(0, len(missed) // 4 + 2)
        mask[tuple(rng.permutation(outside)[:alarms].T)] = True
        masks.append(mask)
    return masks


def save(figure: "mpl.figure.Figure", path: Path) -> None:
    """Write a figure whose bytes do not depend on the day."""
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
