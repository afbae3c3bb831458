"""Losses beside those of MONAI, segmentation-models-pytorch (smp), kornia and torchvision: values, time and memory.

Each row is one definition computed by us and by a peer on the same logits and labels, the peer's result multiplied by a
constant where it averages over another number. *difference* is |ours - peer| over max(1, |peer|), the peer's value taken in
float64, as some lose digits in their sums. *ratio* is our time over the peer's, forward and backward, each the least over the
rounds, as other work on the machine only adds to it. Ours and all peers take turns in each round; cheap losses have up to ten
times the rounds. *fastest* marks the peer that ours is judged by: the goal is a ratio of at most 1.

After the rows: the cost of every term, what a combination of region terms costs against one of them, the most memory that a
Dice needs, cases where a peer is wrong, and what distance maps add to a training step.

The peers are no dependency. Give them a virtual environment of their own that sees this one:

    python -m venv /tmp/peers
    python -c 'import site; print(site.getsitepackages()[0])' > /tmp/peers/lib/python3.11/site-packages/main.pth
    /tmp/peers/bin/python -m pip install --no-deps monai segmentation-models-pytorch kornia kornia_rs timm
    PYTHONPATH=. /tmp/peers/bin/python benchmarks/losses.py
"""

import argparse
import functools
import os
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from peer_losses import PAIRS, Pair, inputs
from torch import Tensor
from wrong_peers import wrong_peers

from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.jaccard import Jaccard
from search_spaces.losses.tversky import Tversky
from search_spaces.preset import load_preset
from search_spaces.recipe import Augmentation
from search_spaces.register import kinds, lookup
from search_spaces.scores import LossExtras, Need
from workers.batches import TrainingSet
from workers.contract import DataView
from workers.distance_maps import label_maps, prediction_maps, signed_distances_of
from workers.trainer import build_trainer

GOALS = {
    "lovasz_softmax, smp": 1 / 3,
    "lovasz_softmax, kornia": 1 / 1.5,
}  # ratio to each peer, by pair and peer
AGREE = 1e-5
CHEAP_S = 4.0  # as long as all rounds together may go on beyond those asked for


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="Rows whose name holds this.")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, {options.device}, 1 thread, load {os.getloadavg()[0]:.1f}")
    rows = [
        compare(pair, rounds=options.rounds, device=options.device)
        for pair in PAIRS
        if options.only in pair.name
    ]
    judged = [row for row in rows if row is not None]
    slow = [row.name for row in judged if row.ratio > 1]
    print(
        f"{len(judged)} rows, {len(judged) - len(slow)} with a ratio of at most 1; slower: {', '.join(slow) or 'none'}"
    )
    if options.only:
        return
    combinations(options.rounds, options.device)
    if options.device != "cpu":
        maps(options.rounds, options.device)
        return
    costs(options.rounds)
    memory()
    print("\ncases where a peer is wrong: its value, the right one, ours")
    for case in wrong_peers():
        print(f"  {case}")
    maps(options.rounds, options.device)


@dataclass(frozen=True, slots=True)
class Row:
    """What one comparison gave: our time over that of the fastest peer."""

    name: str
    ratio: float


def compare(pair: Pair, *, rounds: int, device: str) -> Row | None:
    """Values and times of a pair; None where no peer is installed."""
    logits, labels = (tensor.to(device) for tensor in inputs(pair.shape, pair.classes, pair.blobs))
    peers = installed(pair)
    if not peers:
        return None
    runs = {"ours": pair.ours, **peers}
    values = {name: exact(run, logits, labels) for name, run in peers.items()}
    values["ours"] = float(pair.ours(logits, labels))
    seconds = times(runs, logits, labels, rounds=rounds)
    best = {name: min(values) for name, values in seconds.items()}
    fastest = min(peers, key=lambda name: best[name])
    for name in peers:
        ratio = best["ours"] / best[name]
        apart = abs(values["ours"] - values[name]) / max(1.0, abs(values[name]))
        goal = GOALS.get(f"{pair.name}, {name}")
        marks = [
            "fastest" if name == fastest else "",
            "" if apart <= AGREE else "DIFFERS",
            "" if goal is None else f"goal {goal:.2f}{'' if ratio <= goal else ' MISSED'}",
        ]
        print(
            f"{pair.name:<28}{name:<12} ours {values['ours']:.6f} peer {values[name]:.6f} difference {apart:.0e}  "
            f"ms {1e3 * best['ours']:7.1f} / {1e3 * best[name]:7.1f}  "
            f"ratio {ratio:.2f}  {' '.join(filter(None, marks))}",
            flush=True,
        )
    return Row(pair.name, best["ours"] / best[fastest])


