"""Whether zero-cost scores tell good candidates from bad ones: rank correlations with recorded trainings.

For each candidate of a table (``segsearch table record``) every score of ``search_spaces/zero_costs`` is computed at the size
that the table was recorded with, and compared with the mean over its trainings of the last epoch's Dice (0 for a training that
broke). A score sees the architecture only; what is recorded also depends on loss, recipe and preprocessing, so that no score
can rank perfectly.

*Spearman*, *Kendall* (tau-b): 95 % intervals from drawing candidates anew, percentiles. An interval that holds 0 says that the
table does not show that the score ranks at all. *Beats macs*: share of draws in which its Spearman correlation exceeds that of
the MACs. *Drop*: of the quarter with the lowest scores, the share that belongs to the better half; 0.50 is what chance gives.

Searches score networks on noise. ``--dataset FOLDER`` scores them on a batch of training images, to see what noise loses.

Seconds are CPU seconds of one score on one thread, with building the network.

    python benchmarks/zero_cost.py benchmarks/tables/hippocampus-2d.parquet
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import kendalltau, rankdata
from torch import Tensor

from orchestrator.simulate import CONFIDENCE, DRAWS
from orchestrator.table import Table, Training, load_table
from search_spaces.candidate import Candidate, from_json
from search_spaces.network import build_model
from search_spaces.preset import load_preset
from search_spaces.recipe import Augmentation
from search_spaces.register import kinds
from search_spaces.zero_cost import ZeroCost, noise, zero_cost
from workers.batches import TrainingSet
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit

METRIC = "dice"
BASELINE = "macs"
KENDALL_DRAWS = 500  # tau costs far more than rho

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one score."""

    score: str
    spearman: float
    spearman_interval: tuple[float, float]
    kendall: float
    kendall_interval: tuple[float, float]
    beats_baseline: float
    good_among_dropped: float
    seconds_mean: float
    seconds_max: float


