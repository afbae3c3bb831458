"""Labels of several sets a pixel, such as a folder of masks a class or a channel a class: combinations become classes.

A label is a number with a bit for each set that the pixel is in. Which combinations occur is known when all labels are read;
they become classes such as ``cell+nucleus``, and each set becomes a region, the union of its combinations.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from search_spaces.regions import Region
from workers.colour_mask import packed
from workers.data.manifest import IGNORE_INDEX
from workers.errors import DataError
from workers.regions import OUTSIDE, in_order, name_problem
from workers.source import Array, SourceClass, SourcePlan

MOST_SETS = 24  # as many bits as a packed colour has
_SMALL = 7  # sets whose bits fit into a label below 255
_JOINT = "+"


def set_labels(inside: Mapping[int, Array], *, num_sets: int, shape: tuple[int, ...]) -> Array:
    """The labels of a case.

    Args:
        inside: Where the pixels of a set are, bool of this shape, by the number of the set; others are empty.
        num_sets: Of the data set.
        shape: Spatial size.
    """
    none = _none(num_sets)
    labels = np.full(shape, none, np.int32 if none else np.uint8)
    for number, mask in inside.items():
        np.bitwise_or(labels, labels.dtype.type(1 << number), out=labels, where=mask)
    return labels


def kept(labels: Array) -> bytes:
    """Labels of a picture in little memory."""
    height, width = labels.shape
    packing = pa.compress(np.ascontiguousarray(labels).tobytes(), codec="zstd", asbytes=True)
    return np.array([height, width, labels.itemsize], "<i8").tobytes() + bytes(packing)


def from_kept(data: bytes) -> Array:
    """What ``kept`` was given."""
    height, width, size = map(int, np.frombuffer(data, "<i8", 3))
    plain = pa.decompress(data[24:], decompressed_size=height * width * size, codec="zstd", asbytes=True)
    return np.frombuffer(plain, np.uint8 if size == 1 else np.int32).reshape(height, width)


def with_found(plan: SourcePlan, found: Collection[int]) -> SourcePlan:
    """A plan with a class for each of these labels, fewest sets first, and a region for each set."""
    names, none = plan.sets, _none(len(plan.sets))
    sets = sorted(
        {value - none for value in found} - {0},
        key=lambda bits: (bits.bit_count(), [not bits >> number & 1 for number in range(MOST_SETS)]),
    )
    problems = (*plan.problems, *_problems(sets, names))
    if not sets:
        return replace(plan, problems=problems)
    members = [[number for number in range(len(names)) if bits >> number & 1] for bits in sets]
    classes = [
        SourceClass(_JOINT.join(names[number] for number in inside), none + bits)
        for bits, inside in zip(sets, members, strict=True)
    ]
    overlap = sum(len(inside) > 1 for inside in members)
    note = (
        f"each of {', '.join(names)} is a region that is learned; {overlap} of {len(sets)} classes are overlaps; "
        "'data: {regions: {}}' in a job learns the classes instead"
    )
    return replace(
        plan,
        classes=(SourceClass(OUTSIDE, none), *classes),
        regions=_regions(names, members),
        problems=problems,
        notes=(*plan.notes, note),
    )


def with_known(plan: SourcePlan, class_names: Sequence[str]) -> SourcePlan:
    """A plan with the classes that an earlier ingest found, so that no labels have to be read for them.

    Raises:
        DataError: A class is of a set that the folder lacks.
    """
    members = [name.split(_JOINT) for name in class_names[1:]]
    absent = sorted({part for parts in members for part in parts} - set(plan.sets))
    if absent:
        raise DataError(
            f"{plan.name}: nothing of {', '.join(absent)} is there any more; give the folder that was ingested."
        )
    numbers = [[plan.sets.index(part) for part in parts] for parts in members]
    none = _none(len(plan.sets))
    classes = [
        SourceClass(name, none + sum(1 << number for number in inside))
        for name, inside in zip(class_names[1:], numbers, strict=True)
    ]
    return replace(plan, classes=(SourceClass(OUTSIDE, none), *classes), regions=_regions(plan.sets, numbers))


def name_problems(names: Sequence[str], where: str) -> Iterator[str]:
    """What is wrong with the names of sets."""
    if len(names) > MOST_SETS:
        yield f"{where}: {len(names)} of them; allowed are {MOST_SETS}; unite some"
    yield from (f"{where}: {problem}" for name in names if (problem := name_problem(name)) is not None)


def _none(num_sets: int) -> int:
    """Label of a pixel in no set: bits of many sets are told from labels up to 255 as packed colours are."""
    return 0 if num_sets <= _SMALL else packed((0, 0, 0))


def _regions(names: Sequence[str], members: Sequence[Sequence[int]]) -> tuple[Region, ...]:
    return in_order(
        Region(name, tuple(index for index, inside in enumerate(members, start=1) if number in inside))
        for number, name in enumerate(names)
    )


def _problems(sets: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    if len(sets) >= IGNORE_INDEX:
        yield (
            f"labels: {len(sets)} combinations of classes occur; allowed are {IGNORE_INDEX - 1} beside the background; "
            "leave out classes or remove stray pixels where masks overlap"
        )
    for number, name in enumerate(names if sets else ()):
        if not any(bits >> number & 1 for bits in sets):
            yield f"{name}: no label has a pixel of it, so there is nothing to learn; leave it out"