def installed(pair: Pair) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The peers of a pair that can be imported."""
    found = {}
    for name, make in pair.peers.items():
        try:
            found[name] = make(pair)
        except ImportError as error:
            print(f"{pair.name}: {name} is left out, {error}")
    return found


def exact(run: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> float:
    """A peer's value from float64, or from float32 where it allows nothing else."""
    try:
        return float(run(logits.double(), labels))
    except RuntimeError:
        return float(run(logits, labels))


def times(
    runs: dict[str, Callable[[Tensor, Tensor], Tensor]], logits: Tensor, labels: Tensor, *, rounds: int
) -> dict[str, list[float]]:
    """Seconds of forward and backward of each; the first round, which warms up, is left out.

    Each round has an order of its own: whoever comes second finds the batch in the cache.
    """
    rng = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    for number in range(10 * rounds + 1):
        if number > rounds and time.perf_counter() - begun > CHEAP_S:
            break
        for name, run in rng.sample(list(runs.items()), len(runs)):
            leaf = logits.detach().requires_grad_()
            synchronise(logits)
            started = time.perf_counter()
            run(leaf, labels).backward()
            synchronise(logits)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def synchronise(tensor: Tensor) -> None:
    """Wait for a card."""
    if tensor.is_cuda:
        torch.cuda.synchronize()


def costs(rounds: int) -> None:
    """Every term against cross-entropy; what it needs is given, but maps of predictions, which it asks for itself."""
    logits, labels = inputs((4, 4, 256, 256), 4, True)
    spacing, needs = (1.0, 1.0), frozenset[Need](("distance", "neighbours"))
    extras = LossExtras(
        0.5,
        spacing,
        # maps have the names of these fields
        **label_maps(labels, needs, num_classes=4, ignore_index=255, spacing=spacing),  # type: ignore[arg-type]
        image=torch.randn(4, 1, 256, 256),
        distances=prediction_maps(spacing),
        second=logits.flip(0),
        critic=lambda image, maps: (image * maps.mean(1, keepdim=True)).mean((1, 2, 3)),
    )
    # entries are concrete
    terms: dict[str, Any] = {kind: lookup(LossTerm, kind)() for kind in kinds(LossTerm)}  # type: ignore[type-abstract]
    runs = {kind: functools.partial(term, extras=extras) for kind, term in terms.items() if term.of_logits}
    print("\ncost of every term at 4 x 4 x 256 x 256, forward and backward, over that of cross-entropy")
    for kind, run in runs.items():
        found = times(
            {"cross_entropy": runs["cross_entropy"], kind: run}, logits, labels, rounds=max(3, rounds // 3)
        )
        best = {name: min(values) for name, values in found.items()}
        print(f"  {kind:<26}{1e3 * best[kind]:7.1f} ms {best[kind] / best['cross_entropy']:7.1f}", flush=True)


def combinations(rounds: int, device: str) -> None:
    """Several region terms against one: the reductions are shared."""
    logits, labels = (tensor.to(device) for tensor in inputs((4, 4, 256, 256), 4, True))
    region: list[LossTerm] = [Dice(), Tversky(), GeneralisedDice(), Jaccard()]
    anchor = CrossEntropy()
    runs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "one": Loss((Weighted(region[0]),)),
        "all": Loss(tuple(map(Weighted, region))),
        "anchor, one": Loss((Weighted(anchor), Weighted(region[0]))),
        "anchor, all": Loss(tuple(map(Weighted, (anchor, *region)))),
    }
    found = times(runs, logits, labels, rounds=2 * rounds)
    print(
        "\ncombinations at 4 x 4 x 256 x 256: Dice alone against Dice + Tversky + generalised Dice + Jaccard"
    )
    for one, all_ in (("one", "all"), ("anchor, one", "anchor, all")):
        ms = [1e3 * min(found[name]) for name in (one, all_)]
        ratio = ms[1] / ms[0]
        print(
            f"  {one:<12} {ms[0]:.1f} ms, all {ms[1]:.1f} ms, ratio {ratio:.2f} (goal 1.30{' MISSED' if ratio > 1.3 else ''})"
        )


