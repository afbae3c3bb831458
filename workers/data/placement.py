"""Which cases of a plan are taken, to which split each goes, and what is wrong before a file is read."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from workers.colour_mask import is_packed, value_text
from workers.data.manifest import IGNORE_INDEX, SPLITS
from workers.source import SampleFiles, SourceClass, SourcePlan, first_five, id_problem
from workers.source_files import GROUPS_FILE, SPLITS_FILE, with_groups, with_regions, with_splits
from workers.splits import draw_splits

_ADVICE = f"list the cases of each split in {SPLITS_FILE}"


def place(plan: SourcePlan, folder: Path) -> SourcePlan:
    """Put each case of a plan into a split, in the order of the ids, and add what is wrong to its problems."""
    samples, group_problems = with_groups(folder, plan.samples)
    samples, split_problems = with_splits(folder, samples)
    regions, region_problems = with_regions(folder, plan)
    notes = list(plan.notes)
    if len(samples) < len(plan.samples):
        notes.append(
            f"{len(plan.samples) - len(samples)} cases that {SPLITS_FILE} does not list were left out"
        )
    if samples and all(sample.split is None for sample in samples):
        drawn, by_hash = draw_splits(sample.group for sample in samples)
        samples = tuple(replace(sample, split=drawn.get(sample.group)) for sample in samples)
        notes.append(_drawn_note(samples, by_hash))
    problems = [
        *plan.problems,
        *group_problems,
        *split_problems,
        *region_problems,
        *filter(None, (id_problem(sample.id) for sample in samples)),
        *([] if plan.classes is None else class_problems(plan.classes)),
        *_split_problems(samples),
    ]
    coloured = any(is_packed(item.value) for item in plan.classes or ())
    ordered = tuple(
        sorted((replace(sample, coloured=coloured) for sample in samples), key=lambda sample: sample.id)
    )
    return replace(plan, samples=ordered, problems=tuple(problems), notes=tuple(notes), regions=regions)


def class_problems(classes: Sequence[SourceClass]) -> list[str]:
    """What is wrong with a list of classes."""
    problems = []
    num_classes = sum(not item.ignored for item in classes)
    if not 2 <= num_classes <= IGNORE_INDEX:
        problems.append(f"classes: {num_classes} given; allowed are 2 to {IGNORE_INDEX}, background included")
    for what, values in (
        ("names", [item.name for item in classes]),
        ("values", [value_text(item.value) for item in classes]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            problems.append(f"classes: {what} given twice: {', '.join(twice)}")
    bad = [item.name for item in classes if not item.name.strip() or not item.name.isprintable()]
    if bad:
        problems.append(f"classes: {bad[0]!r} is no name; allowed is printable text")
    return problems


def _split_problems(samples: Iterable[SampleFiles]) -> list[str]:
    places: dict[str, set[str]] = defaultdict(set)
    counts = dict.fromkeys(SPLITS, 0)
    for sample in samples:
        if sample.split is not None:
            counts[sample.split] += 1
            places[sample.group].add(sample.split)
    empty = [f"split {name!r} has 0 cases; {_ADVICE}" for name, count in counts.items() if count == 0]
    torn = sorted(group for group, splits in places.items() if len(splits) > 1)
    return empty + ([f"{first_five('groups are in more than one split', torn)}; {_ADVICE}"] if torn else [])


def _drawn_note(samples: Sequence[SampleFiles], by_hash: bool) -> str:
    how = "by a hash of the group" if by_hash else "by the rank of a hash, since there are few groups"
    lonely = all(sample.group == sample.id for sample in samples)
    apart = f"; each case is a group of its own, {GROUPS_FILE} can name patients" if lonely else ""
    return f"the source has no splits: drawn {how}{apart}"
