"""Pictures and masks in PNG, JPEG and TIFF files: decoded under limits, never guessed at.

Pillow reads every header, and decodes. Where torch is loaded, torchvision's decoder takes the JPEG files, with the same
pixels in four fifths of the time; what it refuses is Pillow's again, which says what is wrong.
"""

import importlib.util
import io
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workers.errors import DataError
from workers.quiet import quiet

Array = npt.NDArray[Any]
JpegDecoder = Callable[[bytes, str], Array | None]

# Pillow warns of odd tags, which say nothing about pixels, and of sizes that ``MAX_PIXELS`` refuses itself.
_quiet = quiet(UserWarning, Image.DecompressionBombWarning)

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_PIXELS = (
    2**27
)  # 11,585 squared, under Pillow's own limit; read from the header, before anything is decoded
MAX_VOXELS = 2**30  # of a stack
_IMAGE_TYPES = {"L": np.uint8, "RGB": np.uint8, "I;16": np.uint16}
_PAGE_MODES = {"L": np.uint8, "P": np.uint8, "1": np.uint8, "I;16": np.uint16}
_MASK_MODES = ("L", "P", "1", "I;16", "I")
_EXIF_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258  # of TIFF
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_RGBA = 6  # its colour type
_JPEG_MODES = {"L": 1, "RGB": 3}  # numbers of torchvision's ImageReadMode
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    struct.error,
)  # what Pillow's decoders raise


def is_image(path: Path) -> bool:
    """Whether a file is named like a picture of an allowed format."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


@_quiet
def decode_image(data: bytes, *, where: str, drop_opaque_alpha: bool = False) -> Array:
    """A picture as a fresh array, (C, H, W) uint8, or uint16 for 16-bit grey.

    In memory the channels come last, as in the file: who cuts a window out of it, as training does, copies no more
    than the window into another order.

    Args:
        data: The file's bytes.
        where: Its name, for messages.
        drop_opaque_alpha: Take RGBA that is opaque everywhere as RGB.

    Raises:
        DataError: Not a PNG, JPEG or TIFF, damaged, too large, rotated by EXIF, or neither grey nor RGB.
    """
    return _decoded(_opened(data, where), data, where=where, drop_opaque_alpha=drop_opaque_alpha)


def _decoded(picture: Image.Image, data: bytes, *, where: str, drop_opaque_alpha: bool = False) -> Array:
    _refuse_deep_colour(picture, data, where)
    turned = picture.format == "TIFF" and _is_turned(picture)  # Pillow turns it when it loads it
    if drop_opaque_alpha and picture.mode == "RGBA":
        picture = _without_alpha(_loaded(picture, where), where)
    if picture.mode not in _IMAGE_TYPES:
        raise DataError(
            f"{where}: image of mode {picture.mode}; allowed are grey (8 or 16 bit) and RGB; convert it first."
        )
    pixels = _jpeg_pixels(data, picture)
    if pixels is None:
        loaded = _loaded(picture, where)
        pixels = np.array(loaded, dtype=_IMAGE_TYPES[loaded.mode])
    if turned or _is_turned(picture):
        raise DataError(
            f"{where}: turned by its EXIF tag, which its mask does not follow; save it upright without the tag."
        )
    return _channels_first(pixels)


@_quiet
def decode_again(data: bytes, *, channels: int, where: str) -> Array:
    """As ``decode_image`` of a picture that it has read before, whose bytes are known to be the same.

    Args:
        data: The file's bytes.
        channels: Of the picture then.
        where: Its name, for messages.

    Raises:
        DataError: As ``decode_image``.
    """
    decoder = _torchvision_decoder() if data.startswith(_JPEG) and "torch" in sys.modules else None
    pixels = None if decoder is None else decoder(data, "RGB" if channels == 3 else "L")
    if pixels is not None:
        return _channels_first(pixels)
    return _decoded(_opened(data, where, is_known=True), data, where=where)


@_quiet
def decode_mask(data: bytes, *, where: str) -> Array:
    """A mask as label values, (H, W); a palette image gives its indices, as in PASCAL VOC.

    Raises:
        DataError: As ``decode_image``, or the mask has more than one channel.
    """
    picture = _opened(data, where)
    if picture.mode not in _MASK_MODES:
        raise DataError(
            f"{where}: mask of mode {picture.mode}; allowed is one channel that holds the class index of each pixel."
        )
    if picture.format == "JPEG":
        raise DataError(f"{where}: a mask in JPEG, which blurs labels at borders; allowed are PNG and TIFF.")
    turned = picture.format == "TIFF" and _is_turned(picture)
    values = np.asarray(_loaded(picture, where))
    if turned or _is_turned(picture):
        raise DataError(
            f"{where}: turned by its EXIF tag, which its image does not follow; save it upright without the tag."
        )
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


@_quiet
def decode_stack(data: bytes, *, where: str) -> Array:
    """The pages of a TIFF file as (pages, H, W), uint8 or uint16.

    Raises:
        DataError: No TIFF, damaged, too large, or pages that are not grey or differ in size or type.
    """
    picture = _opened(data, where, single=False)
    frames = getattr(picture, "n_frames", 1)
    if picture.format != "TIFF":
        raise DataError(f"{where}: a {picture.format} picture; allowed is a TIFF stack.")
    if picture.width * picture.height * frames > MAX_VOXELS:
        raise DataError(f"{where}: more than {MAX_VOXELS:,} voxels, the limit for one stack; cut it first.")
    if _is_turned(picture):
        raise DataError(f"{where}: turned by its orientation tag; save it upright without the tag.")
    pages: list[Array] = []
    for number in range(frames):
        try:
            picture.seek(number)
        except _DAMAGED as error:
            raise DataError(f"{where}: page {number} cannot be decoded ({error}); replace it.") from None
        if picture.mode not in _PAGE_MODES:
            raise DataError(
                f"{where}: page {number} of mode {picture.mode}; allowed is grey with 8 or 16 bit."
            )
        if pages and (picture.height, picture.width) != pages[0].shape:
            raise DataError(f"{where}: page {number} differs in size from the first; allowed is one size.")
        pages.append(np.array(_loaded(picture, where), dtype=_PAGE_MODES[picture.mode]))
        if pages[-1].dtype != pages[0].dtype:
            raise DataError(f"{where}: page {number} differs in depth from the first; allowed is one type.")
    return np.stack(pages)


@_quiet
def declared_pixel_bytes(path: Path) -> int:
    """Bytes of the pixels of a picture or stack, as its header declares them.

    Raises:
        DataError: It has no such header.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        try:
            picture = Image.open(file, formats=FORMATS)
            frames = getattr(picture, "n_frames", 1)
        except (*_DAMAGED, Image.DecompressionBombError):
            raise DataError(f"{path}: no picture; replace it.") from None
        deep = 2 if picture.mode.startswith("I;16") else 1
        return picture.width * picture.height * len(picture.getbands()) * deep * frames


