"""Columns of a record batch from Python's values, laid out by numpy.

``pa.array`` gives the same, but its first call in a process imports pandas where that is installed, which takes longer than
to check a hundred pictures.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pyarrow as pa

_NUMBERS = {pa.int8(): np.int8, pa.int32(): np.int32, pa.float32(): np.float32}


def column(values: Sequence[Any], kind: Any) -> Any:
    """Values as an Arrow array.

    Args:
        values: None where there is none.
        kind: int8, int32, float32, string, large_binary, binary of one length, or list of one of these.
    """
    present = np.array([value is not None for value in values], np.bool_)
    bitmap = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    if kind in _NUMBERS:
        numbers = np.array([value or 0 for value in values], _NUMBERS[kind])
        return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(numbers)])
    if pa.types.is_fixed_size_binary(kind):
        data = b"".join(bytes(kind.byte_width) if value is None else value for value in values)
        return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(data)])
    if pa.types.is_string(kind):
        values = [None if value is None else value.encode() for value in values]
    filled = [value or () for value in values]
    wide = pa.types.is_large_binary(kind)
    ends = np.fromiter(accumulate(map(len, filled), initial=0), np.int64 if wide else np.int32)
    places = [bitmap, pa.py_buffer(ends)]
    if pa.types.is_list(kind):
        inner = column(list(chain.from_iterable(filled)), kind.value_type)
        return pa.Array.from_buffers(kind, len(values), places, children=[inner])
    return pa.Array.from_buffers(
        kind, len(values), [*places, pa.py_buffer(b"".join(value or b"" for value in values))]
    )
