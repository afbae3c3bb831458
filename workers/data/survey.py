"""The first pass of an ingest: check every case, collect every problem, measure, and hash the content."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.format import DTYPES, Row, digest_line, encode_row
from workers.data.manifest import IGNORE_INDEX, SPLITS, ClassInfo, dataset_digest
from workers.data.statistics import IntensityMeter, SplitMeter
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.palette import default_colours
from workers.source import RawCase, SampleFiles, SourceClass, SourcePlan
from workers.source_pairs import shown

Array = npt.NDArray[Any]

_BINARY = 'classes.json beside the images, [{"name": "background", "value": 0}, {"name": "foreground", "value": 255}]'
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


class Survey:
    """What is known about the cases of a plan so far.

    Attributes:
        problems: Everything that is wrong, a sentence each.
        splits: Meters by split.
        intensity: Meter of the training cases.
        shapes: Spatial sizes seen.
    """

    def __init__(self, plan: SourcePlan) -> None:
        self.problems = list(plan.problems)
        self.splits = {name: SplitMeter() for name in SPLITS}
        self.intensity = IntensityMeter(sum(sample.split == "train" for sample in plan.samples))
        self.shapes: set[tuple[int, ...]] = set()
        self._plan = plan
        self._table = LabelTable(plan.classes)
        self._channels = None if plan.channels is None else len(plan.channels)
        self._lines: dict[str, str] = {}
        self._hashes: dict[bytes, list[SampleFiles]] = defaultdict(list)
        self._notes: Counter[str] = Counter()

    def add(self, sample: SampleFiles, raw: RawCase) -> None:
        """Check and count one case; what is wrong with it goes to ``problems``."""
        wrong = [*self._image_problems(sample, raw), *self._label_problems(sample, raw)]
        if wrong:
            self.problems += wrong
            return
        row = self._encoded(sample, raw, compress=False)
        self._lines[sample.id] = digest_line(row)
        self._hashes[row.image_sha256].append(sample)
        self._notes.update(raw.notes)
        self.shapes.add(row.shape[1:])
        assert sample.split is not None, "placement gives every case a split"
        self.splits[sample.split].add(self._table.indices(raw.labels), sample.group)
        if sample.split == "train":
            self.intensity.add(raw.image, raw.spacing)

    def finish(self) -> None:
        """Look at all cases together: the classes that were found."""
        if self._plan.classes is None and not self.problems:
            self.problems += _found_problems(self._found_values())

    def row(self, sample: SampleFiles, raw: RawCase) -> Row:
        """A surveyed case, encoded.

        Raises:
            DataError: Its files changed since they were surveyed.
        """
        changed = DataError(
            f"{shown(sample.image)}: it or its labels changed while they were ingested; ingest again."
        )
        if self._image_problems(sample, raw) or self._label_problems(sample, raw):
            raise changed
        row = self._encoded(sample, raw, compress=True)
        if digest_line(row) != self._lines[sample.id]:
            raise changed
        return row

    def digest(self) -> str:
        """Content digest of all cases."""
        return dataset_digest(self._lines.values(), [info.name for info in self.classes()])

    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes in the order of their index."""
        given = self._plan.classes
        if given is None:
            given = _default_classes(max(self._found_values()) + 1)
        colours = default_colours(len(given))
        return tuple(
            ClassInfo(index, item.name, item.rgb or colour)
            for index, (item, colour) in enumerate(zip(given, colours, strict=True))
        )

    def channels(self) -> tuple[str, ...]:
        """Names of the image channels."""
        if self._plan.channels is not None:
            return self._plan.channels
        count = self._channels or 0
        return _CHANNELS.get(count, tuple(f"channel {number}" for number in range(count)))

    def notes(self) -> tuple[str, ...]:
        """How the source was understood, and what is odd but not wrong."""
        notes = list(self._plan.notes)
        if self._plan.classes is None:
            found = ", ".join(info.name for info in self.classes())
            notes.append(
                f"the classes were found by scanning the labels ({found}); classes.json can name them"
            )
        notes += [f"{count} cases: {note}" for note, count in sorted(self._notes.items())]
        for info in self.classes():
            if not self.splits["train"].pixels[info.index]:
                notes.append(f"class {info.name!r} has no pixel in the training cases")
        twins = [same for same in self._hashes.values() if len({sample.split for sample in same}) > 1]
        for same in twins:
            names = " = ".join(f"{sample.id} ({sample.split})" for sample in same)
            notes.append(f"the same image is in more than one split: {names}")
        return tuple(notes)

    def _encoded(self, sample: SampleFiles, raw: RawCase, *, compress: bool) -> Row:
        assert sample.split is not None, "placement gives every case a split"
        return encode_row(
            sample.id,
            sample.split,
            image=raw.image,
            picture=raw.picture,
            codec=raw.codec,
            labels=self._table.indices(raw.labels),
            spacing=raw.spacing,
            affine=raw.affine,
            group=sample.group,
            compress=compress,
        )

    def _image_problems(self, sample: SampleFiles, raw: RawCase) -> list[str]:
        where, image = shown(sample.image), raw.image
        if image.ndim != len(self._plan.axes) + 1:
            return [f"{where}: {image.ndim - 1} spatial axes; this source has {len(self._plan.axes)}"]
        assert image.dtype.name in DTYPES, image.dtype
        if self._channels is None:
            self._channels = image.shape[0]
        problems = []
        if image.shape[0] != self._channels:
            problems.append(
                f"{where}: {image.shape[0]} channels; the data set has {self._channels}; convert it first"
            )
        if image.dtype.kind == "f":
            broken = image.size - int(np.count_nonzero(np.isfinite(image)))
            if broken:
                problems.append(f"{where}: {broken} values are NaN or infinite; replace them")
        return problems

    def _label_problems(self, sample: SampleFiles, raw: RawCase) -> list[str]:
        where, labels = shown(sample.labels), raw.labels
        problems = []
        if labels.shape != raw.image.shape[1:]:
            sizes = (" x ".join(map(str, shape)) for shape in (raw.image.shape[1:], labels.shape))
            problems.append("{}: image {}, labels {}; give both the same size".format(where, *sizes))
        problem = self._table.problem(labels, where=where)
        return problems if problem is None else [*problems, problem]

    def _found_values(self) -> set[int]:
        return {value for meter in self.splits.values() for value in meter.pixels} - {IGNORE_INDEX}


def _found_problems(values: set[int]) -> list[str]:
    if values == {0}:
        return [
            f"labels: only 0 and 255 (ignored) occur, so there is one class; if 255 is the foreground, write {_BINARY}"
        ]
    if not values or values != set(range(max(values) + 1)) or len(values) < 2:
        found = ", ".join(map(str, sorted(values)[:10])) or "none"
        return [
            f"labels: the values found ({found}) are not 0 to K-1; name each class and its value in classes.json"
        ]
    return []


def _default_classes(count: int) -> tuple[SourceClass, ...]:
    others = ["foreground"] if count == 2 else [f"class {index}" for index in range(1, count)]
    return tuple(SourceClass(name, index) for index, name in enumerate(["background", *others]))
