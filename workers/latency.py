"""How long a trained network takes for one window."""

import time

import torch

from workers.inference import Network

LATENCY = "latency_ms"  # its name among metrics
WARM_UP, PASSES = 3, 20


def latency_ms(network: Network, shape: tuple[int, ...], *, device: str = "cpu") -> float:
    """Milliseconds of a pass for one window, the least of twenty: what else the machine does only ever adds.

    Args:
        network: Windows (N, C, *S) float32 to logits, in evaluation mode.
        shape: Channels and spatial size of the window.
        device: Where it runs; a card is waited for.
    """
    window = torch.zeros(1, *shape)
    least = float("inf")
    with torch.inference_mode():
        for number in range(WARM_UP + PASSES):
            begun = time.perf_counter()
            network(window)
            if device == "cuda":
                torch.cuda.synchronize()
            if number >= WARM_UP:
                least = min(least, time.perf_counter() - begun)
    return 1000 * least
