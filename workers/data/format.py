"""One case as a row of an Arrow record batch: the schema (version 1), its encoding and decoding.

Encoded pictures (JPEG, PNG) are stored as their file's bytes. Everything else is raw, little-endian, C order, compressed with
zstd block by block; the Arrow file itself stays uncompressed, so that a row can be read through a memory map.

In the profile ``decoded`` images and labels are raw and not compressed, so that a case costs one copy out of the map.

Specified in docs/data-format.md: labels are never a picture's file: their hash then depends on the
labels and not on who compressed them, and no picture decoder runs for them. A volume is one row whatever its size
(up to ``workers.volume_file.MAX_BYTES``): bricks are made of it once a node (``workers.prepared_cases``).
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.data.columns import column
from workers.data.manifest import SCHEMA_VERSION, SPLITS, canonical
from workers.errors import DataError
from workers.image_file import decode_again

Array = npt.NDArray[Any]
Profile = Literal["encoded", "decoded"]

FORMAT = "segsearch-shard"
CODECS = ("jpeg", "png", "raw", "raw+zstd")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
ZSTD_LEVEL = 3
_NATIVE = {name: np.dtype(name) for name in DTYPES}
_STORED = {name: kind.newbyteorder("<") for name, kind in _NATIVE.items()}

_NAME = pa.dictionary(pa.int8(), pa.string())
_SHA256 = pa.binary(32)
COLUMNS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("image", pa.large_binary(), nullable=False),
    pa.field("mask", pa.large_binary()),
    pa.field("image_codec", _NAME, nullable=False),
    pa.field("mask_codec", _NAME),
    pa.field("shape", pa.list_(pa.int32()), nullable=False),
    pa.field("image_dtype", _NAME, nullable=False),
    pa.field("mask_dtype", _NAME),
    pa.field("spacing", pa.list_(pa.float32())),
    pa.field("group", pa.string()),
    pa.field("split", _NAME, nullable=False),
    pa.field("image_sha256", _SHA256, nullable=False),
    pa.field("mask_sha256", _SHA256),
    pa.field("meta", pa.string()),
)
_WORDS = {
    "image_codec": CODECS,
    "mask_codec": CODECS,
    "image_dtype": DTYPES,
    "mask_dtype": DTYPES,
    "split": SPLITS,
}


@dataclass(frozen=True, slots=True)
class Row:
    """An encoded case.

    Attributes:
        shape: Of the image, (C, H, W) or (C, X, Y, Z).
        image_sha256: Of the picture's bytes, or of the raw array before compression.
        mask_sha256: Of the raw labels.
        meta: JSON with ``affine`` for volumes.
        mask_codec: ``raw`` or ``raw+zstd``; says nothing where there is no mask.
    """

    id: str
    split: str
    group: str | None
    shape: tuple[int, ...]
    image: bytes | memoryview
    image_codec: str
    image_dtype: str
    image_sha256: bytes
    mask: bytes | memoryview | None
    mask_sha256: bytes | None
    spacing: tuple[float, ...] | None
    meta: str | None
    mask_codec: str = "raw+zstd"

    @property
    def num_bytes(self) -> int:
        """Size of the payload."""
        return len(self.image) + len(self.mask or b"")


def shard_schema(dataset_digest: str) -> Any:
    """The Arrow schema of a shard of this data set."""
    metadata = {"format": FORMAT, "schema_version": str(SCHEMA_VERSION), "dataset_digest": dataset_digest}
    return pa.schema(COLUMNS, metadata=metadata)


def encode_row(
    id: str,
    split: str,
    *,
    image: Array,
    picture: bytes | None,
    codec: str,
    labels: npt.NDArray[np.uint8] | None,
    spacing: tuple[float, ...] | None,
    affine: npt.NDArray[np.float64] | None,
    group: str | None,
    compress: bool = True,
    profile: Profile = "encoded",
) -> Row:
    """Encode a case.

    Args:
        id: Of the case.
        split: Of the case.
        image: Decoded image, (C, *spatial).
        picture: The file's bytes, stored instead of the array; None stores the array.
        codec: ``jpeg`` or ``png`` of ``picture``; ``raw+zstd`` without one.
        labels: (*spatial), or None.
        spacing: Voxel size in mm, or None.
        affine: (4, 4) from voxel to world, or None.
        group: Patient, video or stack.
        compress: False leaves the payload empty, for a pass that only needs hashes.
        profile: ``decoded`` stores arrays as they are, the picture's too.
    """
    plain = profile == "decoded"
    if plain:
        picture, codec = None, "raw"
    pack = _unchanged if plain else _compressed
    raw: bytes | memoryview = _little_endian(image) if picture is None else picture
    mask = None if labels is None else _little_endian(labels)
    return Row(
        id=id,
        split=split,
        group=group,
        shape=image.shape,
        image=(pack(raw) if picture is None else picture) if compress else b"",
        image_codec=codec,
        image_dtype=image.dtype.name,
        image_sha256=hashlib.sha256(raw).digest(),
        mask=None if mask is None else pack(mask) if compress else b"",
        mask_sha256=None if mask is None else hashlib.sha256(mask).digest(),
        spacing=stored_spacing(spacing),
        meta=None if affine is None else canonical({"affine": affine.tolist()}).decode(),
        mask_codec="raw" if plain else "raw+zstd",
    )


def stored_spacing(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """A voxel size as a shard holds it: float32 along each axis."""
    return None if spacing is None else tuple(float(np.float32(value)) for value in spacing)


def digest_line(row: Row) -> str:
    """All that a result can depend on, as one line of the content digest."""
    mask = None if row.mask_sha256 is None else row.mask_sha256.hex()
    content = [row.id, row.split, row.image_sha256.hex(), mask]
    return canonical([*content, row.shape, row.image_dtype, row.spacing, row.meta, row.group]).decode()


def to_batch(rows: Sequence[Row], schema: Any) -> Any:
    """Rows as a record batch; dictionaries are the same in every batch, as the file format asks."""
    columns: list[Any] = []
    for field in COLUMNS:
        values = [_cell(row, field.name) for row in rows]
        if field.name in _WORDS:
            words = _WORDS[field.name]
            indices = [None if value is None else words.index(value) for value in values]
            columns.append(
                pa.DictionaryArray.from_arrays(column(indices, pa.int8()), column(words, pa.string()))
            )
        else:
            columns.append(column(values, field.type))
    return pa.record_batch(columns, schema=schema)


def rows_of(batch: Any) -> tuple[Row, ...]:
    """The rows of a record batch. Payloads are read-only views of it, so of the memory map where it lies in one; they are
    decoded, decompressed or copied into fresh memory.
    """
    names = [name for name in batch.schema.names if name not in ("image", "mask", "mask_dtype")]
    columns = [batch.column(name).to_pylist() for name in names]
    payloads = zip(_views(batch.column("image")), _views(batch.column("mask")), strict=True)
    rows = []
    for (image, mask), *cells in zip(payloads, *columns, strict=True):
        assert image is not None, "the schema has no row without an image"
        values = dict(zip(names, cells, strict=True))
        values["mask_codec"] = values["mask_codec"] or "raw+zstd"
        values["shape"] = tuple(values["shape"])
        values["spacing"] = None if values["spacing"] is None else tuple(values["spacing"])
        rows.append(Row(image=image, mask=mask, **values))
    return tuple(rows)


def decode_pixels(row: Row, where: str, *, copy: bool = True) -> Array:
    """The image of a row, (C, *spatial), fresh and writable.

    Args:
        row: Of a shard.
        where: Its name, for messages.
        copy: False gives what is stored as ``raw`` as a read-only view.

    Raises:
        DataError: The payload does not give an array of the row's shape and type.
    """
    if row.image_codec in ("jpeg", "png"):
        image = decode_again(bytes(row.image), channels=row.shape[0], where=where)
    else:
        image = _array(row.image, row.image_codec, row.image_dtype, row.shape, where, copy=copy)
    if image.shape != row.shape or image.dtype != _NATIVE[row.image_dtype]:
        raise DataError(
            f"{where}: decodes to {image.shape} {image.dtype.name}, its row says {row.shape} {row.image_dtype}; "
            "ingest the data set again."
        )
    return image


def decode_labels(row: Row, where: str, *, copy: bool = True) -> npt.NDArray[np.uint8] | None:
    """The labels of a row, (*spatial), fresh and writable as in ``decode_pixels``; None for an unlabelled case.

    Raises:
        DataError: The payload does not give labels of the image's size.
    """
    if row.mask is None:
        return None
    return _array(row.mask, row.mask_codec, "uint8", row.shape[1:], where, copy=copy)


def content_hashes(
    row: Row, image: Array, labels: npt.NDArray[np.uint8] | None
) -> tuple[bytes, bytes | None]:
    """SHA-256 of the image (a picture's bytes, else the array) and of the labels, computed from what a row decodes to."""
    stored = row.image_codec in ("jpeg", "png")
    mask = None if labels is None else hashlib.sha256(_little_endian(labels)).digest()
    return hashlib.sha256(row.image if stored else _little_endian(image)).digest(), mask


def affine_of(row: Row) -> npt.NDArray[np.float64] | None:
    """The (4, 4) affine of a row, or None for pictures."""
    return None if row.meta is None else np.asarray(json.loads(row.meta)["affine"], dtype=np.float64)


def _cell(row: Row, name: str) -> Any:
    if name == "mask_codec":
        return None if row.mask is None else row.mask_codec
    if name == "mask_dtype":
        return None if row.mask is None else "uint8"
    return getattr(row, name)


def _little_endian(array: Array) -> memoryview:
    """The bytes of an array in C order, which are its own memory where it lies so."""
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data


def _views(column: Any) -> list[memoryview | None]:
    """The values of a large_binary column without a copy: ``as_buffer`` of pyarrow makes one."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset).tolist()
    whole = memoryview(b"") if data is None else memoryview(data).cast("B")
    return [
        whole[start:end] if is_valid else None
        for start, end, is_valid in zip(ends, ends[1:], column.is_valid().to_pylist(), strict=False)
    ]


def _unchanged(raw: bytes | memoryview) -> bytes | memoryview:
    return raw


def _compressed(raw: bytes | memoryview) -> bytes:
    data: bytes = pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(raw, asbytes=True)
    return data


def _array(
    data: bytes | memoryview, codec: str, dtype: str, shape: tuple[int, ...], where: str, *, copy: bool
) -> Array:
    kind = _STORED[dtype]
    num_bytes = math.prod(shape) * kind.itemsize
    try:
        raw = data if codec == "raw" else pa.decompress(data, num_bytes, codec="zstd")
        if len(raw) != num_bytes:
            raise ValueError(f"{len(raw)} bytes instead of {num_bytes}")
        array: Array = np.ndarray(shape, kind, raw)
        is_wanted = kind.isnative and (not copy or array.flags.writeable)  # decompressed, it is fresh memory
        return array if is_wanted else array.astype(_NATIVE[dtype])
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(
            f"{where}: its {codec} block is damaged ({error}); ingest the data set again."
        ) from None
