"""Which cases of a plan are taken, to which split each goes, and what is wrong before a file is read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from workers.colour_mask import is_packed, value_text
from workers.data.manifest import IGNORE_INDEX, SPLITS
from workers.data.scan import scanned
from workers.data.spread import Spread
from workers.source import SampleFiles, Source, SourceClass, SourcePlan, first_five, id_problem, readable
from workers.source_files import GROUPS_FILE, SPLITS_FILE, with_groups, with_regions, with_splits
from workers.source_sets import with_known
from workers.splits import draw_splits

_ADVICE = f"list the cases of each split in {SPLITS_FILE}"


def place(plan: SourcePlan, folder: Path) -> SourcePlan:
    """Put each case of a plan into a split, in the order of the ids, and add what is wrong to its problems."""
    samples, group_problems = with_groups(folder, plan.samples)
    samples, split_problems = with_splits(folder, samples)
    regions, region_problems = with_regions(folder, plan)
    notes = [*plan.notes, *_twin_notes(samples)]
    if len(samples) < len(plan.samples):
        notes.append(
            f"{len(plan.samples) - len(samples)} cases that {SPLITS_FILE} does not list were left out"
        )
    text_problems = _text_problems(samples)
    samples = tuple(sample for sample in samples if sample.id.isprintable() and sample.group.isprintable())
    is_drawn = bool(samples) and all(sample.split is None for sample in samples)
    if is_drawn:
        drawn, by_hash = draw_splits(sample.group for sample in samples)
        samples = tuple(replace(sample, split=drawn.get(sample.group)) for sample in samples)
        notes.append(_drawn_note(samples, by_hash))
    of_classes = [] if plan.classes is None else class_problems(plan.classes)
    problems = [
        *plan.problems,
        *group_problems,
        *split_problems,
        *region_problems,
        *text_problems,
        *of_classes,
        *_split_problems(samples, is_drawn=is_drawn),
    ]
    coloured = any(is_packed(item.value) for item in plan.classes or ())
    ordered = tuple(
        sorted((replace(sample, coloured=coloured) for sample in samples), key=lambda sample: sample.id)
    )
    return replace(
        plan,
        samples=ordered,
        problems=tuple(problems),
        notes=tuple(notes),
        regions=regions,
        classes=None if of_classes and not coloured else plan.classes,  # else each label is wrong, too
    )


def read_plan(reader: Source, folder: Path, spread: Spread, *, classes: Sequence[str] = ()) -> SourcePlan:
    """The plan of a folder with its classes, placed. Where only labels tell the classes, they are read by ``spread``.

    Args:
        reader: Of the folder's layout.
        folder: Images and labels.
        spread: Where labels are read.
        classes: Their names, if an earlier ingest has found them, so that no labels have to be read.

    Raises:
        DataError: The folder's own description is damaged, or something there cannot be read.
    """
    with readable(folder):
        plan = reader.plan(folder)
        known = bool(plan.sets and classes)
        return place(with_known(plan, classes) if known else scanned(plan, reader.kind, spread), folder)


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


def _text_problems(samples: Sequence[SampleFiles]) -> list[str]:
    problems = [problem for sample in samples if (problem := id_problem(sample.id)) is not None]
    strange = {sample.group for sample in samples if not sample.group.isprintable()}
    strange -= {sample.id for sample in samples}
    return problems + ([first_five("groups are not printable text", sorted(strange))] if strange else [])


def _split_problems(samples: Sequence[SampleFiles], *, is_drawn: bool) -> list[str]:
    if not samples:
        return ["0 cases; give images with their labels"]
    num_groups = len({sample.group for sample in samples})
    if is_drawn and num_groups < len(SPLITS):
        return [f"{num_groups} groups of cases; the splits need {len(SPLITS)} and more; add cases"]
    places: dict[str, set[str]] = defaultdict(set)
    counts = dict.fromkeys(SPLITS, 0)
    for sample in samples:
        if sample.split is not None:
            counts[sample.split] += 1
            places[sample.group].add(sample.split)
    empty = [f"split {name!r} has 0 cases; {_ADVICE}" for name, count in counts.items() if count == 0]
    torn = sorted(group for group, splits in places.items() if len(splits) > 1)
    return empty + ([f"{first_five('groups are in more than one split', torn)}; {_ADVICE}"] if torn else [])


def _twin_notes(samples: Iterable[SampleFiles]) -> Iterator[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        alike[sample.id.casefold()].append(sample.id)
    twins = sorted(" = ".join(sorted(ids)) for ids in alike.values() if len(set(ids)) > 1)
    if twins:
        yield (
            f"{first_five('ids differ in capital letters only', twins)}; where a file system ignores them, files that are "
            "written for one replace those of the other"
        )


def _drawn_note(samples: Sequence[SampleFiles], by_hash: bool) -> str:
    how = "by a hash of the group" if by_hash else "by the rank of a hash, since there are few groups"
    lonely = all(sample.group == sample.id for sample in samples)
    apart = f"; each case is a group of its own, {GROUPS_FILE} can name patients" if lonely else ""
    return f"the source has no splits: drawn {how}{apart}"
