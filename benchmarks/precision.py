"""Which precision makes the steps of a network faster on this machine, as ``resources.precision: measured`` finds it.

Presets and random candidates of ``compact`` on the example volumes, 64 x 64, batches of 16, one thread, or a card with
``--device cuda``. Beside each choice stands what it cost to find. The last lines compare the steps of all networks, each
counting alike (geometric mean): the choice against fp32 always, bf16 always, and a coin, which is what a choice of the space
is. Choice and comparison rest on the same steps, which flatters the choice by their noise.

    python benchmarks/precision.py --candidates 20
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from search_spaces.preset import preset_candidates
from search_spaces.space import load_space, sample
from workers.batches import TrainingSet
from workers.contract import DataView
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.distance_maps import made_by_loader
from workers.precision import has_fast_bf16, measure_training
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.device == "cpu" and not has_fast_bf16():
        raise SystemExit("these cores emulate bf16, so nothing is measured and fp32 is taken")
    space = load_space("compact")
    drawn = [(f"draw {seed}", sample(space, random.Random(seed))) for seed in range(options.candidates)]
    over_fp32, over_bf16 = [], []
    with tempfile.TemporaryDirectory(prefix="segsearch-precision-") as place:
        ingest(EXAMPLE, place)
        data = open_dataset(place)
        view = DataView(place, data.digest, "slices", (64, 64), 16, 64)
        for name, candidate in [*preset_candidates(space), *drawn]:
            training = TrainingSet(
                cases=PreparedCases(data, "train", fit(candidate.preprocessing, data.manifest)),
                view=view,
                augmentation=candidate.recipe.augmentation,
                symmetries=data.symmetries,
                ignore_index=data.manifest.ignore_index,
                seed=0,
                needs=made_by_loader(candidate.loss.needs, options.device),
                num_classes=data.num_classes,
            )
            begun = time.perf_counter()
            found = measure_training(
                candidate,
                training,
                in_channels=data.num_channels,
                num_classes=data.num_classes,
                max_epochs=9,
                device=options.device,
                micro_batches=1,
            )
            taken = time.perf_counter() - begun
            fp32, bf16 = found.step_s["fp32"], found.step_s["bf16"]
            over_fp32.append(fp32 / found.step_s[found.precision])
            over_bf16.append(bf16 / found.step_s[found.precision])
            print(
                f"{name:22} {found.precision}  fp32 {1000 * fp32:7.1f} ms  bf16 {1000 * bf16:7.1f} ms  "
                f"fp32 / bf16 {fp32 / bf16:.2f}  found in {taken:.2f} s",
                flush=True,
            )
    fp32, bf16 = statistics.geometric_mean(over_fp32), statistics.geometric_mean(over_bf16)
    print(f"{len(over_fp32)} networks, load {os.getloadavg()[0]:.1f}; steps take, over those of the choice:")
    print(f"  fp32 always {fp32:.2f}, bf16 always {bf16:.2f}, a coin {(fp32 * bf16) ** 0.5:.2f}")


if __name__ == "__main__":
    main()