def memory() -> None:
    """Peak memory of a Dice of 19 classes at 512 x 512, batch 4, ours and smp's."""
    from segmentation_models_pytorch.losses import DiceLoss

    logits, labels = inputs((4, 19, 512, 512), 19, True)
    smp = DiceLoss("multiclass", smooth=0.0)
    peaks = {
        name: peak_bytes(run, logits, labels)
        for name, run in (("ours", Dice(background=True, absent="one")), ("smp", smp))
    }
    size = logits.numel() * 4
    print(
        f"\nmemory of a Dice at 4 x 19 x 512 x 512 beyond the logits ({size / 2**20:.0f} MiB): "
        f"ours {peaks['ours'] / size:.1f}, smp {peaks['smp'] / size:.1f} times their size, "
        f"ratio {peaks['ours'] / peaks['smp']:.2f}"
    )


def peak_bytes(run: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> int:
    """Most memory that forward and backward hold at once, as torch's allocator sees it."""
    leaf = logits.detach().requires_grad_()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        run(leaf, labels).backward()
    held = most = 0
    # there are results once it has profiled
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def maps(rounds: int, device: str) -> None:
    """Distance maps of a batch beside a training step: made by the loader, here on one core, or by a card within the step."""
    batch, classes, size, spacing = 4, 4, 256, (1.0, 1.0)
    view = DataView("", "", "images", (size, size), batch, batch)
    training = TrainingSet((), view, Augmentation(), (), 255, 0, num_classes=classes)
    images = torch.randn(batch, 1, size, size)
    _, labels = inputs((batch, classes, size, size), classes, True)
    loss = Loss((Weighted(CrossEntropy()), Weighted(Boundary())))
    options: dict[str, Any] = {"num_classes": classes, "ignore_index": 255, "spacing": spacing}
    by_loader = functools.partial(label_maps, labels, loss.needs, **options)
    by_card = functools.partial(signed_distances_of, labels.to(device), **options)
    title = f"distance maps of {batch} samples of {size} x {size}, {classes} classes"
    print(f"\n{title}; goal 15 % of a step on {device}")
    for name in ("small_unet", "small_unet_full", "unet"):
        made = load_preset(name).candidate()
        candidate = replace(made, loss=loss)
        trainer = build_trainer(
            candidate, training, in_channels=1, num_classes=classes, max_epochs=1, device=device
        )
        extras = LossExtras(0.5, spacing, distance=by_loader()["distance"])
        runs: dict[str, Callable[[], object]] = {
            "maps": by_loader if device == "cpu" else by_card,
            "step": functools.partial(trainer._step, images, labels, extras),
        }
        seconds: dict[str, list[float]] = {what: [] for what in runs}
        for _ in range(3 if name == "unet" and device == "cpu" else rounds):
            for what, run in runs.items():
                started = time.perf_counter()
                run()
                synchronise(next(trainer.model.parameters()))
                seconds[what].append(time.perf_counter() - started)
        ms = {what: 1e3 * min(values) for what, values in seconds.items()}
        share = ms["maps"] / ms["step"]
        verdict = " MISSED" if share > 0.15 else ""
        print(f"  {name}: maps {ms['maps']:.1f} ms, step {ms['step']:.0f} ms, {share:.1%}{verdict}")


if __name__ == "__main__":
    main()
