"""Where classes are in labels, from which windows around a class are drawn."""

import numpy as np
import numpy.typing as npt

from workers.levels import level_counts

Places = dict[int, npt.NDArray[np.int64]]
"""Flat positions of the pixels of some classes."""

MAX_PLACES = 10_000  # of a class in a volume that are remembered (nnU-Net: 10,000 at least)
_PART = 2**24  # pixels that are looked at together


def places_of_classes(labels: npt.NDArray[np.uint8], *, ignore_index: int) -> Places:
    """Where each class but the first is, as sorted flat positions; in volumes at most ``MAX_PLACES``, evenly spread.

    Class 0 is left out, as it is the background of most data sets and random windows see it anyway.
    """
    flat = labels.reshape(-1)
    counts = level_counts(flat)
    places: Places = {}
    for index in np.flatnonzero(counts):
        if index in (0, ignore_index):
            continue
        if labels.ndim == 3 and counts[index] > MAX_PLACES:
            ranks = np.linspace(0, counts[index] - 1, MAX_PLACES).astype(np.int64)
            places[int(index)] = _of_ranks(flat, int(index), ranks)
        else:
            places[int(index)] = np.flatnonzero(flat == index)
    return places


def _of_ranks(flat: npt.NDArray[np.uint8], index: int, ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions of the pixels of a class with these ranks among them; a list of all of them may exceed memory."""
    found, seen = [], 0
    for start in range(0, len(flat), _PART):
        here = np.flatnonzero(flat[start : start + _PART] == index)
        first, last = np.searchsorted(ranks, (seen, seen + len(here)))
        found.append(start + here[ranks[first:last] - seen])
        seen += len(here)
    return np.concatenate(found)
