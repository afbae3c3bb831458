"""Quasi-random points first, then the most promising of many changes to the best, by a model that doubts itself.

The engine has the known networks tried before any sampler is asked. Then this one draws ``startup`` quasi-random points, and
from there on mixes: mostly it makes many children of the better half and takes the one that a linear model of the encoding
likes best; now and then another quasi-random point. The model learns ranks, not scores, over all rungs together (see
``engine.population``), so that a trial that was stopped early teaches it too. Its weights are drawn from their posterior, so
where it knows little it tries much.

Source: Thompson 1933, "On the likelihood that one unknown probability exceeds another" (drawing the weights); the linear
    model of one-hot decisions is that of White et al. 2021, "How powerful are performance predictors in neural architecture
    search?", arXiv:2104.01177, among the cheapest that rank well from few trials.
Deviations: ranks as normal scores instead of accuracies; proposals beyond a limit are a second model, which lowers what is
    likely to be rejected.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from orchestrator.engine.encoding import Array, Encoding, encoding_of
from orchestrator.engine.population import best_first, scored
from orchestrator.engine.sampler import History, Observation, Sampler
from search_spaces.candidate import Candidate
from search_spaces.domain import Scalar
from search_spaces.register import entry
from search_spaces.space import Space

STEP = 0.15  # deviation of a small change of a number, of its axis
SMALL = 0.5  # share of the changes of numbers that are small; the others are drawn anew
NOISE = 0.5  # variance of a rank that no decision explains
PRIOR = 0.5  # variance of a decision's weight before anything is known
NEWEST = 1000  # proposals that the model sees: its time does not grow for ever


@entry("mixed")
@dataclass(frozen=True, slots=True)
class Mixed(Sampler):
    """Quasi-random points, then model-guided evolution.

    Attributes:
        startup: Scored trials before the model is asked.
        explore: Share of quasi-random points afterwards.
        children: Changes to the best among which the model chooses.
        changes: Decisions that a child changes, on average.
    """

    startup: int = 8
    explore: float = 0.1
    children: int = 128
    changes: float = 3.0

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """The child that the model likes best, or a quasi-random point."""
        encoding = encoding_of(space)
        rng = np.random.default_rng(seed)
        known = scored(history)
        if len(known) < self.startup or rng.random() < self.explore:
            return encoding.quasi_random(len(history.observations), seed=seed)
        ranked = best_first(known)
        parents = ranked[: max(2, len(ranked) // 2)]
        points, present = self._offspring(encoding, parents, rng)
        liked = self.scores(space, history, encoding.features(points, present), seed=seed)
        assert liked is not None
        best = int(liked.argmax())
        # What a change opened is drawn: nothing is known about it yet.
        found = np.where(present[best], points[best], rng.random(points.shape[1]))
        return encoding.candidate(found.tolist())

    def scores(self, space: Space, history: History, features: Array, *, seed: int) -> Array | None:
        """How much a model with weights drawn by the seed likes some candidates; None before it is asked.

        Args:
            space: What may be chosen.
            history: What it learns from.
            features: The candidates, ``Encoding.features``.
            seed: Decides the weights.
        """
        known = scored(history)
        if len(known) < self.startup:
            return None
        rng = np.random.default_rng([seed % 2**63, 1])
        newest = history.observations[-NEWEST:]
        learned = [item for item in newest if item.violation <= 0 and item.scores]
        broken = [item for item in newest if item.state == "failed"]
        order = {id(item): place for place, item in enumerate(best_first(learned))}
        places = [order[id(item)] for item in learned] + [len(learned)] * len(broken)
        ranks = ndtri(1 - (np.array(places) + 0.5) / (len(learned) + 1))
        liked = _predict(_rows(space, [*learned, *broken]), ranks, features, rng)
        judged = [item for item in newest if item.state != "running"]
        beyond = np.array([float(item.state == "rejected") for item in judged])
        if beyond.any():
            risk = _predict(_rows(space, judged), beyond - beyond.mean(), features, None) + beyond.mean()
            liked = liked - 2.0 * risk.clip(0.0, 1.0)
        return liked

    def _offspring(
        self, encoding: Encoding, parents: list[Observation], rng: np.random.Generator
    ) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Children as points, and which of their axes are decisions."""
        rows = [_known(encoding.space, tuple(parent.trace.items())) for parent in parents]
        # The better, the more children: the smaller of two draws.
        chosen = rng.integers(len(rows), size=(self.children, 2)).min(axis=1)
        points = np.array([rows[index].point for index in chosen])
        present = np.array([rows[index].present for index in chosen])
        change = rng.random(points.shape) < self.changes / present.sum(axis=1, keepdims=True)
        numeric = np.array([encoding.is_numeric(path) for path in encoding.axes])
        small = numeric & (rng.random(points.shape) < SMALL)
        moved = (points + rng.normal(0.0, STEP, points.shape)).clip(0.0, 1.0)
        return np.where(change, np.where(small, moved, rng.random(points.shape)), points), present


def _rows(space: Space, items: list[Observation]) -> Array:
    return np.array([_known(space, tuple(item.trace.items())).features for item in items])


@dataclass(frozen=True, slots=True)
class _Known:
    """Where a trace lies, which axes it has, and what a model sees of it."""

    point: Array
    present: npt.NDArray[np.bool_]
    features: Array


@functools.lru_cache(maxsize=20_000)
def _known(space: Space, trace: tuple[tuple[str, Scalar], ...]) -> _Known:
    """A trace never changes, so each is worked out once."""
    encoding, values = encoding_of(space), dict(trace)
    point, present = np.array(encoding.point(values)), np.array(encoding.present(values))
    return _Known(point, present, encoding.features(point[None], present[None])[0])


def _predict(rows: Array, targets: Array, features: Array, rng: np.random.Generator | None) -> Array:
    """Bayesian linear regression: the mean prediction, or with a generator that of weights drawn from the posterior."""
    known = np.c_[rows, np.ones(len(rows))]
    precision = known.T @ known / NOISE + np.eye(known.shape[1]) / PRIOR
    weights = np.linalg.solve(precision, known.T @ targets / NOISE)
    if rng is not None:
        root = np.linalg.cholesky(precision)
        weights = weights + np.linalg.solve(root.T, rng.normal(size=len(weights)))
    found: Array = np.c_[features, np.ones(len(features))] @ weights
    return found
