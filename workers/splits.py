"""Which split a case belongs to when its source does not say: by a hash of its group, never by slice.

Specified in docs/data-format.md: u = first 8 bytes of sha256(salt, group) / 2^64, against the ratios, so that adding groups
moves nobody. Deviations: where that would leave a split empty, the groups are cut by the rank of u instead.
"""

import hashlib
from collections.abc import Iterable

RATIOS = {"train": 0.7, "validation": 0.15, "test": 0.15}
SALT = "segsearch-split-1"


def draw_splits(groups: Iterable[str]) -> tuple[dict[str, str], bool]:
    """A split for each group, and whether the hash alone gave it.

    With fewer than three groups some split stays empty, which the caller has to refuse.
    """
    ordered = sorted(set(groups), key=_position)
    drawn = {group: _split_at(_position(group)) for group in ordered}
    if set(drawn.values()) == set(RATIOS):
        return drawn, True
    num_validation, num_test = (max(1, round(len(ordered) * RATIOS[name])) for name in ("validation", "test"))
    num_train = max(0, len(ordered) - num_validation - num_test)
    names = ["train"] * num_train + ["validation"] * num_validation + ["test"] * num_test
    return dict(zip(ordered, names, strict=False)), False


def _position(group: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{SALT}\0{group}".encode()).digest()[:8]) / 2**64


def _split_at(position: float) -> str:
    edge = 0.0
    for name, ratio in RATIOS.items():
        edge += ratio
        if position < edge:
            return name
    return "test"
