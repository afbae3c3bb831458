"""Training steps of networks beside the same ones of segmentation_models.pytorch (smp) and MONAI.

Each row is one network, ours built to the peer's shape (``tests/support/peer_networks.py``; a test copies the weights and
compares the logits): forward, cross-entropy and backward in training mode, on the same batch, both in turns in one process,
now one first, now the other, as the second finds the batch in the cache.
*ms* of the processor is the median of the rounds, *ratio* the median of ours over the peer's in each round.
Wanted: at most 1.0 in ``eager``. ``channels_last`` and ``bf16`` are what our training does where it may.

    PYTHONPATH=.:tests/support /tmp/peers/bin/python benchmarks/peer_steps.py

How to make that environment stands at the top of ``losses.py``.
"""

import argparse
import os
import statistics
import time
import warnings
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from peer_networks import TWINS, Twin
from torch import Tensor, nn

from search_spaces.network import build_model

WAYS = ("eager", "channels_last", "bf16")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--only", default="", help="Rows whose name holds this.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    what = f"batch {options.batch} of {options.size} x {options.size}"
    print(f"torch {torch.__version__}, 1 thread, {what}, load {os.getloadavg()[0]:.1f}")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(options.batch, 3, options.size, options.size, generator=generator)
    labels = torch.randint(options.classes, (options.batch, *images.shape[2:]), generator=generator)
    for name, twin in TWINS.items():
        if options.only in name:
            for way in options.ways:
                compare(
                    f"{name}, {way}", twin, images, labels, options.classes, way=way, rounds=options.rounds
                )


def compare(
    name: str, twin: Twin, images: Tensor, labels: Tensor, classes: int, *, way: str, rounds: int
) -> None:
    """Print one row."""
    try:
        peer = twin.peer(classes)
    except ImportError as error:
        print(f"{name}: left out, {error}")
        return
    ours = build_model(twin.architecture, in_channels=3, num_classes=classes, ndim=2, seed=0)
    networks = {"ours": ours.train(), "peer": peer.train()}
    if way != "eager":
        images = images.contiguous(memory_format=torch.channels_last)
        for network in networks.values():
            network.to(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {which: [] for which in networks}
    for number in range(rounds + 1):  # the first warms up
        for which, network in list(networks.items())[:: 1 if number % 2 else -1]:
            taken = step(network, images, labels, bf16=way == "bf16")
            if number:
                seconds[which].append(taken)
    ratios = [own / other for own, other in zip(seconds["ours"], seconds["peer"], strict=True)]
    ms = {which: 1e3 * statistics.median(values) for which, values in seconds.items()}
    least = min(seconds["ours"]) / min(seconds["peer"])
    print(
        f"{name:<36} ms {ms['ours']:7.1f} / {ms['peer']:7.1f}  ratio {statistics.median(ratios):.3f}, of the least {least:.3f}",
        flush=True,
    )


def step(network: nn.Module, images: Tensor, labels: Tensor, *, bf16: bool) -> float:
    """Processor seconds of forward and backward."""
    network.zero_grad(set_to_none=True)
    started = time.process_time()
    with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
        logits = network(images)
    loss = F.cross_entropy(logits.float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
    return time.process_time() - started


if __name__ == "__main__":
    main()
