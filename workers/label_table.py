"""From the values in label files to class indices."""

from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.manifest import IGNORE_INDEX
from workers.source import SourceClass

NO_CLASS = -1


class LabelTable:
    """Class index of each value that a label file may hold. 255 stays ``ignore_index`` unless a class has that value.

    Without declared classes the values are the indices.
    """

    def __init__(self, classes: tuple[SourceClass, ...] | None) -> None:
        self._classes = classes
        self._table = np.arange(IGNORE_INDEX + 1, dtype=np.int16)
        if classes is not None:
            self._table[:IGNORE_INDEX] = NO_CLASS
            for index, item in enumerate(classes):
                self._table[item.value] = index

    def indices(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Class indices of values that ``problem`` found nothing wrong with."""
        found: npt.NDArray[np.uint8] = self._table[values].astype(np.uint8)
        return found

    def problem(self, values: npt.NDArray[Any], *, where: str) -> str | None:
        """A sentence that names values of no class, how often each occurs, and what is allowed; None if all have one."""
        fits = (values >= 0) & (values <= IGNORE_INDEX)
        known = fits & (self._table[np.where(fits, values, 0)] != NO_CLASS)
        if known.all():
            return None
        odd, counts = np.unique(values[~known], return_counts=True)
        listed = ", ".join(
            f"{value} ({count} times)" for value, count in zip(odd[:5], counts[:5], strict=True)
        )
        more = f" and {len(odd) - 5} other values" if len(odd) > 5 else ""
        return f"{where}: label {listed}{more} is no class; allowed are {self._allowed()}"

    def _allowed(self) -> str:
        if self._classes is None:
            return f"0 to {IGNORE_INDEX - 1}, and {IGNORE_INDEX} for ignored"
        names = ", ".join(f"{item.value} ({item.name})" for item in self._classes)
        own = any(item.value == IGNORE_INDEX for item in self._classes)
        return names if own else f"{names}, and {IGNORE_INDEX} for ignored"
