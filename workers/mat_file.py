"""Label arrays in MATLAB .mat files (versions 4 to 7): decoded under limits, without guessing which array is meant."""

import io
import zlib
from typing import Any, Literal

import numpy as np

from workers.errors import DataError
from workers.image_file import MAX_PIXELS
from workers.source import Array

_MATRIX = 14
_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 16, 17, 18}
# What SciPy's reader raises on damaged bytes beside its own error.
_DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    UnboundLocalError,
    IndexError,
    OSError,
    EOFError,
    OverflowError,
    MemoryError,
    zlib.error,
)


def read_labels(data: bytes, *, where: str, variable: str | None = None) -> Array:
    """The labels in a .mat file, (H, W) whole numbers.

    Args:
        data: The file's bytes.
        where: Its name, for messages.
        variable: Name of the array; None takes the only one of two dimensions.

    Raises:
        DataError: Damaged, of version 7.3, too large, no or more than one such array, or values that are not whole.
    """
    _check_types(data, where)
    shapes = _shapes(data, where)
    names = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    if variable is None and len(names) != 1:
        found = (
            ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items()) or "nothing"
        )
        raise DataError(f"{where}: holds {found}; allowed is one array of two dimensions, the labels.")
    name = names[0] if variable is None else variable
    if name not in shapes:
        raise DataError(f"{where}: no array {name!r}, only {', '.join(shapes) or 'nothing'}.")
    if int(np.prod(shapes[name], dtype=np.float64)) > MAX_PIXELS:
        raise DataError(
            f"{where}: more than {MAX_PIXELS:,} pixels, the limit for one picture; cut it into tiles first."
        )
    from scipy.io import loadmat  # takes a tenth of a second, for which other files need not wait
    from scipy.io.matlab import MatReadError

    try:
        values = loadmat(io.BytesIO(data), variable_names=[name])[name]  # type: ignore[arg-type]  # files too
    except (*_DAMAGED, MatReadError) as error:
        raise DataError(f"{where}: cannot be decoded ({error}); replace it.") from None
    return _whole(np.asarray(values), where)


def _check_types(data: bytes, where: str) -> None:
    """Refuse parts of a type that the format does not have, at which SciPy's reader ends the process.

    Source: MathWorks, "MAT-File Format", level 5: 128 bytes, then elements of a tag (type, length) and data; an array (type 14)
    is a list of elements, padded to 8 bytes.
    """
    if len(data) < 132 or data[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        return  # version 4, or no .mat file
    order: Literal["little", "big"] = "little" if data[126:128] == b"IM" else "big"
    start = 128
    while start + 8 <= len(data):
        kind, length = (int.from_bytes(data[start + at : start + at + 4], order) for at in (0, 4))
        body = data[start + 8 : start + 8 + length]
        if kind == _MATRIX and not _has_known_types(body, order):
            raise DataError(f"{where}: not a .mat file, or damaged; replace it.")
        start += 8 + length


def _has_known_types(body: bytes, order: Literal["little", "big"]) -> bool:
    start = 0
    while start + 8 <= len(body):
        kind, length = (int.from_bytes(body[start + at : start + at + 4], order) for at in (0, 4))
        if kind >> 16:  # the short form: length and type in four bytes, up to four bytes of data
            kind, length = kind & 0xFFFF, 0
        if kind not in _TYPES:
            return False
        start += 8 + -(-length // 8) * 8
    return True


def _shapes(data: bytes, where: str) -> dict[str, tuple[int, ...]]:
    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    try:
        # its stubs know paths only
        listed: list[tuple[str, tuple[int, ...], Any]] = whosmat(io.BytesIO(data))  # type: ignore[arg-type]
    except NotImplementedError:
        raise DataError(f"{where}: a .mat file of version 7.3; save it with -v7.") from None
    except (*_DAMAGED, MatReadError):
        raise DataError(f"{where}: not a .mat file, or damaged; replace it.") from None
    return {name: tuple(shape) for name, shape, _ in listed}


def _whole(values: Array, where: str) -> Array:
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all():
        return values.astype(np.int64)
    raise DataError(f"{where}: labels that are not whole numbers; save class indices.")
