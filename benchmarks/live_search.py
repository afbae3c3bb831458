"""Searches that are trained, on the data sets of ``never_below_preset.py``: ours beside random search, for the same wall time.

Both are ``segsearch run`` as a program on two slots, start-up included, whole trainings of nine epochs, the same limits.

- *ours*: ``sampler: auto`` with ASHA.
- *random*: candidates drawn at random, each trained to its end.

With ``--presets`` both begin with the known networks, else neither does. What counts is the best score after a whole training
when the time is up; a search that has none by then has 0. Needs ``SEGSEARCH_DATA``.

    SEGSEARCH_DATA=../shared/data python benchmarks/live_search.py --data isbi_em --seconds 180 --seeds 3
"""

import argparse
import os
import tempfile
from pathlib import Path

from never_below_preset import PROTOCOLS, mean_interval, run_job

from workers.data.ingest import ingest

EPOCHS = 9
START_S = 14.0  # of Ray and the program, which count
SEARCH = """\
search: {{sampler: {sampler}, scheduler: {{kind: {scheduler}, max_epochs: {epochs}}}, seed: {seed}, presets: {presets}}}
budget: {{trials: 1000, wall: {wall:.0f}s}}
retrain: {{top: 0}}
"""
WAYS = {"ours": ("auto", "asha"), "random": ("random", "none")}


def main() -> None:
    """Print every run, then one line a way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=PROTOCOLS, default="isbi_em")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--presets", action="store_true")
    options = parser.parse_args()
    print(
        f"{len(os.sched_getaffinity(0))} cores, load at the beginning {os.getloadavg()[0]:.1f}; presets in "
        f"{'both' if options.presets else 'neither'}"
    )
    protocol = PROTOCOLS[options.data]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="segsearch-live-") as place:
        root = Path(place)
        protocol.write(Path(os.environ["SEGSEARCH_DATA"]), root / "raw")
        ingest(root / "raw", str(root / "data"))
        for seed in range(options.seeds):
            for way, (sampler, scheduler) in WAYS.items():
                text = protocol.job(str(root / "data")) + SEARCH.format(
                    sampler=sampler,
                    scheduler=scheduler,
                    epochs=EPOCHS,
                    seed=seed,
                    presets=str(options.presets).lower(),
                    wall=options.seconds - START_S,
                )
                board, wall = run_job(root / f"{way}-{seed}", text)
                whole = [
                    r["value"] for r in board["trials"] if r["epoch"] == EPOCHS and r["value"] is not None
                ]
                found[way].append(max(whole, default=0.0))
                print(
                    f"seed {seed}, {way}: {found[way][-1]:.4f} {protocol.metric} of {len(whole)} whole trainings, "
                    f"{len(board['trials'])} candidates, {wall:.0f} s",
                    flush=True,
                )
    for way, values in found.items():
        print(f"{way}: {mean_interval(values)}")


if __name__ == "__main__":
    main()
