"""The sum of the first pass of an ingest: every problem, measures, and the digest of the content."""

from collections import Counter, defaultdict

from workers.data.examine import Finding
from workers.data.manifest import IGNORE_INDEX, SPLITS, ClassInfo, dataset_digest
from workers.data.statistics import IntensityMeter, SplitMeter
from workers.palette import default_colours
from workers.source import LeftOut, SampleFiles, SourceClass, SourcePlan, first_five
from workers.source_pairs import shown

_BINARY = 'classes.json beside the images, [{"name": "background", "value": 0}, {"name": "foreground", "value": 255}]'
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


class Survey:
    """What is known about the cases of a plan so far.

    Attributes:
        problems: Everything that is wrong, a sentence each.
        skipped: What was left out for a problem, by the name of the case or file; empty unless bad cases may be skipped.
        splits: Meters by split.
        intensity: Meter of the training cases.
        shapes: Spatial sizes seen.
        lines: Of the content digest, by id.
    """

    def __init__(self, plan: SourcePlan, *, skip_bad: bool = False) -> None:
        self.problems: list[str] = []
        self.skipped: dict[str, tuple[str, ...]] = {}
        self.splits = {name: SplitMeter() for name in SPLITS}
        self.intensity = IntensityMeter()
        self.shapes: set[tuple[int, ...]] = set()
        self.lines: dict[str, str] = {}
        self._plan = plan
        self._skip_bad = skip_bad
        self._channels = None if plan.channels is None else len(plan.channels)
        self._hashes: dict[bytes, list[SampleFiles]] = defaultdict(list)
        self._notes: Counter[str] = Counter()
        self._first: dict[int, str] = {}  # file in which a label was first seen
        for problem in plan.problems:
            if skip_bad and isinstance(problem, LeftOut):
                self.skipped |= {name: (str(problem),) for name in problem.names}
            else:
                self.problems.append(problem)

    def add(self, sample: SampleFiles, finding: Finding) -> bool:
        """Count one case, in the order of the ids; whether it is right, else it goes to ``problems`` or ``skipped``."""
        wrong = [*self._channel_problems(sample, finding), *finding.problems]
        if wrong and self._skip_bad:
            self.skipped[sample.id] = tuple(wrong)
        elif wrong:
            self.problems += wrong
        if wrong:
            return False
        self.lines[sample.id] = finding.line
        self._hashes[finding.image_sha256].append(sample)
        self._notes.update(finding.notes)
        self.shapes.add(finding.shape)
        assert sample.split is not None, "placement gives every case a split"
        self.splits[sample.split].add(dict(finding.pixels), sample.group)
        for value, _ in finding.pixels:
            self._first.setdefault(value, shown(sample.labels))
        if finding.intensity is not None:
            self.intensity.add(finding.intensity)
        return True

    def finish(self) -> None:
        """Look at all cases together: the classes that were found, splits that lost all their cases."""
        if self.skipped:
            before = Counter(sample.split for sample in self._plan.samples)
            self.problems += [
                f"split {name!r}: all of its {before[name]} cases are bad, so that it would be empty; correct some"
                for name, meter in self.splits.items()
                if before[name] and not meter.rows
            ]
        if self._plan.classes is None and not self.problems:
            self.problems += self._found_problems()

    def digest(self) -> str:
        """Content digest of all cases."""
        return dataset_digest(self.lines.values(), [info.name for info in self.classes()])

    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes in the order of their index."""
        if self._plan.classes is None:
            given = _default_classes(max(self._found_values()) + 1)
        else:
            given = tuple(item for item in self._plan.classes if not item.ignored)
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
        if self.skipped:
            notes.append(f"left out as bad: {first_five('cases or files', sorted(self.skipped))}")
        return tuple(notes)

    def _channel_problems(self, sample: SampleFiles, finding: Finding) -> list[str]:
        if finding.channels is None:
            return []
        if self._channels is None and not (self._skip_bad and finding.problems):
            self._channels = finding.channels
        if self._channels in (None, finding.channels):
            return []
        return [
            f"{shown(sample.image)}: {finding.channels} channels; the data set has {self._channels}; convert it first"
        ]

    def _found_problems(self) -> list[str]:
        values = self._found_values()
        if values == {0}:
            only = "labels: only 0 and 255 (ignored) occur, so there is one class"
            return [f"{only}; if 255 is the foreground, write {_BINARY}"]
        if values and values == set(range(max(values) + 1)) and len(values) > 1:
            return []
        counts = {value: sum(meter.pixels[value] for meter in self.splits.values()) for value in values}
        listed = [
            f"{value} ({counts[value]:,} times, first in {self._first[value]})" for value in sorted(values)
        ]
        what = (
            first_five("values, which are not 0 to K-1", listed)
            if values
            else "no value but 255 (ignored) occurs"
        )
        return [f"labels: {what}; name each class and its value in classes.json"]

    def _found_values(self) -> set[int]:
        return {value for meter in self.splits.values() for value in meter.pixels} - {IGNORE_INDEX}


def _default_classes(count: int) -> tuple[SourceClass, ...]:
    others = ["foreground"] if count == 2 else [f"class {index}" for index in range(1, count)]
    return tuple(SourceClass(name, index) for index, name in enumerate(["background", *others]))
