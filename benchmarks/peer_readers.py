"""The sides of ``readers.py`` and ``ingest.py``: who writes CamVid's pairs, and who gives them to a training loop.

Each peer stores the files' own bytes where its format can, and is read as its documentation shows (*as it ships*), or
gives the bytes to our decoder. Every side cuts its window before it turns an image into a tensor, as a careful user does.
"""

import functools
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate
from torch.utils.data import Dataset as MapDataset
from torchvision.transforms.functional import pil_to_tensor

from search_spaces.preprocessing import Preprocessing
from workers.data.dataset import open_dataset
from workers.image_file import decode_image, decode_mask
from workers.prepared_cases import PreparedCases
from workers.preprocessing import fit

CROP_PX, BATCH, SHARDS = 256, 8, 8
Pair = tuple[Path, Path]
Sample = tuple[Tensor, Tensor]


def camvid(root: Path, *splits: str) -> list[Pair]:
    """Images and masks of some splits of CamVid in SegNet's layout."""
    pairs = []
    for split in splits:
        for mask in sorted((root / f"{split}annot").glob("*.png")):
            pairs += [(image, mask) for image in sorted((root / split).glob(f"{mask.stem}.*"))]
    return pairs


def window(image: Any, mask: Any) -> Sample:
    """A random window of pictures of Pillow, or of arrays or tensors (C, H, W) and (H, W), as uint8 tensors."""
    if isinstance(image, Image.Image):
        x, y = (random.randint(0, n - CROP_PX) for n in image.size)
        box = (x, y, x + CROP_PX, y + CROP_PX)
        return pil_to_tensor(image.crop(box)), _tensor(mask.crop(box))
    y, x = (random.randint(0, n - CROP_PX) for n in image.shape[-2:])
    part = torch.as_tensor(image)[:, y : y + CROP_PX, x : x + CROP_PX]
    if isinstance(mask, Image.Image):
        return part, _tensor(mask.crop((x, y, x + CROP_PX, y + CROP_PX)))
    return part, torch.from_numpy(np.array(mask[y : y + CROP_PX, x : x + CROP_PX]))


def batched(samples: list[Sample]) -> Sample:
    """A batch, (N, 3, H, W) and (N, H, W); in memory the channels stay last, where every decoder puts them."""
    images, masks = default_collate([(image.permute(1, 2, 0), mask) for image, mask in samples])
    return images.permute(0, 3, 1, 2), masks


def by_pillow(image: bytes, mask: bytes) -> Sample:
    """A window of files' bytes, decoded by Pillow."""
    return window(Image.open(io.BytesIO(image)), Image.open(io.BytesIO(mask)))


def by_ours(image: bytes, mask: bytes) -> Sample:
    """A window of files' bytes, decoded by ours."""
    return window(decode_image(image, where="image"), decode_mask(mask, where="mask"))


def as_images(image: Any, mask: Any) -> Sample:
    """A window of what a peer decoded itself, or leaves to be decoded when it is used."""
    return window(image, mask)


def write_mds(pairs: Sequence[Pair], folder: Path) -> None:
    """MosaicML's shards of the files' bytes, which it decodes as pictures if asked by ``retyped``."""
    from streaming import MDSWriter

    columns = {"image": "bytes", "mask": "bytes"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=4 * 2**20) as out:
        for image, mask in pairs:
            out.write({"image": image.read_bytes(), "mask": mask.read_bytes()})


def write_mds_pictures(pairs: Sequence[Pair], folder: Path) -> None:
    """MosaicML's shards with its own columns for pictures: it keeps a JPEG file's bytes and encodes a mask anew."""
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"image": "jpeg", "mask": "png"}, size_limit=4 * 2**20) as out:
        for image, mask in pairs:
            out.write({"image": Image.open(image), "mask": Image.open(mask)})


def write_tar(pairs: Sequence[Pair], folder: Path) -> None:
    """WebDataset's tar files, as many as we aim at for a split."""
    import webdataset

    folder.mkdir(parents=True)
    for number in range(SHARDS):
        with webdataset.TarWriter(str(folder / f"{number:03d}.tar")) as out:
            for image, mask in pairs[number::SHARDS]:
                out.write({"__key__": mask.stem, "jpg": image.read_bytes(), "png": mask.read_bytes()})