def main() -> None:
    """Print the figures; ``--json`` also writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--channels", type=int, default=1, help="Channels that its networks see.")
    parser.add_argument("--classes", type=int, default=3, help="Classes of it, background included.")
    parser.add_argument("--seed", type=int, default=0, help="Of the networks and the noise; searches use 0.")
    parser.add_argument("--dataset", help="The table's data set, to score on its images instead of noise.")
    parser.add_argument("--no-presets", action="store_true", help="Leave the known networks out.")
    parser.add_argument("--json", help="File for the figures.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(options.table)
    groups = [
        trainings for trainings in table.by_digest.values() if not (options.no_presets and trainings[0].name)
    ]
    target = np.array([statistics.mean(last_of(training) for training in group) for group in groups])
    size = tuple(table.origin.protocol["size"])
    images = noise(options.channels, size, seed=options.seed)
    if options.dataset:
        images = training_images(table, options.dataset, count=len(images), seed=options.seed)
    scored = {
        kind: measured(groups, kind, images, num_classes=options.classes, seed=options.seed)
        for kind in kinds(ZeroCost)
    }
    head = (
        f"{options.table}: {len(groups)} candidates, {sum(map(len, groups))} trainings; last-epoch {METRIC} "
        f"{target.min():.3f} to {target.max():.3f}; {'images' if options.dataset else 'noise'}, seed {options.seed}; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(head)
    print(f"{'score':<12}{'Spearman':<26}{'Kendall':<26}{'beats macs':<12}{'drop':<7}seconds, mean and most")
    rows = [row_of(kind, scored, target) for kind in scored]
    for row in sorted(rows, key=lambda row: -row.spearman):
        print(
            f"{row.score:<12}{_said(row.spearman, row.spearman_interval):<26}"
            f"{_said(row.kendall, row.kendall_interval):<26}{row.beats_baseline:<12.2f}"
            f"{row.good_among_dropped:<7.2f}{row.seconds_mean:.3f}, {row.seconds_max:.3f}"
        )
    print(noise_of_seeds(groups))
    if options.json:
        text = json.dumps({"head": head, "rows": [asdict(row) for row in rows]}, indent=1)
        Path(options.json).write_text(text, encoding="utf-8")


def last_of(training: Training) -> float:
    """The metric after the last epoch; 0 where the training broke."""
    return training.epochs[-1].metrics.get(METRIC, 0.0) if training.status == "completed" else 0.0


def training_images(table: Table, dataset: str, *, count: int, seed: int) -> Tensor:
    """A batch of training images, as the preset ``small_unet`` prepares them, without augmentation."""
    candidate = load_preset("small_unet").candidate()
    opened = open_dataset(dataset, digest=table.origin.data)
    fitted = fit(candidate.preprocessing, opened.manifest)
    protocol = table.origin.protocol
    samples = TrainingSet(
        cases=PreparedCases(opened, "train", fitted),
        view=DataView(
            dataset,
            table.origin.data,
            protocol["view"],
            tuple(protocol["size"]),
            count,
            adjacent_slices=protocol.get("adjacent_slices", 0),
        ),
        augmentation=Augmentation(),
        symmetries=opened.symmetries,
        ignore_index=opened.manifest.ignore_index,
        seed=seed,
    )
    return samples.batch(1, 0)[0]


def measured(
    groups: list[tuple[Training, ...]], kind: str, images: Tensor, *, num_classes: int, seed: int
) -> tuple[Array, Array]:
    """Scores of the candidates, and the CPU seconds of each."""
    values, seconds = [], []
    for group in (groups[0], *groups):  # the first again: a process's first pass takes longer
        architecture = from_json(Candidate, group[0].candidate).architecture
        begun = time.process_time()
        network = build_model(
            architecture,
            in_channels=images.shape[1],
            num_classes=num_classes,
            ndim=images.dim() - 2,
            seed=seed,
        )
        values.append(zero_cost(kind, network, images))
        seconds.append(time.process_time() - begun)
    return np.array(values[1:]), np.array(seconds[1:])


def row_of(kind: str, scored: dict[str, tuple[Array, Array]], target: Array) -> Row:
    """Correlations of one score, with intervals from the same draws for every score."""
    values, seconds = scored[kind]
    baseline, _ = scored[BASELINE]
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(target), size=len(target)) for _ in range(DRAWS)]
    rhos = np.array([spearman(values[draw], target[draw]) for draw in draws])
    others = np.array([spearman(baseline[draw], target[draw]) for draw in draws])
    taus = np.array([kendall(values[draw], target[draw]) for draw in draws[:KENDALL_DRAWS]])
    lowest = values.argsort(kind="stable")[: len(values) // 4]
    return Row(
        kind,
        spearman(values, target),
        _interval(rhos),
        kendall(values, target),
        _interval(taus),
        float((rhos > others).mean()),
        float((target[lowest] > np.median(target)).mean()),
        float(seconds.mean()),
        float(seconds.max()),
    )


def spearman(values: Array, target: Array) -> float:
    """Correlation of the ranks, ties at their mean rank; 0 where all are equal."""
    a, b = rankdata(values), rankdata(target)
    return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(np.corrcoef(a, b)[0, 1])


def kendall(values: Array, target: Array) -> float:
    """Tau-b; 0 where all are equal."""
    found = float(kendalltau(values, target).statistic)
    return found if np.isfinite(found) else 0.0


def noise_of_seeds(groups: list[tuple[Training, ...]]) -> str:
    """How far trainings of one candidate differ: what no score can know."""
    spreads = [np.std([last_of(one) for one in group], ddof=1) for group in groups if len(group) > 1]
    if not spreads:
        return "no candidate has several seeds"
    return f"deviation of {METRIC} between seeds of one candidate: median {np.median(spreads):.3f} of {len(spreads)}"


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _said(value: float, interval: tuple[float, float]) -> str:
    return f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"


if __name__ == "__main__":
    main()
