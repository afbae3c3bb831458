"""What a search over losses gives on ISBI EM, beside three losses that papers name, at equal cost.

The network and its recipe are ``small_unet``; only the loss differs. 30 slices of 512 x 512: 21 to train in random crops of
96 x 96, 3 for validation (the search looks at these), the last 6 to score (nothing looks at them before the end). Classes:
cell, membrane. Everything goes through ``segsearch run --in-process`` and job files, as a user would do it; lengths are in
steps of 8 crops, so that the load of the machine does not matter. Needs ``SEGSEARCH_DATA``.

- *search*: the space ``losses``, 20 trials of ``--short`` epochs, ranked by ``--objective`` on validation; the best is trained
  anew with another seed for ``--long`` epochs. The losses that papers name come first, as in every search of this space.
- *sampled*: the same with ``presets: false``, so that every loss is drawn.
- *X, same length*: loss X in a training as long as that of the winner.
- *X, same budget*: loss X for the steps of the whole search and the retraining together.

For each: mean over seeds of mIoU, boundary F1 and V_Rand on the 6 slices after the last epoch, with a 95 % interval (Student's
t over seeds; it holds the choice of the loss, the start and the order of crops, not the choice of slices), and the paired
difference to *search*.

    SEGSEARCH_DATA=../shared/data OMP_NUM_THREADS=1 python benchmarks/loss_payoff.py --seeds 3
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from orchestrator.cli import main as segsearch
from search_spaces.candidate import Candidate
from search_spaces.loss import Loss
from search_spaces.loss_presets import loss_presets
from search_spaces.preset import load_preset
from search_spaces.space import Choose
from workers.contract import DataView
from workers.data.dataset import Dataset, open_dataset
from workers.data.ingest import ingest
from workers.evaluate import evaluate
from workers.measure import measures
from workers.network_file import load_description, load_torch
from workers.prepared_cases import PreparedCases

TRIALS, SIZE, BATCH, SAMPLES = 20, 96, 8, 160
SHOWN = ("miou", "boundary_f1", "v_rand")
FIXED = {"CE": "cross_entropy", "CE + Dice": "cross_entropy_dice", "focal + Dice": "focal_dice"}
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}  # 97.5 % points for n seeds
JOB = """\
name: {name}
dataset: {data}
data: {{view: images, size: [{size}, {size}], batch: {batch}, epoch_samples: {samples}, loader_workers: 0}}
space: {space}
objectives: {{maximize: [{objective}]}}
search: {{scheduler: {{kind: none, max_epochs: {first}}}, seed: {seed}, presets: {presets}}}
budget: {{trials: {trials}}}
resources: {{cpus: 1, slot_cpus: 1}}
retrain: {{top: {top}, seeds: 1, epochs: {last}}}
storage: {storage}
"""


def cross_entropy(_choose: Choose) -> Candidate:
    """``small_unet`` with cross-entropy."""
    return _with("cross_entropy")


def cross_entropy_dice(_choose: Choose) -> Candidate:
    """``small_unet`` with cross-entropy and Dice."""
    return _with("cross_entropy_dice")


def focal_dice(_choose: Choose) -> Candidate:
    """``small_unet`` with focal and Dice."""
    return _with("focal_dice")


def _with(name: str) -> Candidate:
    loss = next(preset.loss for preset in loss_presets() if preset.name == name)
    return replace(load_preset("small_unet").candidate(), loss=loss)


def protocol(folder: Path) -> Dataset:
    """The data set of the protocol."""
    stack = Path(os.environ["SEGSEARCH_DATA"]) / "isbi_em/membrane/train"
    source = folder / "isbi"
    shutil.copytree(stack / "image", source / "images")
    shutil.copytree(stack / "label", source / "masks")
    classes = [{"name": "cell", "value": 255}, {"name": "membrane", "value": 0}]
    (source / "classes.json").write_text(json.dumps(classes))
    ids = [str(number) for number in range(30)]
    splits = {"train": ids[:21], "validation": ids[21:24], "test": ids[24:]}
    (source / "splits.json").write_text(json.dumps(splits))
    ingest(source, str(folder / "data"))
    return open_dataset(str(folder / "data"))


@dataclass(frozen=True, slots=True)
class Arm:
    """What a row asks of ``segsearch``: a search and a retraining, or without ``last`` one training, exported as it is."""

    trials: int
    first: int
    last: int
    samples: int = SAMPLES
    space: str = "losses"
    presets: bool = True

    @property
    def steps(self) -> int:
        """Of all its trainings together."""
        return (self.trials * self.first + self.last) * self.samples // BATCH


def arms(short: int, long: int) -> dict[str, Arm]:
    """The rows. A fixed loss is a space of its own, with one candidate."""
    found = {"search": Arm(TRIALS, short, long)}
    for title, epochs in (("same length", long), ("same budget", TRIALS * short + long)):
        for name, loss in FIXED.items():
            # one long epoch, as nothing looks at the scores on the way
            found[f"{name}, {title}"] = Arm(1, 1, 0, samples=SAMPLES * epochs, space=f"loss_payoff:{loss}")
    return found | {"sampled": Arm(TRIALS, short, long, presets=False)}


def run(folder: Path, dataset: Dataset, name: str, job: str) -> dict[str, Any]:
    """One job; its winner's loss, and the scores of its export on the held-out slices."""
    folder.mkdir(parents=True)
    (folder / "job.yaml").write_text(job)
    begun = time.perf_counter()
    told_by(folder, "run", "--in-process", "--no-tracking", str(folder / "job.yaml"))
    storage = ("--storage", str(folder.parent / "runs"))
    told_by(folder, "export", name, "--out", str(folder / "export"), *storage)
    rows = json.loads(told_by(folder, "leaderboard", name, *storage))["trials"]
    row = next((row for row in rows if row["purpose"] == "retrain"), rows[0])
    assert row["epoch"] == row["max_epochs"], f"{folder / 'log'} says why trial {row['trial']} ended early"
    loss = load_description(folder / "export").candidate.loss
    return {"name": row["name"], "loss": text(loss), "metrics": scores(folder / "export", dataset)} | {
        "seconds": time.perf_counter() - begun
    }


