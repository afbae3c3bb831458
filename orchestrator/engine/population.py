"""The trials of a search as a population: who is better, and how two become a child.

Scores of different rungs do not compare, but who was let on to a higher rung was better than those left behind. So the best
come from the highest rung, and within a rung by score, with several objectives by front and crowding.
"""

import random
from collections.abc import Sequence

from orchestrator.engine.pareto import ranking
from orchestrator.engine.sampler import Child, History, Observation
from search_spaces.errors import SpaceError
from search_spaces.space import Space, crossover, decode, mutate

MOST_CHANGES = 3


def scored(history: History) -> list[Observation]:
    """Proposals with a score at some rung, in order of proposal."""
    return [item for item in history.observations if item.scores and item.violation <= 0]


def best_first(members: Sequence[Observation]) -> list[Observation]:
    """Highest rung reached first, then rank within it, then order of proposal."""
    ranked: list[Observation] = []
    for epoch in sorted({item.scores[-1][0] for item in members}, reverse=True):
        peers = [item for item in members if item.scores[-1][0] == epoch]
        order = ranking([item.scores[-1][1] for item in peers], [0.0] * len(peers))
        ranked += [peers[index] for index in order]
    return ranked


def tournament(ranked: Sequence[Observation], rng: random.Random, *, entrants: int) -> Observation:
    """The best of some members drawn with replacement."""
    return ranked[min(int(rng.random() * len(ranked)) for _ in range(entrants))]


def child(
    space: Space, ranked: Sequence[Observation], rng: random.Random, *, entrants: int, crossed: float
) -> Child:
    """A mutated winner of a tournament, or now and then a mutated child of two, of which the first counts as its parent.

    Args:
        space: What may be chosen.
        ranked: Possible parents, best first.
        rng: Where chance comes from.
        entrants: Entrants of a tournament.
        crossed: Probability of a second parent.
    """
    winner = tournament(ranked, rng, entrants=entrants)
    made = decode(space, winner.trace)
    if rng.random() < crossed:
        other = decode(space, tournament(ranked, rng, entrants=entrants).trace)
        made = crossover(space, made, other, rng)
    try:
        for _ in range(1 + int(rng.random() * MOST_CHANGES)):
            made = mutate(space, made, rng)
    except SpaceError:
        pass  # the space holds one candidate
    return Child(made, winner.trace)
