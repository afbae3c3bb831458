"""Masks that hold a colour for each class. Which colour means what is declared, never guessed."""

import numpy as np
import numpy.typing as npt

from workers.errors import DataError
from workers.image_file import codec_of, decode_image

_COLOUR = 1 << 24  # a packed colour has this bit, so that it is no label from 0 to 255


def packed(rgb: tuple[int, int, int]) -> int:
    """A colour as one number."""
    red, green, blue = rgb
    return _COLOUR | red << 16 | green << 8 | blue


def is_packed(value: int) -> bool:
    """Whether a value is a packed colour."""
    return value >= _COLOUR


def value_text(value: int) -> str:
    """A label value in a message: a number, or a colour as (red, green, blue)."""
    return f"({value >> 16 & 255}, {value >> 8 & 255}, {value & 255})" if is_packed(value) else str(value)


def decode_colours(data: bytes, *, where: str) -> npt.NDArray[np.int32]:
    """A mask as packed colours, (H, W).

    Raises:
        DataError: As ``decode_image``, or not RGB, or a JPEG, which blurs colours at borders.
    """
    if codec_of(data) == "jpeg":
        raise DataError(f"{where}: a mask in JPEG, which blurs labels at borders; allowed are PNG and TIFF.")
    pixels = decode_image(data, where=where, drop_opaque_alpha=True)
    if len(pixels) != 3:
        raise DataError(f"{where}: a grey mask, but classes.json declares colours; allowed is RGB.")
    red, green, blue = pixels.astype(np.int32)
    return np.asarray(_COLOUR | red << 16 | green << 8 | blue, np.int32)