def told_by(folder: Path, verb: str, *arguments: str) -> str:
    """What a verb of ``segsearch`` prints with ``--json``."""
    out = io.StringIO()
    with (
        (folder / "log").open("a") as said,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        code = segsearch.run([verb, *arguments, "--json"])
    assert code == 0, f"{folder / 'log'} says why segsearch {verb} ended with {code}"
    return out.getvalue()


def scores(export: Path, dataset: Dataset) -> dict[str, float]:
    """Metrics of an exported network on the held-out slices; V_Rand is not in a search's table unless it is an objective."""
    description = load_description(export)
    view = DataView(dataset.location, dataset.digest, "images", (SIZE, SIZE), BATCH)
    found = evaluate(
        load_torch(export, description),
        PreparedCases(dataset, "test", description.fitted),
        view,
        names=description.class_names,
        ignore_index=description.ignore_index,
        measures=measures(("boundary", "partition")),
    ).metrics
    return {name: found[name] for name in SHOWN}


def text(loss: Loss) -> str:
    """Terms of a loss with their weights."""
    parts = [f"{2**one.log_ratio:.2g} {one.term.kind}" for one in loss.terms]
    return " + ".join(parts) + (" (gradients)" if loss.balance == "gradients" else "")


def interval(values: Sequence[float]) -> str:
    """Mean and half the width of the 95 % interval, in percent."""
    if len(values) < 2:
        return f"{100 * values[0]:.2f}"
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.mean(values):.2f} ± {100 * half:.2f}"


def main() -> None:
    """Print every run, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 7))
    parser.add_argument("--short", type=int, default=1, help=f"Epochs of {SAMPLES} crops.")
    parser.add_argument("--long", type=int, default=4)
    parser.add_argument("--objective", default="miou", choices=SHOWN)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = arms(options.short, options.long)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in known}
    with tempfile.TemporaryDirectory(prefix="segsearch-payoff-") as place:
        os.chdir(place)  # a search leaves what it knows where it runs
        root = Path(place)
        dataset = protocol(root)
        seeds = range(options.seeds)
        order = [(seed, name) for seed in seeds for name in known if name != "sampled"]
        for seed, name in [*order, *((seed, "sampled") for seed in seeds)]:
            arm, called = known[name], f"payoff-{seed}-{list(known).index(name)}"
            job = JOB.format(
                name=called, data=dataset.location, size=SIZE, batch=BATCH, samples=arm.samples, first=arm.first,
                last=arm.last or 1, top=int(arm.last > 0), trials=arm.trials, space=arm.space,
                presets=json.dumps(arm.presets), seed=seed, objective=options.objective, storage=root / "runs",
            )  # fmt: skip
            one = run(root / called, dataset, called, job)
            found[name].append(one["metrics"])
            shown = " ".join(f"{metric} {value:.4f}" for metric, value in one["metrics"].items())
            print(
                f"seed {seed}, {name}: {shown}; {one['loss']} [{one['name']}], {one['seconds']:.0f} s, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            if name == list(known)[-2] or (name, seed) == ("sampled", seeds[-1]):
                print(table(found, known), flush=True)


def table(found: Mapping[str, Sequence[Mapping[str, float]]], known: Mapping[str, Arm]) -> str:
    """One row an arm that all seeds have done, one column a metric, in percent."""
    titles = [f"{metric} | search minus this" for metric in SHOWN]
    lines = [f"| loss | steps | {' | '.join(titles)} |", "|---" * (2 + 2 * len(SHOWN)) + "|"]
    for name, scored in found.items():
        cells = []
        for metric in SHOWN if len(scored) == len(found["search"]) else ():
            cells.append(interval([one[metric] for one in scored]))
            pairs = zip(found["search"], scored, strict=True)
            cells.append("" if name == "search" else interval([a[metric] - b[metric] for a, b in pairs]))
        if cells:
            lines.append(f"| {name} | {known[name].steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
