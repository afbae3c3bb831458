"""Connected parts of a label map."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Numbers = npt.NDArray[np.int32]


def components(labels: npt.NDArray[np.integer[Any]], *, without: Collection[int]) -> tuple[Numbers, int]:
    """Numbers from 1 of what hangs together by faces within one class, 0 at classes left out; and how many there are."""
    numbers, count = np.zeros(labels.shape, np.int32), 0
    for k in np.unique(labels):
        if k not in without:
            found, more = ndimage.label(labels == k)
            numbers[found > 0] = found[found > 0] + count
            count += more
    return numbers, count