def codec_of(data: bytes) -> str:
    """How a shard stores a picture: its own bytes for ``png`` and ``jpeg``, else ``raw+zstd``."""
    if data.startswith(_PNG):
        return "png"
    return "jpeg" if data.startswith(_JPEG) else "raw+zstd"


def has_alpha(data: bytes) -> bool:
    """Whether a file that ``decode_image`` has read is a PNG with an alpha channel, which the pixels do not have."""
    return data.startswith(_PNG) and data[len(_PNG) + 17] == _PNG_RGBA


def _channels_first(pixels: Array) -> Array:
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _opened(data: bytes, where: str, *, single: bool = True, is_known: bool = False) -> Image.Image:
    """The picture, of which only the header is read; bytes that are known were looked at before."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        frames = getattr(picture, "n_frames", 1)
    except Image.DecompressionBombError:
        raise DataError(_too_large(where)) from None
    except _DAMAGED:
        raise DataError(f"{where}: not a PNG, JPEG or TIFF picture; replace or remove it.") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(_too_large(where))
    damage = None if is_known or picture.format != "PNG" else _png_damage(data)
    if damage is not None:
        raise DataError(f"{where}: cannot be decoded ({damage}); replace it.")
    if single and frames != 1:
        raise DataError(f"{where}: holds {frames} frames; allowed is one; split it first.")
    return picture


def _png_damage(data: bytes) -> str | None:
    """What is wrong with the parts of a PNG file, whose checksums Pillow leaves aside where they are of pixels; else None."""
    view, place = memoryview(data), len(_PNG)
    while place + 12 <= len(data):
        kind, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            break
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return f"wrong checksum of its part {kind.decode('latin-1')!r} at byte {place}"
        if kind == b"IEND":
            return None if end == len(data) else f"{len(data) - end} bytes follow its end"
        place = end
    return "image file is truncated"


def _refuse_deep_colour(picture: Image.Image, data: bytes, where: str) -> None:
    """Pillow cuts colours of 16 bit to 8 without a word."""
    bits: tuple[int, ...] = ()
    if picture.format == "PNG":
        bits = (data[len(_PNG) + 16],)
    elif picture.format == "TIFF":
        bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    if picture.mode in ("RGB", "RGBA", "RGBX") and max(bits, default=8) > 8:
        raise DataError(
            f"{where}: colours of {max(bits)} bit a channel; allowed are 8, and 16 of grey; convert it first."
        )


def _jpeg_pixels(data: bytes, picture: Image.Image) -> Array | None:
    """Pixels of a JPEG file, (H, W) or (H, W, C), by torchvision's decoder; None where it is not at hand or refuses."""
    if picture.format != "JPEG" or "torch" not in sys.modules:
        return None
    decoder = _torchvision_decoder()
    return None if decoder is None else decoder(data, picture.mode)


@cache
def _torchvision_decoder() -> JpegDecoder | None:
    """torchvision's library of decoders without torchvision itself, whose import takes a second; None without it."""
    import torch

    found = importlib.util.find_spec("torchvision")
    folders = (found.submodule_search_locations or []) if found else []
    ops: Any = torch.ops  # only a part of it is annotated
    files = sorted(file for folder in folders for file in Path(folder).glob("image*.so"))
    try:
        ops.load_library(files[0])
        decode = ops.image.decode_jpeg.default
    except (IndexError, OSError, AttributeError):
        return None

    def decoded(data: bytes, mode: str) -> Array | None:
        try:
            planes = decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), _JPEG_MODES[mode])
        except RuntimeError:
            return None
        pixels: Array = planes[0].numpy() if mode == "L" else planes.permute(1, 2, 0).numpy()
        return pixels

    return decoded


def _loaded(picture: Image.Image, where: str) -> Image.Image:
    try:
        picture.load()
    except _DAMAGED as error:
        raise DataError(f"{where}: cannot be decoded ({error}); replace it.") from None
    return picture


def _without_alpha(picture: Image.Image, where: str) -> Image.Image:
    low, _ = picture.getchannel("A").getextrema()
    if low != 255:
        raise DataError(
            f"{where}: transparent in places; allowed is RGB, or an alpha channel of 255 throughout."
        )
    return picture.convert("RGB")


def _is_turned(picture: Image.Image) -> bool:
    try:
        return bool(picture.getexif().get(_EXIF_ORIENTATION, 1) != 1)
    except _DAMAGED:
        return False


def _too_large(where: str) -> str:
    return f"{where}: more than {MAX_PIXELS:,} pixels, the limit for one picture; cut it into tiles first."
