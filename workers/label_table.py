"""From the values in label files to class indices."""

from typing import Any

import numpy as np
import numpy.typing as npt

from workers.colour_mask import is_packed, value_text
from workers.data.manifest import IGNORE_INDEX
from workers.levels import others, translated
from workers.source import SourceClass

NO_CLASS = -1


class LabelTable:
    """Class index of each value that a label file may hold. 255 stays ``ignore_index`` unless a class has that value; where
    classes have colours, only declared ones are ignored.

    Without declared classes the values are the indices.
    """

    def __init__(self, classes: tuple[SourceClass, ...] | None) -> None:
        self._classes = classes
        if classes is None:
            indices = {value: value for value in range(IGNORE_INDEX + 1)}
        else:
            coloured = any(is_packed(item.value) for item in classes)
            indices = {} if coloured else {IGNORE_INDEX: IGNORE_INDEX}
            indices |= {item.value: IGNORE_INDEX for item in classes if item.ignored}
            kept = (item for item in classes if not item.ignored)
            indices |= {item.value: index for index, item in enumerate(kept)}
        # A label is looked up in a table, a colour by its place among the sorted ones.
        self._values = np.array(sorted(indices), np.int64)
        self._indices = np.array([indices[value] for value in self._values.tolist()], np.int16)
        self._table = np.full(IGNORE_INDEX + 1, NO_CLASS, np.int16)
        small = self._values <= IGNORE_INDEX
        self._table[self._values[small]] = self._indices[small]
        self._keeps = bool((self._indices == self._values).all())  # the values are the indices already
        self._known = bytes(np.flatnonzero(self._table != NO_CLASS).tolist())
        self._coloured = not bool(small.all())

    def indices(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Class indices of values that ``problem`` found nothing wrong with, a fresh array."""
        if values.dtype == np.uint8 and not self._coloured:
            return values.copy() if self._keeps else translated(values, self._table)
        found: npt.NDArray[np.uint8] = self._found(values).astype(np.uint8)
        return found

    def problem(self, values: npt.NDArray[Any], *, where: str) -> str | None:
        """A sentence that names values of no class, how often each occurs, and what is allowed; None if all have one."""
        if values.dtype == np.uint8 and not self._coloured:
            wrong = others(values, self._known)
        else:
            wrong = values[self._found(values) == NO_CLASS]
        if not len(wrong):
            return None
        odd, counts = np.unique(wrong, return_counts=True)
        listed = ", ".join(
            f"{value_text(int(value))} ({count} times)"
            for value, count in zip(odd[:5], counts[:5], strict=True)
        )
        more = f" and {len(odd) - 5} other values" if len(odd) > 5 else ""
        what = "colour" if self._coloured else "label"
        return f"{where}: {what} {listed}{more} is no class; allowed are {self._allowed()}"

    def _found(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        """Class index of each value, or ``NO_CLASS``."""
        if self._coloured:
            places = np.searchsorted(self._values, values).clip(max=len(self._values) - 1)
            return np.where(self._values[places] == values, self._indices[places], np.int16(NO_CLASS))
        fits = (values >= 0) & (values <= IGNORE_INDEX)
        found: npt.NDArray[np.int16] = self._table[values if fits.all() else np.where(fits, values, 0)]
        return np.where(fits, found, np.int16(NO_CLASS))

    def _allowed(self) -> str:
        if self._classes is None:
            return f"0 to {IGNORE_INDEX - 1}, and {IGNORE_INDEX} for ignored"
        names = ", ".join(f"{value_text(item.value)} ({item.name})" for item in self._classes)
        own = self._coloured or any(item.value == IGNORE_INDEX for item in self._classes)
        return names if own else f"{names}, and {IGNORE_INDEX} for ignored"
