"""Turn a folder of images and labels into a data set. Every case is checked before anything is written."""

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from workers.data.examine import Finding, Rules, rules_of
from workers.data.format import Profile
from workers.data.manifest import IGNORE_INDEX, SPLITS, Manifest, ShardInfo, SplitInfo, canonical
from workers.data.part import Checked, CheckTask, WriteTask, check_part, write_part
from workers.data.placement import read_plan
from workers.data.scratch import scratch_folder
from workers.data.shard_cache import default_cache
from workers.data.spread import LocalSpread, Spread, default_jobs
from workers.data.survey import Survey
from workers.data.writer import check_regions, plan_shards, point_latest, publish_manifest, published
from workers.errors import DataError, MissingKeyError
from workers.source import Source, SourcePlan, open_source, readable, recognise
from workers.store import Store, open_store

Progress = Callable[[str, int, int], None]
_OWN_FOLDERS = {"objects", "manifests", "refs", "probes", "skipped"}


def ingest(
    source_folder: str | Path,
    dest: str,
    *,
    source: str | None = None,
    name: str | None = None,
    on_progress: Progress | None = None,
    shard_bytes: int | None = None,
    profile: Profile = "encoded",
    skip_bad: bool = False,
    jobs: int | None = None,
    spread: Spread | None = None,
) -> Manifest:
    """Check every case of a folder, then write and publish it as a data set. The same content again changes nothing.

    Args:
        source_folder: Images and labels in a known layout.
        dest: Folder or ``s3://bucket/prefix`` of the data set.
        source: Kind of the layout; None recognises it.
        name: Name of the data set; None takes the source's.
        on_progress: Told what is done (``check`` or ``write``), how many cases of how many.
        shard_bytes: Size of a shard; None chooses.
        profile: ``decoded`` stores arrays instead of pictures, for nodes whose cores are the limit.
        skip_bad: Leave out cases that are wrong, which the manifest's notes count and ``skipped/<digest>.json`` lists.
        jobs: Threads and processes at most; None takes the cores. What is written is the same for any number.
        spread: Where the work is done; None takes threads and processes of this machine.

    Returns:
        The manifest; its ``notes`` say how the folder was understood.

    Raises:
        DataError: Something is wrong; every problem is listed, and nothing was written.
        StoreError: The destination cannot be written.
        UnknownKindError: No such source.
    """
    folder = Path(source_folder).expanduser()
    reader = open_folder(folder, source)
    store = open_store(dest)
    refuse_foreign(store, dest)
    if jobs is not None and jobs < 1:
        raise DataError(f"jobs: {jobs} processes; allowed are 1 and more.")
    progress = on_progress or (lambda stage, done, total: None)
    with scratch_folder(default_cache()) as scratch, LocalSpread(jobs or default_jobs()) as local:
        spread = spread or local
        plan = read_plan(reader, folder, spread)
        rules = rules_of(plan, reader.kind, profile=profile)
        survey = Survey(plan, skip_bad=skip_bad)
        tasks = _check_tasks(reader, plan, rules, scratch, shard_bytes)
        checked = _check(survey, plan, tasks, spread, progress)
        if survey.problems:
            count = len(survey.problems)
            raise DataError(
                f"{folder}: {count} problem{'s' if count > 1 else ''}; nothing was written to {dest}.",
                survey.problems,
            )
        digest = survey.digest()
        standing = published(store, digest)
        if standing is None:
            shards = _write(survey, tasks, checked, spread, progress, dest=dest)
            manifest = _manifest(plan, survey, shards, rules=rules, name=name)
        elif standing.profile != profile:
            raise DataError(
                f"{dest}: holds this content in the profile {standing.profile}; give another destination."
            )
        else:
            check_regions(standing, plan.regions, dest)
    if survey.skipped:
        store.put(skipped_key(digest), canonical(survey.skipped))
    elif store.exists(skipped_key(digest)):
        store.delete(skipped_key(digest))  # of an earlier ingest that left out what is gone or right by now
    if standing is None:
        return publish_manifest(store, manifest)
    point_latest(store, standing)
    return standing


