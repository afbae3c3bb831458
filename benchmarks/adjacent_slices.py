"""What slices beside a slice bring: a known network that sees 0, 1 or 2 on either side, for the same number of epochs.

The protocol of hippocampus slices of ``never_below_preset.py``, one thread a training, two side by side; Dice after the last
epoch. Needs ``SEGSEARCH_DATA``.

    SEGSEARCH_DATA=../shared/data python benchmarks/adjacent_slices.py --slices 0 1 2 --epochs 100 --seeds 2
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from never_below_preset import PROTOCOLS, SCORING_SHARE, mean_interval, train

from search_spaces.candidate import to_json
from search_spaces.preset import load_preset
from workers.contract import Leg


def main() -> None:
    """Print every training, then a line for each number of slices."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", default="small_unet_full")
    options = parser.parse_args()
    protocol = PROTOCOLS["hippocampus"]
    print(f"{options.preset}, {options.epochs} epochs, load at the beginning {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="segsearch-slices-") as place:
        data = protocol.prepare(Path(place))

        def leg(number: int, slices: int, seed: int) -> Leg:
            view = replace(protocol, adjacent=slices).view_of(data)
            return Leg(
                search="slices", trial=number, fence=1, candidate=to_json(load_preset(options.preset).candidate()),
                seed=seed, first_epoch=0, last_epoch=options.epochs, max_epochs=options.epochs, checkpoint=None, data=view,
                storage=place, scoring_share=SCORING_SHARE,
            )  # fmt: skip

        runs = [(slices, seed) for seed in range(options.seeds) for slices in options.slices]
        legs = [leg(number, *run) for number, run in enumerate(runs)]
        scores: dict[int, list[float]] = {slices: [] for slices in options.slices}
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            for (slices, seed), found in zip(runs, pool.map(train, legs), strict=True):
                scores[slices].append(found[-1].metrics[protocol.metric])
                steps = statistics.mean(epoch.train_seconds for epoch in found)
                print(
                    f"{slices} on either side, seed {seed}: {scores[slices][-1]:.4f}, {steps:.2f} s an epoch",
                    flush=True,
                )
    for slices, values in scores.items():
        print(f"{slices} on either side: {mean_interval(values)}")


if __name__ == "__main__":
    main()
