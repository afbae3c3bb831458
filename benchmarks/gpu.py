"""What a card gives: samples a second of our training beside a bare loop, and of several trials that share the card.

- *bare loop*: the same network, loss, optimiser and precision on batches that lie on the card already; what the card can do.
- *ours*: the same through a leg: batches cut and augmented by loader processes, clipping, checks, the moving average.
  One process, and ``--shared`` processes that train side by side on the one card, each with its part of the cores.
- *cores*: ours on one core, for scale.

Samples a second of the training steps (scoring and checkpoints left out) after the first epoch; *kept* is ours over the
bare loop.

    segsearch data ingest examples/data/hippocampus data/hippocampus
    python benchmarks/gpu.py --data data/hippocampus
"""

import argparse
import dataclasses
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from search_spaces.candidate import Candidate, to_json
from search_spaces.preset import load_preset
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.leg import open_work, run_leg


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a preset at a size and precision."""

    preset: str
    size: int
    precision: Literal["fp32", "bf16"]
    samples: int

    @property
    def candidate(self) -> Candidate:
        """The preset with this precision."""
        made = load_preset(self.preset).candidate()
        return dataclasses.replace(made, recipe=dataclasses.replace(made.recipe, precision=self.precision))

    def tell(self, text: str) -> None:
        """Print one figure."""
        print(f"{self.preset} {self.size}x{self.size} {self.precision}: {text}", flush=True)

    def leg(self, data: str, storage: str, *, device: str, loaders: int, samples: int, epochs: int) -> Leg:
        """A leg that trains it."""
        view = DataView(data, open_dataset(data).digest, "slices", (self.size, self.size), 16, samples)
        return Leg(
            search="gpu", trial=0, fence=1, candidate=to_json(self.candidate), seed=0, first_epoch=0, last_epoch=epochs,
            max_epochs=epochs, checkpoint=None, data=view, storage=storage, device=device, loader_workers=loaders,
        )  # fmt: skip


def ours(case: Case, data: str, *, device: str, loaders: int, epochs: int = 3) -> float:
    """Samples a second of a leg's training steps, the first epoch left out."""
    samples = case.samples if device == "cuda" else 64
    with tempfile.TemporaryDirectory() as storage:
        found: list[EpochResult] = []
        leg = case.leg(data, storage, device=device, loaders=loaders, samples=samples, epochs=epochs)
        ended = run_leg(leg, found.append, lambda: False)
    assert ended.status == "completed", ended.message
    return samples * (len(found) - 1) / sum(one.train_seconds for one in found[1:])


def bare(case: Case, data: str, *, steps: int = 60) -> float:
    """Samples a second of plain steps on batches that lie on the card."""
    with tempfile.TemporaryDirectory() as storage:
        work = open_work(case.leg(data, storage, device="cuda", loaders=0, samples=64, epochs=1))
    made = work.trainer
    model = made.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = [
        (images.cuda().to(memory_format=torch.channels_last), labels.cuda())
        for images, labels in work.batches
    ]
    begun = 0.0
    for step in range(steps + 10):
        if step == 10:
            torch.cuda.synchronize()
            begun = time.perf_counter()
        images, labels = batches[step % len(batches)]
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=case.precision == "bf16"):
            logits = model(images)
        loss = case.candidate.loss(logits, labels, ignore_index=made.training.ignore_index)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        optimiser.step()
    torch.cuda.synchronize()
    return 16 * steps / (time.perf_counter() - begun)


def shared(case: Case, data: str, count: int, cores: int) -> float:
    """Samples a second of several processes on one card, added up."""
    spawn = multiprocessing.get_context("spawn")
    loaders = max(0, cores // count - 1)
    with ProcessPoolExecutor(count, mp_context=spawn) as pool:
        jobs = [pool.submit(ours, case, data, device="cuda", loaders=loaders, epochs=4) for _ in range(count)]
        return sum(job.result() for job in jobs)


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data/hippocampus")
    parser.add_argument("--shared", type=int, nargs="*", default=[4, 8])
    options = parser.parse_args()
    data = str(Path(options.data).absolute())
    cores = len(os.sched_getaffinity(0))
    print(f"{torch.cuda.get_device_name()}, {cores} cores, torch {torch.__version__}")
    cases = [
        Case("small_unet", 64, "fp32", 1600),
        Case("small_unet", 64, "bf16", 1600),
        Case("small_deeplabv3plus", 64, "bf16", 1600),
        Case("unet", 256, "fp32", 960),
        Case("unet", 256, "bf16", 960),
    ]
    torch.set_num_threads(1)
    for case in cases:
        most = bare(case, data)
        case.tell(f"bare loop {most:.0f}/s")
        one = ours(case, data, device="cuda", loaders=min(8, cores - 1))
        case.tell(f"ours {one:.0f}/s, kept {one / most:.2f}")
        case.tell(f"without loader processes {ours(case, data, device='cuda', loaders=0):.0f}/s")
        if case.size == 64:
            for count in options.shared:
                case.tell(f"{count} share the card {shared(case, data, count, cores):.0f}/s")
        if case.size == 64 and case.precision == "fp32":
            case.tell(f"one core {ours(case, data, device='cpu', loaders=0, epochs=2):.0f}/s")


if __name__ == "__main__":
    main()