def skipped_key(digest: str) -> str:
    """Key of the list of what an ingest left out: names of cases or files, each with its problems."""
    return f"skipped/{digest}.json"


def load_skipped(dest: str, digest: str) -> dict[str, list[str]]:
    """What was left out of a content as bad, with the problems of each; empty where nothing was."""
    try:
        found: dict[str, list[str]] = json.loads(open_store(dest).get(skipped_key(digest)))
    except MissingKeyError:
        return {}
    return found


def open_folder(folder: Path, source: str | None) -> Source:
    """The source that reads a folder: the one that is named, else the one whose layout it has.

    Raises:
        DataError: No or more than one layout fits, or not the one that is named.
        UnknownKindError: No such source.
    """
    kind = source or recognise(folder)
    reader = open_source(kind)
    with readable(folder):
        is_one = reader.recognise(folder)
    if not is_one:
        raise DataError(f"{folder}: not a {kind} folder, which has {reader.layout}; give another --source.")
    return reader


def _check_tasks(
    reader: Source, plan: SourcePlan, rules: Rules, scratch: Path, shard_bytes: int | None
) -> tuple[CheckTask, ...]:
    """One task a shard, sorted by split, then id."""
    tasks: list[CheckTask] = []
    for split in SPLITS:
        samples = [sample for sample in plan.samples if sample.split == split]
        sizes = [reader.num_bytes(sample) for sample in samples]
        for part in plan_shards(sizes, shard_bytes=shard_bytes) if samples else ():
            tasks.append(
                CheckTask(rules, tuple(samples[part.start : part.stop]), str(scratch / f"{len(tasks)}.arrow"))
            )
    return tuple(tasks)


def _check(
    survey: Survey, plan: SourcePlan, tasks: Sequence[CheckTask], spread: Spread, progress: Progress
) -> list[Checked]:
    found: dict[int, Checked] = {}
    findings: dict[str, Finding] = {}
    for number, checked in spread.each(check_part, tasks):
        found[number] = checked
        findings |= {finding.id: finding for finding in checked.findings}
        progress("check", len(findings), len(plan.samples))
    for sample in plan.samples:
        if sample.id in findings:
            survey.add(sample, findings[sample.id])
    survey.finish()
    return [found[number] for number in range(len(tasks))]


def _write(
    survey: Survey,
    tasks: Sequence[CheckTask],
    checked: Sequence[Checked],
    spread: Spread,
    progress: Progress,
    *,
    dest: str,
) -> tuple[ShardInfo, ...]:
    digest = survey.digest()
    writes: list[WriteTask] = []
    for task, result in zip(tasks, checked, strict=True):
        kept = tuple(sample for sample in task.samples if sample.id in survey.lines)
        lines = tuple(survey.lines[sample.id] for sample in kept)
        if kept:
            writes.append(
                WriteTask(task.rules, kept, lines, task.scratch, result.crc32, digest=digest, dest=dest)
            )
    shards: dict[int, ShardInfo] = {}
    done = 0
    for number, shard in spread.each(write_part, writes):
        shards[number] = shard
        done += len(shard.ids)
        progress("write", done, len(survey.lines))
    return tuple(shards[number] for number in range(len(writes)))


def _manifest(
    plan: SourcePlan, survey: Survey, shards: Sequence[ShardInfo], *, rules: Rules, name: str | None
) -> Manifest:
    classes = survey.classes()
    return Manifest(
        digest=survey.digest(),
        name=name or plan.name,
        licence=plan.licence,
        reference=plan.reference,
        source=rules.kind,
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
        profile=rules.profile,
        regions=plan.regions,
    )


def _own_version() -> str:
    try:
        return importlib.metadata.version("segsearch")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def refuse_foreign(store: Store, dest: str) -> None:
    """Refuse a local destination that holds something else than data sets.

    Raises:
        DataError: It does, or is a file.
    """
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
