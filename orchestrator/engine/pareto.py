"""Several objectives at once: fronts, crowding, hypervolume, knee, spread. Vectors are scores: more is better.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", sections III.A (fronts) and III.B
    (crowding distance); hypervolume by slices of the last objective, as in Zitzler and Thiele 1998.
Deviations: for two objectives fronts come from one sorted pass instead of all pairs; equal vectors share a front and the
    crowding of their first.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

from orchestrator.engine.objective import Vector


def dominates(one: Vector, other: Vector) -> bool:
    """Whether one is nowhere worse and somewhere better."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def fronts(points: Sequence[Vector]) -> list[int]:
    """Front of each point: 1 for those that none dominates, 2 for those that only front 1 dominates, and so on."""
    order = sorted(range(len(points)), key=lambda index: points[index], reverse=True)
    found = [0] * len(points)
    if points and len(points[0]) <= 2:
        # In falling order of the first objective, a front dominates a point where its best second is no less.
        best: list[float] = []  # negated best last objective of each front, rising
        for place, index in enumerate(order):
            if place and points[index] == points[order[place - 1]]:
                found[index] = found[order[place - 1]]
                continue
            level = bisect_right(best, -points[index][-1])
            best[level : level + 1] = [-points[index][-1]]
            found[index] = level + 1
        return found
    members: list[list[int]] = []
    for index in order:
        level = 0
        while level < len(members) and any(
            dominates(points[other], points[index]) for other in members[level]
        ):
            level += 1
        if level == len(members):
            members.append([])
        members[level].append(index)
        found[index] = level + 1
    return found


def crowding(points: Sequence[Vector]) -> list[float]:
    """Crowding distance of each point of one front; infinite at the ends of an objective."""
    found = [0.0] * len(points)
    first = {point: index for index, point in reversed(list(enumerate(points)))}
    distinct = list(first)
    for axis in range(len(points[0]) if points else 0):
        ranked = sorted(distinct, key=lambda point: point[axis])
        span = ranked[-1][axis] - ranked[0][axis]
        for place, point in enumerate(ranked):
            if place in (0, len(ranked) - 1):
                found[first[point]] = math.inf
            elif span > 0:
                found[first[point]] += (ranked[place + 1][axis] - ranked[place - 1][axis]) / span
    return [found[first[point]] for point in points]


def ranking(points: Sequence[Vector], tiebreak: Sequence[float]) -> list[int]:
    """Indices, best first: by front, then wide apart before crowded, then the better first objective, then the smaller
    ``tiebreak``, then the earlier.

    With one objective this is the order of its values.
    """
    front = fronts(points)
    apart = [0.0] * len(points)
    if points and len(points[0]) > 1:
        members: dict[int, list[int]] = {}
        for index, level in enumerate(front):
            members.setdefault(level, []).append(index)
        for group in members.values():
            for index, distance in zip(group, crowding([points[i] for i in group]), strict=True):
                apart[index] = distance
    return sorted(range(len(points)), key=lambda i: (front[i], -apart[i], -points[i][0], tiebreak[i], i))


def hypervolume(points: Sequence[Vector], reference: Vector) -> float:
    """Volume between the points and a reference that they should be better than; exact, any number of objectives.

    Points that are not better than the reference in every objective add nothing. Meant for two or three objectives: each
    further one costs a factor of the number of points.
    """
    inside = [p for p in set(points) if all(a > b for a, b in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return max(point[0] for point in inside) - reference[0]
    volume = 0.0
    ranked = sorted(inside, key=lambda point: point[-1], reverse=True)
    for place, point in enumerate(ranked):
        below = ranked[place + 1][-1] if place + 1 < len(ranked) else reference[-1]
        if point[-1] > below:
            volume += hypervolume([p[:-1] for p in ranked[: place + 1]], reference[:-1]) * (point[-1] - below)
    return volume


def knee(points: Sequence[Vector]) -> int:
    """Index of the front's point farthest from the plane through its ends: where more of one costs most of another."""
    scaled = normalised(points)
    return max(range(len(points)), key=lambda index: (sum(scaled[index]), -index))


def spread(points: Sequence[Vector], count: int) -> list[int]:
    """Indices of up to ``count`` points of a front that stand for it: the best of the first objective, then, one by one,
    the point farthest from those taken, distances in shares of each objective's range."""
    if not points:
        return []
    scaled = normalised(points)
    taken = [max(range(len(points)), key=lambda index: (points[index], -index))]
    nearest = [math.dist(point, scaled[taken[0]]) for point in scaled]
    while len(taken) < min(count, len(points)):
        left = [index for index in range(len(points)) if index not in taken]
        taken.append(max(left, key=lambda index: (nearest[index], -index)))
        nearest = [min(n, math.dist(p, scaled[taken[-1]])) for n, p in zip(nearest, scaled, strict=True)]
    return taken[:count]


def normalised(points: Sequence[Vector]) -> list[Vector]:
    """Points in shares of each objective's range, worst 0 and best 1; an objective without a range is 0."""
    axes = list(zip(*points, strict=True))
    low, high = [min(axis) for axis in axes], [max(axis) for axis in axes]
    return [
        tuple((v - a) / (b - a) if b > a else 0.0 for v, a, b in zip(p, low, high, strict=True))
        for p in points
    ]
