"""What samplers give up that do not see all of a long history: quality and time, with and without the bound.

TPE sees 500 scored trials of many; NSGA-II and III see ten generations, and the best of those before as one.

No network is trained. The space is ``compact``; a candidate's value is made up: each choice of each decision has a worth of its
own, and so have the pairs of some decisions, all drawn at random by the seed. A score is the value with noise of a tenth of its
spread among random candidates. One trial runs after another. Printed is the best value so far, in standard deviations above the
mean of random candidates, of both ways from the same seeds, and the difference with an interval over seeds (t, 95 %). NSGA has
two such values, and what counts is the hypervolume above their means. Until the bound both see the same and propose the same.
Seconds are CPU time of the process.

    python benchmarks/sampler_bounds.py --samplers tpe nsga2 --trials 1200 --seeds 4
"""

import argparse
import os
import random
import statistics
import sys
import time
import unittest.mock
from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import t as students

from orchestrator.engine import study
from orchestrator.engine.objective import Vector
from orchestrator.engine.pareto import dominates, hypervolume
from orchestrator.engine.parzen import MOST, ask_ranked
from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.samplers.nsga2 import Nsga2
from orchestrator.engine.samplers.nsga3 import Nsga3
from orchestrator.engine.study import GENERATIONS
from search_spaces.candidate import Candidate
from search_spaces.space import Space, Trace, encode, load_space, sample

START = 10  # random candidates first
PAIRS = 30  # decisions that are worth something together


class World:
    """Made-up values of candidates."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed
        rng = random.Random(f"pairs {seed}")
        known = [encode(space, sample(space, rng)) for _ in range(300)]
        paths = sorted({path for trace in known for path in trace})
        self._pairs = [tuple(rng.sample(paths, 2)) for _ in range(PAIRS)]
        values = [self._raw(trace) for trace in known]
        self._mean, self._spread = statistics.mean(values), statistics.stdev(values)

    def value(self, trace: Trace) -> float:
        """In standard deviations above the mean of random candidates."""
        return (self._raw(trace) - self._mean) / self._spread

    def _raw(self, trace: Trace) -> float:
        singles = (self._worth(path, trace[path]) for path in trace)
        pairs = (
            self._worth(*pair, trace[pair[0]], trace[pair[1]])
            for pair in self._pairs
            if pair[0] in trace and pair[1] in trace
        )
        return sum(singles) + sum(pairs)

    def _worth(self, *what: object) -> float:
        # A number counts by its size in a few steps, so that neighbours are alike.
        text = " ".join(f"{part:.1e}" if isinstance(part, float) else str(part) for part in what)
        return random.Random(f"{self.seed} {text}").gauss(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Way:
    """A sampler with and without its bound."""

    bound: int
    objectives: int
    propose: Callable[[Space, History, int, bool], Candidate]


def _tpe(space: Space, history: History, seed: int, is_bounded: bool) -> Candidate:
    most = MOST if is_bounded else len(history.observations)
    return ask_ranked(space, history, draws=24, seed=seed, most=most)


def _nsga(sampler: Nsga2 | Nsga3) -> Way:
    def propose(space: Space, history: History, seed: int, is_bounded: bool) -> Candidate:
        with unittest.mock.patch.object(study, "GENERATIONS", GENERATIONS if is_bounded else sys.maxsize):
            return sampler.propose(space, history, seed=seed)

    return Way(GENERATIONS * sampler.population, 2, propose)


WAYS = {"tpe": Way(MOST, 1, _tpe), "nsga2": _nsga(Nsga2()), "nsga3": _nsga(Nsga3())}


def search(way: Way, space: Space, seed: int, *, trials: int, is_bounded: bool) -> tuple[list[float], float]:
    """The quality after each trial, and seconds of the last hundred proposals, each."""
    worlds = [World(space, seed + 1000 * number) for number in range(way.objectives)]
    seen: list[Observation] = []
    found: list[Vector] = []
    quality: list[float] = []
    begun = 0.0
    for number in range(trials):
        if number == trials - 100:
            begun = time.process_time()
        if number < START:
            candidate = sample(space, random.Random(f"{seed} {number}"))
        else:
            history = History(seen, (1,), way.objectives)
            candidate = way.propose(space, history, seed * 10**6 + number, is_bounded)
        trace = encode(space, candidate)
        values = tuple(world.value(trace) for world in worlds)
        rng = random.Random(f"noise {seed} {number}")
        seen.append(
            Observation(trace, "scored", ((1, tuple(value + rng.gauss(0.0, 0.1) for value in values)),))
        )
        found = [point for point in found if not dominates(values, point)] + [values]
        one = way.objectives == 1
        quality.append(max(point[0] for point in found) if one else hypervolume(found, (0.0, 0.0)))
    return quality, (time.process_time() - begun) / 100


def compare(name: str, *, trials: int, seeds: int) -> None:
    """Search both ways and print."""
    way, space = WAYS[name], load_space("compact")
    gaps = []
    for seed in range(seeds):
        (bounded, fast), (whole, slow) = (
            search(way, space, seed, trials=trials, is_bounded=is_bounded) for is_bounded in (True, False)
        )
        assert bounded[: way.bound] == whole[: way.bound]
        gaps.append(bounded[-1] - whole[-1])
        print(
            f"{name}, seed {seed}: after {way.bound} trials {bounded[way.bound - 1]:.2f}; after {trials} {bounded[-1]:.2f} "
            f"with the bound, {whole[-1]:.2f} without; the last hundred took {1000 * fast:.0f} and {1000 * slow:.0f} ms each; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    half = float("nan")
    if len(gaps) > 1:
        half = students.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / len(gaps) ** 0.5
    print(f"{name}, with the bound less without: {statistics.mean(gaps):+.2f} +- {half:.2f}", flush=True)


def main() -> None:
    """Compare the samplers that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samplers", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--trials", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    for name in options.samplers:
        compare(name, trials=options.trials, seeds=options.seeds)


if __name__ == "__main__":
    main()
