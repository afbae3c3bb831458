"""Weight inheritance: how much a neighbour takes over in every space, and what a search gains from it.

*Shares*: for some random candidates of each ready-made space, networks one decision away (a few of them, those with another
architecture only): the share of the parameters that came from the candidate. Nothing is trained, no weights are allocated.

*Searches*: evolution over ``compact`` on the hippocampus example, known networks first, each trial trained to its end
(``--epochs``), in this process on one thread, with and without ``search.inherit``; seed by seed, the order
of the two changing. The first ten trials of a seed are the same in both.

- *equal epochs*: the best validation Dice of a trial's last epoch after all trials.
- *equal worker-seconds*: the same after as many worker-seconds as the faster of the two took.
- *trained anew*: the best candidate of each search trained from the start for ``--anew`` epochs: what a user gets, as no winner
  inherits.
- *time*: worker-seconds of the whole search, with over without.

Differences are paired by seed, with a 95 % interval (Student's t over seeds).

    OMP_NUM_THREADS=1 python benchmarks/inherit.py --seeds 3
"""

import argparse
import contextlib
import io
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestrator.cli import main as segsearch
from orchestrator.engine.events import Event
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.objective import Objective
from orchestrator.engine.state import State
from orchestrator.journal import Journal
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
fix: {{recipe.optimiser: adamw, recipe.precision: fp32}}
constraints: {{parameters: 1.0e6, macs: 3.0e7}}
search: {{sampler: evolution, scheduler: {{kind: none, max_epochs: {epochs}}}, seed: {seed}, inherit: {inherit}}}
budget: {{trials: {trials}}}
resources: {{cpus: 1, slot_cpus: 1}}
retrain: {{top: 0}}
storage: {storage}
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One search.

    Attributes:
        ended: Worker-seconds spent and last Dice of each trial, in the order in which they ended.
        shares: What each trial that had to inherit did inherit.
        seconds: Worker-seconds of the whole search.
        startup: Worker-seconds of it before first epochs.
        best: The best candidate.
    """

    ended: tuple[tuple[float, float], ...]
    shares: tuple[float, ...]
    seconds: float
    startup: float
    best: JSON

    def best_after(self, seconds: float) -> float:
        """The best Dice when so many worker-seconds were spent."""
        return max(value for spent, value in self.ended if spent <= seconds)


def shares_of(space: Space, *, samples: int, near: int, ndim: int) -> list[float]:
    """Shares that networks one decision away take over."""
    rng, found = random.Random(0), list[float]()
    for _ in range(samples):
        candidate = sample(space, rng)
        own = canonical(candidate).architecture
        others = {canonical(other).architecture for other in neighbours(space, candidate)} - {own}
        ordered = sorted(others, key=repr)
        for other in rng.sample(ordered, min(near, len(ordered))):
            found.append(share(other, own, ndim))
    return found


def share(child: Architecture, parent: Architecture, ndim: int) -> float:
    """Of the parameters of a network, those that it takes over; on the meta device."""
    with torch.device("meta"):
        new, old = (Network(architecture, 1, 3, ndim) for architecture in (child, parent))
    tensors = old.state_dict()
    return inherit(new, child, tensors, parent, in_channels=1, num_classes=3, ndim=ndim).share


def print_shares(samples: int, near: int) -> None:
    """A row a space."""
    print("space          networks  mean  lowest  share with all")
    for name in space_names():
        space = load_space(name)
        found = shares_of(space, samples=samples, near=near, ndim=3 if name == "medical_3d" else 2)
        if found:
            whole = sum(value == 1.0 for value in found) / len(found)
            print(
                f"{name:14s} {len(found):8d}  {statistics.mean(found):.2f}  {min(found):6.2f}  {whole:14.2f}",
                flush=True,
            )
        else:
            print(f"{name:14s}        0  no neighbour has another architecture", flush=True)


def search(
    folder: Path, data: str, *, seed: int, trials: int, epochs: int, inherits: bool, number: int
) -> Found:
    """Run a search as a user would."""
    name = f"{'with' if inherits else 'without'}-{number}-{seed}"
    text = JOB.format(
        name=name, data=data, batch=BATCH, samples=SAMPLES, epochs=epochs, seed=seed, trials=trials, storage=folder,
        inherit=str(inherits).lower(),
    )  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(text)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = segsearch.run(["run", "--in-process", "--no-tracking", str(path)])
    assert code == 0, said.getvalue()
    journal = Journal(f"sqlite:///{folder}/journal.db")
    written = journal.read(name)
    journal.close()
    return found_in(written)


def found_in(written: Iterable[Event]) -> Found:
    """What a search found, by its events."""
    state, ended, shares = State((Objective("dice"),)), [], []
    for event in written:
        state.apply(event)
        if event.kind == "trial_ended" and event.body["verdict"] == "completed":
            ended.append((state.spent_s(event.at), float(event.body["value"])))
        if event.kind == "epoch" and INHERITED in event.body["metrics"]:
            shares.append(float(event.body["metrics"][INHERITED]))
    best = state.trials[leaderboard(state)[0].trial].candidate
    startup = sum(trial.cost.startup for trial in state.searched)
    return Found(tuple(ended), tuple(shares), state.spent_s(0.0), startup, best)


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


def text(values: Sequence[float]) -> str:
    """Mean with its interval."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.4f} (one seed)"
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def print_searches(seeds: int, trials: int, epochs: int, longer: int) -> None:
    """A line a search, then means and differences."""
    columns: dict[str, dict[bool, list[float]]] = {
        name: {True: [], False: []} for name in ("equal epochs", "equal worker-seconds", "trained anew")
    }
    ratios, first_ratios = list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="segsearch-inherit-") as place:
        folder = Path(place)
        ingest(EXAMPLE, str(folder / "data"))
        data = str(folder / "data")
        for seed in range(seeds):
            pair: dict[bool, Found] = {}
            for number, inherits in enumerate((True, False) if seed % 2 else (False, True)):
                begun = time.process_time()
                one = search(
                    folder, data, seed=seed, trials=trials, epochs=epochs, inherits=inherits, number=number
                )
                cpu = time.process_time() - begun
                fresh = anew(one.best, data, epochs=longer, seed=seed)
                pair[inherits] = one
                columns["equal epochs"][inherits].append(one.best_after(float("inf")))
                columns["trained anew"][inherits].append(fresh)
                passed = (
                    f", {len(one.shares)} heirs took {statistics.mean(one.shares):.2f}" if one.shares else ""
                )
                print(
                    f"seed {seed}, {'with' if inherits else 'without'}: best {one.best_after(float('inf')):.4f}, "
                    f"{one.seconds:.0f} worker-s ({one.startup:.0f} start-up), {cpu:.0f} s CPU, anew {fresh:.4f}{passed}",
                    flush=True,
                )
            least = min(found.seconds for found in pair.values())
            for inherits, found in pair.items():
                columns["equal worker-seconds"][inherits].append(found.best_after(least))
            ratios.append(pair[True].seconds / pair[False].seconds)
            first_ratios.append((pair[True].startup - pair[False].startup) / max(1, len(pair[True].shares)))
    for name, arms in columns.items():
        paired = [a - b for a, b in zip(arms[True], arms[False], strict=True)]
        means = f"with {statistics.mean(arms[True]):.4f}, without {statistics.mean(arms[False]):.4f}"
        print(f"{name}: {means}; difference {text(paired)}")
    print(
        f"time, with over without: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; "
        f"start-up of an heir: {statistics.mean(first_ratios):+.2f} s"
    )


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--anew", type=int, default=9)
    parser.add_argument("--samples", type=int, default=2, help="Candidates of each space.")
    parser.add_argument("--near", type=int, default=6, help="Networks one decision away from each.")
    parser.add_argument("--only", choices=("shares", "searches"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load at the beginning {os.getloadavg()[0]:.1f}")
    if options.only != "searches":
        print_shares(options.samples, options.near)
    if options.only != "shares":
        print_searches(options.seeds, options.trials, options.epochs, options.anew)


if __name__ == "__main__":
    main()
