"""How often the battery that rejects losses is wrong: random combinations, judged by it and then trained on real data.

Combinations of one to four terms of any kind, with weights over twelve octaves, are drawn until 15 pass the battery and 15 do
not. Each trains ``small_unet`` for the same epochs on slices of the hippocampus, beside cross-entropy + Dice. *Well* is at
least 90 % of that loss's Dice, *badly* less than half. The battery is wrong where a rejected one trains well, or an accepted
one badly. Needs ``SEGSEARCH_DATA``.

    SEGSEARCH_DATA=../shared/data python benchmarks/loss_gate.py --epochs 8
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from never_below_preset import PROTOCOLS

from search_spaces.candidate import canonical, digest, to_json
from search_spaces.errors import SpaceError
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.loss_battery import fault_of
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.preset import load_preset
from search_spaces.register import kinds, lookup
from workers.contract import DataView, EpochResult, Leg
from workers.leg import run_leg

PROTOCOL = PROTOCOLS["hippocampus"]
CLASSES = 3
EACH = 15
OCTAVES = (-6.0, 6.0)
WELL, BADLY = 0.9, 0.5


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--each", type=int, default=EACH)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.set_num_threads(1)
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {given.epochs} epochs of {PROTOCOL.samples} slices"
    )
    accepted, rejected, spent = drawn(given.each, given.seed)
    print(
        f"battery: median {1e3 * statistics.median(spent):.0f} ms, worst {1e3 * max(spent):.0f} ms, {len(spent)} losses"
    )
    with tempfile.TemporaryDirectory() as folder:
        view = PROTOCOL.view_of(PROTOCOL.prepare(Path(folder)))
        train = Trained(view, given.epochs, folder)
        bar = train(Loss((Weighted(CrossEntropy()), Weighted(Dice()))))
        print(f"cross_entropy + dice: {bar:.4f}", flush=True)
        found = {}
        for verdict, losses in (("accepted", accepted), ("rejected", rejected)):
            found[verdict] = [train(loss) / bar for loss in losses]
            for loss, share in zip(losses, found[verdict], strict=True):
                fault = fault_of(loss, num_classes=CLASSES)
                print(f"{verdict} {fault.lacks if fault else '-':9s} {share:6.3f}  {text(loss)}", flush=True)
    for verdict, shares in found.items():
        well, badly = sum(share >= WELL for share in shares), sum(share < BADLY for share in shares)
        print(f"{verdict}: {len(shares)}, well {well}, badly {badly}, median {statistics.median(shares):.3f}")


def drawn(each: int, seed: int) -> tuple[list[Loss], list[Loss], list[float]]:
    """Losses that pass the battery, others that do not, and the seconds that it took for each."""
    rng, spent = random.Random(seed), []
    accepted: list[Loss] = []
    rejected: list[Loss] = []
    while min(len(accepted), len(rejected)) < each:
        loss = draw(rng)
        if loss is None:
            continue
        started = time.perf_counter()
        fault = fault_of(loss, num_classes=CLASSES)
        spent.append(time.perf_counter() - started)
        side = accepted if fault is None else rejected
        if len(side) < each:
            side.append(loss)
    return accepted, rejected, spent


def draw(rng: random.Random) -> Loss | None:
    """A combination at random; None where it is none, as no term gives a gradient everywhere."""
    names = rng.sample(kinds(LossTerm), rng.choice((1, 2, 2, 3, 3, 4)))
    terms = [lookup(LossTerm, name)() for name in names]  # type: ignore[type-abstract]  # entries are concrete
    ratios = [0.0, *(rng.uniform(*OCTAVES) for _ in terms[1:])]
    balance = rng.choice(("values", "gradients"))
    try:
        weighted = (Weighted(term, ratio) for term, ratio in zip(terms, ratios, strict=True))
        return canonical(Loss(tuple(weighted), balance))  # type: ignore[arg-type]  # a literal
    except SpaceError:
        return None


class Trained:
    """Mean Dice of a loss on the validation cases after the last epoch, 0 where training broke down."""

    def __init__(self, view: DataView, epochs: int, folder: str) -> None:
        self.view, self.epochs, self.folder = view, epochs, folder

    def __call__(self, loss: Loss) -> float:
        candidate = replace(load_preset("small_unet").candidate(), loss=loss)
        reports: list[EpochResult] = []
        leg = Leg(
            search="gate", trial=0, fence=0, candidate=to_json(candidate), seed=0, first_epoch=0,
            last_epoch=self.epochs, max_epochs=self.epochs, checkpoint=None, data=self.view,
            storage=f"{self.folder}/{digest(candidate)}",
        )  # fmt: skip
        result = run_leg(leg, reports.append, lambda: False)
        return reports[-1].metrics["dice"] if result.status == "completed" else 0.0


def text(loss: Loss) -> str:
    parts = " ".join(f"{weighted.term.kind}:{weighted.log_ratio:+.1f}" for weighted in loss.terms)
    return f"{parts} ({loss.balance})"


if __name__ == "__main__":
    main()
