"""What regions cost and give: their losses beside those of classes, and their scores beside those of unions of classes.

Losses: three regions of four classes, seconds of the process's CPU clock on one thread, medians of nine, both sides in turns.
Scores: ``small_unet`` is trained on slices of the hippocampus, once for classes and once for the regions whole and anterior,
with equal seeds, steps and recipe; both are scored on the test cases in these regions, the classes by whether the likeliest one
lies in a region.

    OMP_NUM_THREADS=1 python benchmarks/regions.py --epochs 25 --seeds 3
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.candidate import Candidate, to_json
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.lovasz_softmax import LovaszSoftmax
from search_spaces.preset import load_preset
from search_spaces.region_loss import region_loss
from search_spaces.regions import Region, Regions
from search_spaces.scores import LossExtras
from workers.contract import DataView, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.evaluate import class_names, evaluate
from workers.leg import Work, open_work

HIPPOCAMPUS = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"
TUMOUR = (Region("whole", (1, 2, 3)), Region("core", (1, 3)), Region("enhancing", (3,)))
WHOLE = (Region("whole", (1, 2)), Region("anterior", (1,)))
KINDS: tuple[tuple[str, Regions], ...] = (("classes", ()), ("regions", WHOLE))
LOSSES: tuple[tuple[str, tuple[LossTerm, ...]], ...] = (
    ("cross-entropy", (CrossEntropy(),)),
    ("+ Dice", (CrossEntropy(), Dice())),
    ("+ Lovász", (CrossEntropy(), LovaszSoftmax())),
)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--epochs", type=int, default=25)
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for samples, side in ((16, 64), (4, 256)):
        for name, terms in LOSSES:
            classes, regions = seconds(Loss(tuple(map(Weighted, terms))), samples, side)
            print(
                f"{samples} x {side}^2 {name:13s} four classes {1e3 * classes:5.1f} ms, three regions {1e3 * regions:5.1f} ms"
            )
    with tempfile.TemporaryDirectory() as folder:
        manifest = ingest(HIPPOCAMPUS, f"{folder}/set")
        view = DataView(f"{folder}/set", manifest.digest, "slices", (64, 64), 16, 208)
        whole = {kind: step_s(replace(view, regions=regions), folder) for kind, regions in KINDS}
        print(
            ", ".join(f"a step with {kind} {1e3 * spent:.1f} ms" for kind, spent in whole.items()), flush=True
        )
        for seed in range(given.seeds):
            for kind, learned in KINDS:
                scores = trained(replace(view, regions=learned), given.epochs, seed, folder)
                text = ", ".join(
                    f"Dice of {region.name} {scores[f'dice/{region.name}']:.4f}" for region in WHOLE
                )
                print(f"seed {seed}, {kind} learned: {text}", flush=True)


def seconds(loss: Loss, samples: int, side: int) -> tuple[float, float]:
    """Value and gradient of a loss of four classes, and of three regions of them."""
    labels = torch.randint(0, 4, (samples, side, side), generator=torch.Generator().manual_seed(0))

    def spent(channels: int, value: Callable[[Tensor], Tensor]) -> float:
        logits = torch.randn(samples, channels, side, side, requires_grad=True)
        started = time.process_time()
        value(logits).backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        return time.process_time() - started

    pairs = [
        (spent(4, lambda z: loss(z, labels)), spent(3, lambda z: region_loss(loss, z, labels, TUMOUR)))
        for _ in range(9)
    ]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def begun(view: DataView, epochs: int, seed: int, folder: str) -> Work:
    """``small_unet`` at its start."""
    preset = load_preset("small_unet").candidate()
    candidate: Candidate = replace(preset, recipe=replace(preset.recipe, precision="fp32"))
    leg = Leg(
        "regions",
        0,
        1,
        to_json(candidate),
        seed,
        0,
        epochs,
        epochs,
        None,
        view,
        f"{folder}/runs",
        split="test",
    )
    return open_work(leg)


def step_s(view: DataView, folder: str) -> float:
    """A whole step, median of nine after three."""
    work, spent = begun(view, 1, 0, folder), []
    images, labels, _ = next(work.batches)
    work.trainer.model.train()
    for _ in range(12):
        started = time.process_time()
        work.trainer._step(images, labels, LossExtras())
        spent.append(time.process_time() - started)
    return statistics.median(spent[3:])


def trained(view: DataView, epochs: int, seed: int, folder: str) -> dict[str, float]:
    """Metrics of the test cases in the regions."""
    work = begun(view, epochs, seed, folder)
    for epoch in range(1, epochs + 1):
        work.trainer.train_epoch(epoch, work.batches)
    network = work.trainer.network
    dataset = open_dataset(view.dataset)
    found = evaluate(
        network if view.regions else lambda windows: unions(network(windows), WHOLE),
        work.scored,
        replace(view, regions=WHOLE),
        names=class_names(dataset),
        ignore_index=dataset.manifest.ignore_index,
    )
    return found.metrics


def unions(logits: Tensor, regions: Regions) -> Tensor:
    """Logits of regions, above 0 where the likeliest class lies in the region."""
    found = []
    for region in regions:
        others = [index for index in range(logits.shape[1]) if index not in region.classes]
        found.append(logits[:, list(region.classes)].amax(1) - logits[:, others].amax(1))
    return torch.stack(found, dim=1)


if __name__ == "__main__":
    main()
