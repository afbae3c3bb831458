"""Every random number of a trial, derived from its seed and from what it is for.

A generator is a function of (seed, purpose, epoch, sample, ...), never of how many numbers were drawn before. So a resumed
trial, or one whose batches come from other processes, sees the same numbers, and there is no generator state to save.
"""

import hashlib

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that is the same on every machine for the same parts."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """A counter-based generator (Philox) for this purpose alone."""
    return np.random.Generator(np.random.Philox(derive_seed(*parts)))
