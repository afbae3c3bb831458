"""Regions as people write them: names of classes become indices, and what is wrong is said before anything is trained."""

from collections.abc import Iterator, Mapping, Sequence

from search_spaces.regions import Region, Regions
from search_spaces.register import unknown_name
from workers.metrics import foreground
from workers.regions import in_order, name_problem

MOST = 254  # of regions: pictures number them in a byte
Wrong = tuple[tuple[str | int, ...], str]
"""Where, as keys from the mapping of regions on, and a sentence."""


def region_problems(wanted: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> Iterator[Wrong]:
    """What is wrong with regions of a data set with these classes."""
    seen: dict[frozenset[str], str] = {}
    if len(wanted) > MOST:
        yield (), f"{len(wanted)} regions given; allowed are {MOST}."
    for name, classes in wanted.items():
        if (problem := name_problem(name)) is not None:
            yield (name,), problem
        problems = list(_class_problems(name, classes, class_names))
        yield from problems
        if problems:
            continue
        if (same := seen.setdefault(frozenset(classes), name)) != name:
            yield (name,), f"holds the same classes as {same!r}; keep one of the two."


def _class_problems(name: str, classes: Sequence[str], class_names: Sequence[str]) -> Iterator[Wrong]:
    known = [class_names[index] for index in foreground(class_names)]
    if not classes:
        yield (name,), f"is empty; name the classes that it unites: {', '.join(known)}."
    for place, given in enumerate(classes):
        if given not in class_names:
            yield (name, place), unknown_name("class of the data set", given, known)
        elif given not in known:
            yield (name, place), f"{given!r} is what lies outside of all regions; leave it out."
        elif given in classes[:place]:
            yield (name, place), f"{given!r} is named twice; keep one."
    if classes and set(classes) == set(class_names):
        yield (name,), "holds every class of the data set, so there is nothing to tell apart; leave some out."


def make_regions(wanted: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> Regions:
    """Regions without problems, in the order of the network's channels, which does not depend on that in a file."""
    return in_order(
        Region(name, tuple(sorted(class_names.index(given) for given in classes)))
        for name, classes in wanted.items()
    )