def litdata_bytes(pair: Pair) -> dict[str, Any]:
    """A case for litdata as the files' bytes."""
    return {"image": pair[0].read_bytes(), "mask": pair[1].read_bytes()}


def litdata_pictures(pair: Pair) -> dict[str, Any]:
    """A case for litdata as pictures of Pillow: it keeps a JPEG file's bytes, and stores a mask's pixels."""
    return {"image": Image.open(pair[0]), "mask": Image.open(pair[1])}


def write_litdata(
    pairs: Sequence[Pair], folder: Path, *, case: Callable[[Pair], Any] = litdata_bytes, jobs: int = 1
) -> None:
    """litdata's chunks; it writes in processes that it starts, even where one is asked for."""
    from litdata import optimize

    optimize(
        fn=case,
        inputs=list(pairs),
        output_dir=str(folder),
        chunk_bytes="4MB",
        num_workers=jobs,
        verbose=False,
    )


@dataclass(frozen=True, slots=True)
class Side:
    """Who reads.

    Attributes:
        name: Of the row.
        make: A loader of batches, from the folder or address of what was written, a folder for a cache, and the workers.
        write: Writes the pairs; None for ours and for the folder.
        decoder: ``own`` or ``ours``.
        remote: Whether it reads from an S3 server at a plain address; litdata's client wants TLS.
    """

    name: str
    make: Callable[[str, Path, int], Iterable[Any]]
    write: Callable[[Sequence[Pair], Path], None] | None
    decoder: str
    remote: bool


class Ours(MapDataset[Sample]):
    """An ingested data set."""

    def __init__(self, location: str, cache: Path) -> None:
        self._dataset = open_dataset(location, cache=cache)
        self._ids = self._dataset.ids("train")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        case = self._dataset.case(self._ids[index], copy=False)
        return window(case.image, case.labels)


class Trial(MapDataset[Sample]):
    """The cases that a node's trials share: decoded once, then mapped. They begin with an empty folder."""

    def __init__(self, location: str, cache: Path) -> None:
        dataset = open_dataset(location, cache=cache)
        self._cases = PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest), cache)

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> Sample:
        case = self._cases[index]
        return window(case.pixels, case.labels)


class Folder(MapDataset[Sample]):
    """The files themselves."""

    def __init__(self, root: Path, decode: Callable[[bytes, bytes], Sample]) -> None:
        self._pairs, self._decode = camvid(root, "train"), decode

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self._pairs[index]
        return self._decode(image.read_bytes(), mask.read_bytes())


class Decoded(IterableDataset[Sample]):
    """What a peer's data set yields, decoded and cut."""

    def __init__(self, source: Any, decode: Callable[[Any, Any], Sample]) -> None:
        self._source, self._decode = source, decode

    def __iter__(self) -> Iterator[Sample]:
        return (self._decode(each["image"], each["mask"]) for each in self._source)


def loader(
    dataset: Any,
    workers: int,
    *,
    shuffle: bool | None = None,
    collate: Callable[[list[Sample]], Sample] | None = None,
) -> Iterable[Any]:
    """torch's loader, whose processes stay from epoch to epoch."""
    return DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate or batched,
    )


def sides() -> tuple[Side, ...]:
    """Ours first, then each peer as it ships and with our decoder."""

    def ours(place: str, cache: Path, workers: int) -> Iterable[Any]:
        return loader(Ours(place, cache), workers, shuffle=True)

    def trial(place: str, cache: Path, workers: int) -> Iterable[Any]:
        remove(cache)
        return loader(Trial(place, cache), workers, shuffle=True, collate=default_collate)

    def folder(decode: Callable[[bytes, bytes], Sample]) -> Callable[[str, Path, int], Iterable[Any]]:
        return lambda place, cache, workers: loader(Folder(Path(place), decode), workers, shuffle=True)

    return (
        Side("segsearch", ours, None, "own", True),
        Side("segsearch, a trial", trial, None, "own", True),
        Side("image folder", folder(by_pillow), None, "own", False),
        Side("WebDataset", _webdataset(by_pillow), write_tar, "own", True),
        Side("MosaicML MDS", _mds(as_images), write_mds_pictures, "own", True),
        Side("litdata, pictures", _litdata(as_images), write_litdata_pictures, "own", False),
        Side("litdata, Pillow", _litdata(by_pillow), write_litdata, "own", False),
        Side("image folder", folder(by_ours), None, "ours", False),
        Side("WebDataset", _webdataset(by_ours), write_tar, "ours", True),
        Side("MosaicML MDS", _mds(by_ours), write_mds, "ours", True),
        Side("litdata", _litdata(by_ours), write_litdata, "ours", False),
    )


