"""Weight inheritance: how much a neighbour takes over in every space, and what a search gains from it.

*Shares*: for some random candidates of each ready-made space, networks one decision away (a few of them, those with another
architecture only): the share of the parameters that came from the candidate. Nothing is trained, no weights are allocated.

*Searches*: evolution over ``compact`` on the hippocampus example, known networks first, each trial trained to its end
(``--epochs``), in this process on one thread, with and without ``search.inherit``; seed by seed, the order
of the two changing. The first ten trials of a seed are the same in both.

- *equal epochs*: the best validation Dice of a trial's last epoch after all trials.
- *equal seconds*: the same after as many CPU seconds as the faster of the two took.
- *trained anew*: the best candidate of each search trained from the start for ``--anew`` epochs: what a user gets, as no winner
  inherits.

All seconds are those of the process's CPU clock, which other processes on the machine do not stretch.
Differences are paired by seed, with a 95 % interval (Student's t over seeds).

    OMP_NUM_THREADS=1 python benchmarks/inherit.py --seeds 3
"""

import argparse
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from orchestrator import verbs
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event
from orchestrator.engine.leaderboard import leaderboard
from search_spaces.architecture import Architecture
from search_spaces.candidate import canonical
from search_spaces.inherit import inherit
from search_spaces.network import Network
from search_spaces.space import Space, load_space, neighbours, sample, space_names
from workers.contract import INHERITED, JSON, DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.leg import run_leg

EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "hippocampus"
SAMPLES, BATCH = 208, 16
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}  # 97.5 % points for n seeds
JOB = """\
name: {name}
dataset: {data}
data: {{view: slices, size: [64, 64], batch: {batch}, epoch_samples: {samples}, loader_workers: 0}}
space: compact
fix: {{recipe.optimiser: adamw, recipe.precision: fp32{pinned}}}
constraints: {{parameters: 1.0e6, macs: 1.5e7}}
search: {{sampler: evolution, scheduler: {{kind: none, max_epochs: {epochs}}}, seed: {seed}, inherit: {inherit}}}
budget: {{trials: {trials}}}
resources: {{cpus: 1, slot_cpus: 1}}
retrain: {{top: 0}}
storage: {storage}
"""


PINNED = ", recipe.learning_rate: 0.002, recipe.warmup: 0.05, recipe.schedule: cosine, recipe.average: 0.0"
"""That of the known networks."""


