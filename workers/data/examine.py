"""The check of one case, a pure function of its files: it runs in any process, and its finding goes to the survey."""

from dataclasses import dataclass

import numpy as np

from workers.data.format import DTYPES, Profile, Row, digest_line, encode_row
from workers.data.room import enough_memory
from workers.data.statistics import CaseIntensity, label_counts, measured
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.source import RawCase, SampleFiles, Source, SourceClass, SourcePlan, printable
from workers.source_pairs import shown


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of every case of a plan.

    Attributes:
        kind: Of the source that reads the files.
        axes, classes: As in the plan.
        num_training: Training cases of the plan.
        profile: How images and labels are stored.
    """

    kind: str
    axes: tuple[str, ...]
    classes: tuple[SourceClass, ...] | None
    num_training: int
    profile: Profile = "encoded"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check of one case gave.

    Attributes:
        problems: What is wrong, a sentence each; then only ``channels`` says more.
        channels: Of the image; None where it cannot be told. All cases must agree, which the survey sees.
        line: Of the content digest.
        image_sha256: Equal for equal images.
        shape: Spatial size.
        pixels: Of each label.
        notes: What is odd but not wrong.
        spacing: Voxel size in mm; None for images.
        intensity: Of a training case.
    """

    id: str
    problems: tuple[str, ...] = ()
    channels: int | None = None
    line: str = ""
    image_sha256: bytes = b""
    shape: tuple[int, ...] = ()
    pixels: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    spacing: tuple[float, ...] | None = None
    intensity: CaseIntensity | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """A finding, with the case and its row where nothing is wrong with it by itself."""

    finding: Finding
    raw: RawCase | None = None
    row: Row | None = None


def rules_of(plan: SourcePlan, kind: str, *, profile: Profile = "encoded") -> Rules:
    """The rules of a plan whose cases have their splits."""
    num_training = sum(sample.split == "train" for sample in plan.samples)
    return Rules(kind, plan.axes, plan.classes, num_training, profile)


def examine(
    reader: Source, sample: SampleFiles, rules: Rules, table: LabelTable, *, compress: bool
) -> Examined:
    """Read and check a case.

    Args:
        reader: Of ``rules.kind``.
        sample: The case, with its split.
        rules: Of its plan.
        table: Of the plan's classes.
        compress: False leaves the payload of the row empty.

    Raises:
        DataError: There is no memory for it, which says nothing of the case; what is wrong with it is in the finding.
    """
    with enough_memory(reader, sample):
        return _examined(reader, sample, rules, table, compress=compress)


def _examined(
    reader: Source, sample: SampleFiles, rules: Rules, table: LabelTable, *, compress: bool
) -> Examined:
    assert sample.split is not None, "placement gives every case a split"
    try:
        raw = reader.read(sample)
    except DataError as error:
        return Examined(Finding(sample.id, (str(error),)))
    except PermissionError as error:
        what = printable(f"{error.filename}: cannot be read ({error.strerror})")
        return Examined(Finding(sample.id, (f"{what}; make it readable",)))
    wrong = [*_image_problems(sample, raw, rules), *_label_problems(sample, raw, table)]
    channels = raw.image.shape[0] if raw.image.ndim == len(rules.axes) + 1 else None
    if wrong:
        return Examined(Finding(sample.id, tuple(wrong), channels))
    labels = table.indices(raw.labels)
    row = encode_row(
        sample.id,
        sample.split,
        image=raw.image,
        picture=raw.picture,
        codec=raw.codec,
        labels=labels,
        spacing=raw.spacing,
        affine=raw.affine,
        group=sample.group,
        compress=compress,
        profile=rules.profile,
    )
    training = sample.split == "train"
    finding = Finding(
        id=sample.id,
        channels=channels,
        line=digest_line(row),
        image_sha256=row.image_sha256,
        shape=row.shape[1:],
        pixels=tuple(label_counts(labels).items()),
        notes=raw.notes,
        spacing=raw.spacing,
        intensity=measured(raw.image, raw.spacing, num_cases=rules.num_training) if training else None,
    )
    return Examined(finding, raw, row)


def _image_problems(sample: SampleFiles, raw: RawCase, rules: Rules) -> list[str]:
    where, image = shown(sample.image), raw.image
    if image.ndim != len(rules.axes) + 1:
        return [f"{where}: {image.ndim - 1} spatial axes; this source has {len(rules.axes)}"]
    assert image.dtype.name in DTYPES, image.dtype
    if image.dtype.kind == "f":
        broken = image.size - int(np.count_nonzero(np.isfinite(image)))
        if broken:
            return [f"{where}: {broken} values are NaN or infinite; replace them"]
    return []


def _label_problems(sample: SampleFiles, raw: RawCase, table: LabelTable) -> list[str]:
    where, labels = shown(sample.labels), raw.labels
    problems = []
    if labels.shape != raw.image.shape[1:]:
        sizes = (" x ".join(map(str, shape)) for shape in (raw.image.shape[1:], labels.shape))
        problems.append("{}: image {}, labels {}; give both the same size".format(where, *sizes))
    problem = table.problem(labels, where=where)
    return problems if problem is None else [*problems, problem]