def write_litdata_pictures(pairs: Sequence[Pair], folder: Path) -> None:
    """litdata's chunks of pictures."""
    write_litdata(pairs, folder, case=litdata_pictures)


def upload(folder: Path, bucket: str, prefix: str) -> None:
    """Copy a folder to the S3 server of this process' environment."""
    client = boto3.client("s3")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder)}")


def _webdataset(decode: Callable[[bytes, bytes], Sample]) -> Callable[[str, Path, int], Iterable[Any]]:
    def make(place: str, cache: Path, workers: int) -> Iterable[Any]:
        import webdataset

        if place.startswith("s3://"):
            bucket, _, prefix = place.removeprefix("s3://").partition("/")
            keys = [f"{prefix}/{number:03d}.tar" for number in range(SHARDS)]
            # It has no S3 client: a program of the user's fetches. Signed addresses and curl are a fast one.
            sign = functools.partial(boto3.client("s3").generate_presigned_url, "get_object")
            urls = [f"pipe:curl -s '{sign(Params={'Bucket': bucket, 'Key': key})}'" for key in keys]
        else:
            urls = [str(Path(place) / f"{number:03d}.tar") for number in range(SHARDS)]
        source = webdataset.WebDataset(urls, shardshuffle=SHARDS, empty_check=False).shuffle(100)
        return loader(source.to_tuple("jpg", "png").map_tuple(_same, _same).map(_Each(decode)), workers)

    return make


class _Each:
    def __init__(self, decode: Callable[[Any, Any], Sample]) -> None:
        self._decode = decode

    def __call__(self, pair: tuple[Any, Any]) -> Sample:
        return self._decode(*pair)


def _same(value: Any) -> Any:
    return value


def _mds(decode: Callable[[Any, Any], Sample]) -> Callable[[str, Path, int], Iterable[Any]]:
    def make(place: str, cache: Path, workers: int) -> Iterable[Any]:
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        where = {"local": place}
        if place.startswith("s3://"):
            os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
            where = {"remote": place, "local": str(cache)}
        return loader(Decoded(StreamingDataset(**where, shuffle=True, batch_size=BATCH), decode), workers)

    return make


def _litdata(decode: Callable[[Any, Any], Sample]) -> Callable[[str, Path, int], Iterable[Any]]:
    def make(place: str, cache: Path, workers: int) -> Iterable[Any]:
        from litdata import StreamingDataLoader, StreamingDataset

        transform = _Keys(decode)
        source = StreamingDataset(place, shuffle=True, transform=transform)
        return StreamingDataLoader(  # type: ignore[no-any-return]  # litdata has no types
            source,
            batch_size=BATCH,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=batched,
        )

    return make


class _Keys:
    def __init__(self, decode: Callable[[Any, Any], Sample]) -> None:
        self._decode = decode

    def __call__(self, item: dict[str, Any], *_: Any) -> Sample:
        return self._decode(item["image"], item["mask"])


def _tensor(mask: Image.Image) -> Tensor:
    return pil_to_tensor(mask)[0]


def remove(folder: Path) -> None:
    """Delete what a peer wrote or cached."""
    shutil.rmtree(folder, ignore_errors=True)


def require_peers() -> None:
    """Stop with a sentence where a peer is not installed."""
    check = "import streaming, webdataset, litdata"
    if subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode:
        raise SystemExit(
            "this interpreter lacks a peer; `python benchmarks/readers.py --help` says how to make one."
        )
