"""Turn a folder of images and labels into a data set. Every case is checked before anything is written."""

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from workers.data.manifest import IGNORE_INDEX, SPLITS, Manifest, ShardInfo, SplitInfo
from workers.data.placement import place
from workers.data.survey import Survey
from workers.data.writer import (
    encode_shard,
    plan_shards,
    point_latest,
    publish_manifest,
    publish_shard,
    published,
)
from workers.errors import DataError
from workers.source import Source, SourcePlan, open_source, recognise
from workers.store import Store, open_store

Progress = Callable[[str, int, int], None]
_OWN_FOLDERS = {"objects", "manifests", "refs", "probes"}


def ingest(
    source_folder: str | Path,
    dest: str,
    *,
    source: str | None = None,
    name: str | None = None,
    on_progress: Progress | None = None,
    shard_bytes: int | None = None,
) -> Manifest:
    """Check every case of a folder, then write and publish it as a data set. The same content again changes nothing.

    Args:
        source_folder: Images and labels in a known layout.
        dest: Folder or ``s3://bucket/prefix`` of the data set.
        source: Kind of the layout; None recognises it.
        name: Name of the data set; None takes the source's.
        on_progress: Told what is done (``check`` or ``write``), how many cases of how many.
        shard_bytes: Size of a shard; None chooses.

    Returns:
        The manifest; its ``notes`` say how the folder was understood.

    Raises:
        DataError: Something is wrong; every problem is listed, and nothing was written.
        StoreError: The destination cannot be written.
        UnknownKindError: No such source.
    """
    folder = Path(source_folder).expanduser()
    reader = open_folder(folder, source)
    kind = reader.kind
    store = open_store(dest)
    _refuse_foreign(store, dest)
    progress = on_progress or (lambda stage, done, total: None)

    plan = place(reader.plan(folder), folder)
    survey = _surveyed(reader, plan, progress)
    if survey.problems:
        count = len(survey.problems)
        raise DataError(
            f"{folder}: {count} problem{'s' if count > 1 else ''}; nothing was written to {dest}.",
            survey.problems,
        )
    digest = survey.digest()
    standing = published(store, digest)
    if standing is not None:
        point_latest(store, standing)
        return standing
    shards = _write(store, reader, plan, survey=survey, shard_bytes=shard_bytes, progress=progress)
    return publish_manifest(store, _manifest(plan, survey, shards, kind=kind, name=name))


def open_folder(folder: Path, source: str | None) -> Source:
    """The source that reads a folder: the one that is named, else the one whose layout it has.

    Raises:
        DataError: No or more than one layout fits, or not the one that is named.
        UnknownKindError: No such source.
    """
    kind = source or recognise(folder)
    reader = open_source(kind)
    if not reader.recognise(folder):
        raise DataError(f"{folder}: not a {kind} folder, which has {reader.layout}; give another --source.")
    return reader


def _surveyed(reader: Source, plan: SourcePlan, progress: Progress) -> Survey:
    survey = Survey(plan)
    for number, sample in enumerate(plan.samples, start=1):
        try:
            survey.add(sample, reader.read(sample))
        except DataError as error:
            survey.problems.append(str(error))
        progress("check", number, len(plan.samples))
    survey.finish()
    return survey


def _write(
    store: Store,
    reader: Source,
    plan: SourcePlan,
    *,
    survey: Survey,
    shard_bytes: int | None,
    progress: Progress,
) -> tuple[ShardInfo, ...]:
    shards: list[ShardInfo] = []
    done = 0
    for split in SPLITS:
        samples = [sample for sample in plan.samples if sample.split == split]
        sizes = [sample.image.stat().st_size + sample.labels.stat().st_size for sample in samples]
        for part in plan_shards(sizes, shard_bytes=shard_bytes):
            rows = [survey.row(samples[number], reader.read(samples[number])) for number in part]
            info, data = encode_shard(rows, survey.digest())
            publish_shard(store, info, data)
            shards.append(info)
            done += len(rows)
            progress("write", done, len(plan.samples))
    return tuple(shards)


def _manifest(
    plan: SourcePlan, survey: Survey, shards: Sequence[ShardInfo], *, kind: str, name: str | None
) -> Manifest:
    classes = survey.classes()
    return Manifest(
        digest=survey.digest(),
        name=name or plan.name,
        licence=plan.licence,
        reference=plan.reference,
        source=kind,
        classes=classes,
        ignore_index=IGNORE_INDEX,
        channels=survey.channels(),
        axes=plan.axes,
        symmetries=plan.symmetries,
        splits={
            split: SplitInfo(
                rows=meter.rows,
                groups=len(meter.groups),
                shards=sum(shard.split == split for shard in shards),
                class_pixels=tuple(meter.pixels[info.index] for info in classes),
                ignored_pixels=meter.pixels[IGNORE_INDEX],
                unlabelled=0,
            )
            for split, meter in survey.splits.items()
        },
        statistics=survey.intensity.result(),
        shape_min=tuple(map(min, zip(*survey.shapes, strict=True))),
        shape_max=tuple(map(max, zip(*survey.shapes, strict=True))),
        shards=tuple(shards),
        notes=survey.notes(),
        created_by={"segsearch": _own_version(), "pyarrow": pa.__version__},
    )


def _own_version() -> str:
    try:
        return importlib.metadata.version("segsearch")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _refuse_foreign(store: Store, dest: str) -> None:
    root = store.local_path("refs")
    if root is None or not root.parent.exists():
        return
    if not root.parent.is_dir():
        raise DataError(f"{dest}: a file; give a folder for the data set.")
    foreign = sorted(path.name for path in root.parent.iterdir() if path.name not in _OWN_FOLDERS)
    if foreign:
        raise DataError(
            f"{dest}: holds other files ({foreign[0]}, …); give a new or empty folder for the data set."
        )