@dataclass(slots=True)
class Search:
    """What one search found.

    Attributes:
        inherits: Whether its children began with the weights of their parents.
        ended: CPU seconds spent and last Dice of each trial, in the order in which they ended.
        shares: What each trial that had to inherit did inherit.
        best: The best candidate.
        begun: CPU clock of this process when it began.
    """

    inherits: bool
    ended: list[tuple[float, float]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    best: JSON = field(default_factory=dict)
    begun: float = field(default_factory=time.process_time)

    def __call__(self, event: Event | None, engine: Engine) -> None:
        """Watch the search; its trials are trained in this process, so that this process's clock counts all of it."""
        if event is None:
            return
        if event.kind == "trial_ended" and event.body["verdict"] == "completed":
            self.ended.append((time.process_time() - self.begun, float(event.body["value"])))
            self.best = engine.state.trials[leaderboard(engine.state)[0].trial].candidate
        if event.kind == "epoch" and INHERITED in event.body["metrics"]:
            self.shares.append(float(event.body["metrics"][INHERITED]))

    @property
    def seconds(self) -> float:
        """CPU seconds until the last trial ended."""
        return self.ended[-1][0]

    def best_after(self, seconds: float) -> float:
        """The best Dice when so many CPU seconds were spent."""
        return max(value for spent, value in self.ended if spent <= seconds)


def shares_of(space: Space, *, samples: int, near: int, ndim: int) -> list[tuple[float, float]]:
    """Shares that networks one decision away take over, and what tensors of the same name and shape alone would be."""
    rng, found = random.Random(0), list[tuple[float, float]]()
    for _ in range(samples):
        candidate = sample(space, rng)
        own = canonical(candidate).architecture
        others = {canonical(other).architecture for other in neighbours(space, candidate)} - {own}
        ordered = sorted(others, key=repr)
        for other in rng.sample(ordered, min(near, len(ordered))):
            found.append(share(other, own, ndim))
    return found


def share(child: Architecture, parent: Architecture, ndim: int) -> tuple[float, float]:
    """Of the parameters of a network, those that it takes over, and those in tensors of the same name and shape."""
    with torch.device("meta"):
        new, old = (Network(architecture, 1, 3, ndim) for architecture in (child, parent))
    tensors = old.state_dict()
    named = sum(
        weight.numel()
        for name, weight in new.named_parameters()
        if name in tensors and tensors[name].shape == weight.shape
    )
    taken = inherit(new, child, tensors, parent, in_channels=1, num_classes=3, ndim=ndim).share
    return taken, named / sum(weight.numel() for weight in new.parameters())


def print_shares(samples: int, near: int) -> None:
    """A row a space."""
    print("space          networks  mean  lowest  share with all  by name and shape alone")
    for name in space_names():
        space = load_space(name)
        found = shares_of(space, samples=samples, near=near, ndim=3 if name == "medical_3d" else 2)
        if found:
            taken, named = zip(*found, strict=True)
            whole = sum(value == 1.0 for value in taken) / len(taken)
            print(
                f"{name:14s} {len(taken):8d}  {statistics.mean(taken):.2f}  {min(taken):6.2f}  {whole:14.2f}  "
                f"{statistics.mean(named):.2f}",
                flush=True,
            )
        else:
            print(f"{name:14s}        0  no neighbour has another architecture", flush=True)


def search(
    folder: Path, data: str, *, seed: int, trials: int, epochs: int, inherits: bool, pinned: str
) -> Search:
    """Run a search in this process."""
    name = f"{'with' if inherits else 'without'}-{seed}"
    job = JOB.format(
        name=name, data=data, batch=BATCH, samples=SAMPLES, epochs=epochs, seed=seed, trials=trials, storage=folder,
        inherit=str(inherits).lower(), pinned=pinned,
    )  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(job)
    found = Search(inherits)
    verbs.run(path, place=verbs.Place(in_process=True, watch=found, track=False))
    return found


def anew(candidate: JSON, data: str, *, epochs: int, seed: int) -> float:
    """The last Dice of a candidate trained from the start with another seed."""
    view = DataView(data, open_dataset(data).digest, "slices", (64, 64), BATCH, SAMPLES)
    with tempfile.TemporaryDirectory() as place:
        leg = Leg(
            search="anew", trial=0, fence=1, candidate=candidate, seed=1000 + seed, first_epoch=0, last_epoch=epochs,
            max_epochs=epochs, checkpoint=None, data=view, storage=place,
        )  # fmt: skip
        found: list[EpochResult] = []
        ended = run_leg(leg, found.append, lambda: False)
    assert ended.status == "completed", ended.message
    return found[-1].metrics["dice"]


def interval(values: Sequence[float]) -> str:
    """Mean with its interval."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.4f} (one seed)"
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def print_searches(seeds: int, trials: int, epochs: int, longer: int, pinned: str) -> None:
    """A line a search, then means and differences."""
    columns: dict[str, dict[bool, list[float]]] = {
        name: {True: [], False: []} for name in ("equal epochs", "equal seconds", "trained anew")
    }
    ratios = list[float]()
    with tempfile.TemporaryDirectory(prefix="segsearch-inherit-") as place:
        folder, data = Path(place), str(Path(place) / "data")
        ingest(EXAMPLE, data)
        warm = {"seed": 99, "trials": 11, "epochs": 1}  # what a process does once is in no figure
        search(folder, data, **warm, inherits=True, pinned=pinned)
        for seed in range(seeds):
            pair: dict[bool, Search] = {}
            for inherits in (True, False) if seed % 2 else (False, True):
                found = search(
                    folder, data, seed=seed, trials=trials, epochs=epochs, inherits=inherits, pinned=pinned
                )
                pair[inherits] = found
                columns["equal epochs"][inherits].append(found.best_after(math.inf))
                columns["trained anew"][inherits].append(anew(found.best, data, epochs=longer, seed=seed))
                heirs = (
                    f"; {len(found.shares)} heirs took {statistics.mean(found.shares):.2f}"
                    if found.shares
                    else ""
                )
                print(
                    f"seed {seed}, {'with' if inherits else 'without'}: best {found.best_after(math.inf):.4f}, "
                    f"{found.seconds:.0f} s, anew {columns['trained anew'][inherits][-1]:.4f}{heirs}",
                    flush=True,
                )
            least = min(found.seconds for found in pair.values())
            for inherits, found in pair.items():
                columns["equal seconds"][inherits].append(found.best_after(least))
            ratios.append(pair[True].seconds / pair[False].seconds)
    for name, arms in columns.items():
        paired = [a - b for a, b in zip(arms[True], arms[False], strict=True)]
        means = f"with {statistics.mean(arms[True]):.4f}, without {statistics.mean(arms[False]):.4f}"
        print(f"{name}: {means}; difference {interval(paired)}")
    print(f"seconds, with over without: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--anew", type=int, default=6)
    parser.add_argument("--samples", type=int, default=2, help="Candidates of each space.")
    parser.add_argument("--near", type=int, default=6, help="Networks one decision away from each.")
    parser.add_argument(
        "--pinned",
        action="store_true",
        help="Learning rate, schedule and average of the known networks for all.",
    )
    parser.add_argument("--only", choices=("shares", "searches"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load at the beginning {os.getloadavg()[0]:.1f}")
    if options.only != "searches":
        print_shares(options.samples, options.near)
    if options.only != "shares":
        pinned = PINNED if options.pinned else ""
        print_searches(options.seeds, options.trials, options.epochs, options.anew, pinned)


if __name__ == "__main__":
    main()
