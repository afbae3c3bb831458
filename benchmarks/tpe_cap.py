"""What TPE gives up where it sees 500 scored trials of many: quality and time, with and without the bound.

No network is trained. The space is ``compact``; a candidate's value is made up: each choice of each decision has a worth of its
own, and so have the pairs of some decisions, all drawn at random by the seed. A score is the value with noise of a tenth of its
spread among random candidates. One trial runs after another. Printed is the best value so far, in standard deviations above the
mean of random candidates, of both ways from the same seeds, and the difference with an interval over seeds (t, 95 %). Up to
500 trials both see the same and propose the same. Seconds are CPU time of the process.

    python benchmarks/tpe_cap.py --trials 1200 --seeds 4
"""

import argparse
import os
import random
import statistics
import time

from scipy.stats import t as students

from orchestrator.engine.parzen import MOST, ask_ranked
from orchestrator.engine.sampler import History, Observation
from search_spaces.space import Space, Trace, encode, load_space, sample

START = 10  # random candidates before TPE
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


def search(world: World, *, trials: int, most: int) -> tuple[list[float], float]:
    """The best value after each trial, and seconds of the last hundred proposals, each."""
    seen: list[Observation] = []
    best: list[float] = []
    begun = 0.0
    for number in range(trials):
        if number == trials - 100:
            begun = time.process_time()
        if number < START:
            candidate = sample(world.space, random.Random(f"{world.seed} {number}"))
        else:
            history = History(seen, (1,))
            candidate = ask_ranked(
                world.space, history, draws=24, seed=world.seed * 10**6 + number, most=most
            )
        trace = encode(world.space, candidate)
        value = world.value(trace)
        noise = random.Random(f"noise {world.seed} {number}").gauss(0.0, 0.1)
        seen.append(Observation(trace, "scored", ((1, (value + noise,)),)))
        best.append(max(value, best[-1] if best else value))
    return best, (time.process_time() - begun) / 100


def main() -> None:
    """Search both ways and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    space = load_space("compact")
    ends: list[tuple[float, float]] = []
    for seed in range(options.seeds):
        world = World(space, seed)
        (bounded, fast), (whole, slow) = (
            search(world, trials=options.trials, most=most) for most in (MOST, options.trials)
        )
        assert bounded[:MOST] == whole[:MOST]
        ends.append((bounded[-1], whole[-1]))
        print(
            f"seed {seed}: after {MOST} trials {bounded[MOST - 1]:.2f}; after {options.trials} {bounded[-1]:.2f} with the "
            f"bound, {whole[-1]:.2f} without; the last hundred took {1000 * fast:.0f} and {1000 * slow:.0f} ms each; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    gaps = [with_bound - without for with_bound, without in ends]
    half = float("nan")
    if len(gaps) > 1:
        half = students.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / len(gaps) ** 0.5
    print(f"with the bound less without: {statistics.mean(gaps):+.2f} +- {half:.2f} standard deviations")


if __name__ == "__main__":
    main()
