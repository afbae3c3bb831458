"""How far the estimate of a training step's memory is from what a process takes.

For presets and drawn candidates of ``compact``, each in a process of its own on one thread: resident memory at its peak during
two AdamW steps in float32 with a moving average, less what the process had before, over ``search_spaces/memory.py``'s estimate.

    python benchmarks/memory.py
"""

import argparse
import copy
import multiprocessing
import random
import resource
import statistics
from pathlib import Path

import torch

from search_spaces.candidate import Candidate
from search_spaces.memory import training_bytes
from search_spaces.network import build_model
from search_spaces.preset import load_preset, preset_candidates
from search_spaces.space import load_space, sample

PAGE_BYTES = resource.getpagesize()


def main() -> None:
    """Print one line a candidate, then the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--drawn", type=int, default=8)
    options = parser.parse_args()
    space = load_space("compact")
    rng = random.Random(0)
    candidates = [candidate for _, candidate in preset_candidates(space)]
    candidates += [sample(space, rng) for _ in range(options.drawn)]
    ratios = []
    context = multiprocessing.get_context("spawn")
    for candidate in candidates:
        with context.Pool(1) as pool:
            estimate, taken = pool.apply(measure, (candidate, options.size, options.batch))
        ratios.append(taken / estimate)
        norm, activation = candidate.architecture.norm, candidate.architecture.activation
        print(
            f"{norm:<9}{activation:<11} estimate {estimate / 2**20:6.0f} MiB, taken {taken / 2**20:6.0f} MiB, "
            f"ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"ratio {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}")


def measure(candidate: Candidate, size: int, batch: int) -> tuple[int, int]:
    """Bytes that are estimated, and that this process takes."""
    torch.set_num_threads(1)
    train(load_preset("small_unet").candidate(), 32, 2)  # libraries load what they need
    before = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE_BYTES
    train(candidate, size, batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    estimate = training_bytes(
        candidate.architecture, in_channels=1, num_classes=3, input_size=(size, size), batch=batch
    )
    return estimate, peak - before


def train(candidate: Candidate, size: int, batch: int) -> None:
    """Two steps on noise."""
    network = build_model(candidate.architecture, in_channels=1, num_classes=3, ndim=2, seed=0)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters())
    images, labels = torch.randn(batch, 1, size, size), torch.zeros(batch, size, size, dtype=torch.int64)
    for _ in range(2):
        candidate.loss(network(images), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    del average


if __name__ == "__main__":
    main()
