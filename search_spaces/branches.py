"""Cells whose nodes each take from earlier ones: the one order that does not depend on how nodes were numbered."""

from collections.abc import Sequence

from search_spaces.codec import text_digest


def tidy_order(labels: Sequence[str], sources: Sequence[Sequence[tuple[str, int]]], inputs: int) -> list[int]:
    """Places of the nodes, those of least depth first and equal ones by what they compute.

    Args:
        labels: What each node is apart from its sources.
        sources: Of each node, unordered: how it takes from a source, and the source; 0 to ``inputs`` - 1 are inputs
            of the cell, ``inputs`` + i is node i, earlier ones only.
        inputs: How many inputs the cell has.
    """
    looks = [f"input {place}" for place in range(inputs)]
    depths = [0] * inputs
    for label, taken in zip(labels, sources, strict=True):
        looks.append(
            text_digest("|".join([label, *sorted(f"{how} {looks[source]}" for how, source in taken)]))
        )
        depths.append(1 + max(depths[source] for _, source in taken))
    users: list[list[str]] = [[] for _ in looks]
    for place in range(len(looks) - 1, inputs - 1, -1):
        for how, source in sources[place - inputs]:
            users[source].append(text_digest("|".join([how, looks[place], *sorted(users[place])])))
    nodes = range(inputs, len(looks))
    ordered = sorted(nodes, key=lambda place: (depths[place], looks[place], sorted(users[place])))
    return [place - inputs for place in ordered]
