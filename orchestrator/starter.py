"""A first job file for a folder of someone's files: recognised, nothing asked."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.data.placement import place
from workers.errors import DataError
from workers.source import Source, SourcePlan, open_source, recognise

LOOK_AT = 5  # cases whose size is measured
MAX_SIZE = 256  # windows larger than this are slow on small machines
STRIDE = 16  # windows are multiples of it

TEMPLATE = """\
# {found}
#   {ingest}
#   {run}
# Paths count from the folder in which the commands are typed.
name: {name}
dataset: {dataset}
raw: {folder}
# what a sample is: two sizes read {kind} (H, W){patches}
{adjacent}data:
  size: {size}
  batch: {batch}
# 'segsearch space describe compact' lists what may be chosen; pin or narrow it with fix, for example
#   fix: {{context.kind: aspp, architecture.norm: [batch, instance]}}
space: compact
# any metric, as dice, miou, accuracy, dice/CLASS, iou/CLASS; or minimize one, as hd95
objectives: {{maximize: [{objective}]}}
# candidates beyond it are rejected before any worker is used
constraints: {{parameters: 2.0e6}}
search:
  sampler: auto                  # known networks first, then tpe
  scheduler: {{kind: asha, max_epochs: 27, reduction: 3}}
  seed: 0
# the first limit that is reached ends the search; retraining and comparison come on top, and may take longer
budget: {{trials: 60, wall: 2h}}
# the best are trained anew, and compared with a known network that trains as long as all of this took
retrain: {{top: 3, epochs: 50, seeds: 2, against: small_unet}}
storage: runs
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """What ``init`` wrote.

    Attributes:
        job: The job file.
        found: One line about the folder.
        commands: The next two lines to type.
    """

    job: Path
    found: str
    commands: tuple[str, str]


def write_starter(folder: Path, out: Path | None = None) -> Starter:
    """Recognise a folder and write a job file for it.

    Raises:
        DataError: No known layout, no labelled case, or the job file exists.
    """
    kind = recognise(folder)
    source = open_source(kind)
    plan = place(source.plan(folder), folder)
    if not plan.samples:
        raise DataError(f"{folder}: looks like {kind}, but no image has labels.", plan.problems)
    name = job_name(plan.name)
    job = out or Path(f"{name}.yaml")
    if job.exists():
        raise DataError(f"{job} exists; remove it, or name another file with --out.")
    volumes = len(plan.axes) == 3
    size = window(source, plan)
    found = f"{folder}: {len(plan.samples)} labelled {'volumes' if volumes else 'images'}, layout {kind}"
    dataset = f"data/{name}"
    commands = (
        shlex.join(["segsearch", "data", "ingest", str(folder), dataset]),
        shlex.join(["segsearch", "run", str(job)]),
    )
    text = TEMPLATE.format(
        found=found,
        ingest=commands[0],
        run=commands[1],
        name=name,
        dataset=dataset,
        folder=yaml_text(str(folder)),
        kind="slices of volumes" if volumes else "images",
        patches="; three sizes (D, H, W) read 3D patches" if volumes else "",
        adjacent="# adjacent_slices: 1 shows the network the slices beside each, too\n" if volumes else "",
        size=list(size),
        batch=batch_size(size, None if volumes else sum(sample.split == "train" for sample in plan.samples)),
        objective="dice" if volumes else "miou",
    )
    job.parent.mkdir(parents=True, exist_ok=True)
    job.write_text(text)
    return Starter(job, found, commands)


def batch_size(size: tuple[int, int], samples: int | None) -> int:
    """Samples a step: 16 of small windows, 8 of larger ones, or the power of two that the samples of an epoch allow."""
    usual = 16 if max(size) <= 96 else 8
    return usual if samples is None else min(usual, 1 << max(0, samples.bit_length() - 1))


def yaml_text(text: str) -> str:
    """Text as YAML, in quotes where it has more than letters, digits and ``._/-``."""
    is_plain = re.fullmatch(r"[A-Za-z./][A-Za-z0-9._/-]*", text) and text not in ("true", "false", "null")
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def job_name(text: str) -> str:
    """A name that a job may have, from any text."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (name if name[:1].isalpha() else f"data-{name}".strip("-"))[:40]


def window(source: Source, plan: SourcePlan) -> tuple[int, int]:
    """A window for slices or images: the median size of a few cases, rounded up to a multiple of 16, at most 256."""
    picked = plan.samples[:: max(1, len(plan.samples) // LOOK_AT)][:LOOK_AT]
    shapes = np.array([source.read(sample).image.shape[1:3] for sample in picked])
    height, width = (
        min(MAX_SIZE, max(2 * STRIDE, int(np.ceil(n / STRIDE)) * STRIDE)) for n in np.median(shapes, axis=0)
    )
    return height, width
