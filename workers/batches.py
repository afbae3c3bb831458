"""Training batches: a pure function of (seed, epoch, step), whoever computes them.

So the order, the crops and the augmentation are the same with any number of loader processes and ranks, and after a resume
at any step, whose whole state is (epoch, step).
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from search_spaces.recipe import Augmentation
from search_spaces.scores import Need
from workers.augmentation import augment
from workers.bricks import Bricks
from workers.contract import DataView
from workers.distance_maps import label_maps
from workers.errors import DataError
from workers.places import Places, places_of_classes
from workers.preprocessing import (
    FloatArray,
    LabelArray,
    Pixels,
    Prepared,
    Scaling,
    prepared_axes,
)
from workers.seeding import generator

Pixel = TypeVar("Pixel", bound=np.generic)
Batch = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Images (N, C, *size) float32, labels (N, *size) int64, and the maps of the labels that the loss needs."""

# Share of windows around a pixel of a drawn class other than the first, where a case exceeds the window (nnU-Net: 0.33).
FOREGROUND_SHARE = 1 / 3
LOADER_S = 300  # a loader process that is silent for so long is stuck: the leg fails and is tried again


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Prepared training cases and how they are cut into samples.

    Attributes:
        cases: Labelled training cases, sorted by id.
        view: Size, batch and kind of the samples.
        augmentation: From the candidate's recipe.
        symmetries: Stored spatial axes along which a flip keeps the labels right.
        ignore_index: Label of padding.
        seed: Seed of the trial.
        needs: What the candidate's loss needs beside logits and labels; maps of the labels are made with each batch.
        num_classes: Number of classes; matters for those maps only.
        spacing: Size of a pixel of a sample along each axis, in mm or 1: one for all cases (see ``sample_spacing``).
        rank, ranks: This process is one of several that train together: of each batch of ``view.batch`` samples it prepares
            the ``view.batch / ranks`` from ``rank * view.batch / ranks`` on. In the order of the ranks the parts are the batch
            that one process would make, bit for bit.
    """

    cases: Sequence[Prepared]
    view: DataView
    augmentation: Augmentation
    symmetries: tuple[int, ...]
    ignore_index: int
    seed: int
    needs: frozenset[Need] = frozenset()
    num_classes: int = 0
    spacing: tuple[float, ...] = ()
    rank: int = 0
    ranks: int = 1
    _starts: tuple[int, ...] = field(
        init=False, repr=False
    )  # first unit of each case, then the number of units

    def __post_init__(self) -> None:
        slices = self.view.view == "slices"
        counts = (
            (case.pixels.shape[-1] for case in self.cases) if slices else itertools.repeat(1, len(self.cases))
        )
        object.__setattr__(self, "_starts", (0, *itertools.accumulate(counts)))
        if self.num_samples < self.view.batch:
            raise DataError(
                f"data.batch: {self.view.batch} samples a step, but an epoch has {self.num_samples}; lower it."
            )
        if self.ranks < 1 or self.view.batch % self.ranks:
            raise DataError(
                f"data.batch: {self.view.batch} samples a step cannot be shared evenly by {self.ranks} ranks; take a multiple "
                "of the ranks."
            )
        if not 0 <= self.rank < self.ranks:
            raise DataError(f"rank: {self.rank} of {self.ranks} ranks; allowed are 0 to {self.ranks - 1}.")

    @property
    def units(self) -> int:
        """Slices, or whole images and volumes, that can be drawn from."""
        return self._starts[-1]

    @property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return self.view.epoch_samples or self.units

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch; what does not fill a last batch comes first in the next epoch."""
        return self.num_samples // self.view.batch

    def with_maps(self, epoch: int, step: int) -> Batch:
        """One batch, with the maps of its augmented labels."""
        images, labels = self.batch(epoch, step)
        maps = label_maps(
            labels,
            self.needs,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
            spacing=self.spacing or (1.0,) * len(self.view.size),
            regions=self.view.regions,
        )
        return images, labels, maps

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """One batch, or this rank's part of it.

        Shape:
            images (N, C, *size) float32, C as of ``view.num_inputs``; labels (N, *size) int64; N is ``view.batch / ranks``.
        """
        share = self.view.batch // self.ranks
        first = step * self.view.batch + self.rank * share
        positions = range(first, first + share)
        used = self.steps * self.view.batch
        order = epoch_order(self.seed, epoch, self.view.digest, units=self.units, samples=used)
        generators = [generator(self.seed, "sample", epoch, position) for position in positions]
        images = labels = torch.empty(0)
        for place, (position, g) in enumerate(zip(positions, generators, strict=True)):
            window, known = self._sample(int(order[position]), g)
            image, label = augment(
                torch.from_numpy(window),
                torch.from_numpy(known),
                self.augmentation,
                generator=g,
                ignore_index=self.ignore_index,
                repeats=self.view.slices_seen,
            )
            if place == 0:
                images, labels = (part.new_empty(len(positions), *part.shape) for part in (image, label))
            images[place], labels[place] = image, label
        return images, labels

    def _sample(self, unit: int, g: np.random.Generator) -> tuple[FloatArray, LabelArray]:
        number = bisect_right(self._starts, unit) - 1
        case = self.cases[number]
        pixels, labels, places = case.pixels, case.labels, case.foreground
        assert labels is not None
        parts = [pixels]
        if self.view.view == "slices":
            depth = unit - self._starts[number]
            parts = [pixels[..., near] for near in self.view.seen_with(depth, pixels.shape[-1])]
            labels, places = labels[..., depth], None
        offsets = _offsets(labels, self.view.size, g, places, ignore_index=self.ignore_index)
        image = cut_all(parts, self.view.size, offsets, change=case.scaling)
        labels = cut(labels, self.view.size, offsets, fill=np.uint8(self.ignore_index))
        if self.augmentation.flip:
            for axis in prepared_axes(case.undo.orientation, self.symmetries):
                if axis < labels.ndim and g.random() < 0.5:
                    image, labels = np.flip(image, axis + 1), np.flip(labels, axis)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def epoch_order(seed: int, epoch: int, digest: str, *, units: int, samples: int) -> npt.NDArray[np.int64]:
    """Units of an epoch in order: shuffled passes over all units, cut to the epoch's length.

    Shorter epochs go on where a pass was cut: epoch e (1-based) takes positions [(e - 1) * samples, e * samples) of an
    endless row of shuffled passes, so that every unit is seen equally often.
    """
    first, last = (epoch - 1) * samples, epoch * samples
    passes = range(first // units, (last - 1) // units + 1)
    row = np.concatenate([generator(seed, "order", digest, number).permutation(units) for number in passes])
    start = first - passes.start * units
    return row[start : start + samples]


def batches(
    training: TrainingSet,
    epochs: range,
    *,
    first_step: int = 0,
    loader_workers: int = 0,
    pinned: bool = False,
) -> Iterator[Batch]:
    """The batches of some epochs (1-based) in order, prepared here or by loader processes; the same either way.

    Loader processes live until the last epoch, and work ahead while an epoch is scored.

    Args:
        first_step: Where the first of the epochs begins, from 0: how many of its steps are done. Nothing of them is prepared.
        loader_workers: Processes; 0 prepares each batch when it is asked for.
        pinned: Keep what they prepared in page-locked memory, from where it travels to a card beside the training.

    Raises:
        DataError: The epoch has no such step.
    """
    if not 0 <= first_step <= training.steps:
        raise DataError(
            f"first_step: {first_step}; allowed are 0 to {training.steps}, the steps of an epoch."
        )
    steps = _Steps(training, epochs, first_step)
    if loader_workers == 0:
        return (steps[index] for index in range(len(steps)))
    return _loaded(steps, loader_workers, pinned)


def _loaded(steps: "_Steps", loader_workers: int, pinned: bool) -> Iterator[Batch]:
    loader = DataLoader(
        steps,
        batch_size=None,
        shuffle=False,
        num_workers=loader_workers,
        pin_memory=pinned,
        timeout=LOADER_S,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # or it draws a number from the global one, which dropout uses
    )
    yield from loader


def sample_spacing(cases: Sequence[Prepared], view: DataView) -> tuple[float, ...]:
    """Size of a pixel of a sample along each axis: the median over cases in mm, or 1 where a case has none.

    One for all, because a batch holds samples of several cases, and a loss compares their distances.
    """
    known = [case.spacing[: len(view.size)] for case in cases if case.spacing is not None]
    if not known or len(known) < len(cases):
        return (1.0,) * len(view.size)
    return tuple(float(step) for step in np.median(np.array(known), axis=0))


def cut(
    image: Pixels,
    size: Sequence[int],
    offsets: Sequence[int],
    *,
    fill: Pixel,
    change: Scaling | None = None,
) -> npt.NDArray[Pixel]:
    """A window of an image, padded where it reaches outside.

    Args:
        image: (*S), or (C, *S).
        size: Window size.
        offsets: First index of the window on each axis; may be negative.
        fill: Value outside; the window has its type.
        change: What happens to the part inside.
    """
    channels = image.shape[: len(image.shape) - len(size)]
    window = np.empty((*channels, *size), type(fill))
    source, target = [slice(None)] * len(channels), [slice(None)] * len(channels)
    for length, wanted, offset in zip(image.shape[len(channels) :], size, offsets, strict=True):
        first, last = max(offset, 0), min(offset + wanted, length)
        source.append(slice(first, last))
        target.append(slice(first - offset, last - offset))
    inside, place = image[tuple(source)], window[tuple(target)]
    if place.shape != window.shape:
        window[...] = fill
    if change is None:
        place[...] = inside
    else:
        change(inside, out=place)
    return window


def cut_all(
    images: Sequence[Pixels], size: Sequence[int], offsets: Sequence[int], *, change: Scaling | None = None
) -> FloatArray:
    """The same window of several images, (C, *S) each, their channels one image after another; 0 outside."""
    windows = [cut(image, size, offsets, fill=np.float32(0), change=change) for image in images]
    return windows[0] if len(windows) == 1 else np.concatenate(windows)


def _offsets(
    labels: LabelArray | Bricks,
    size: Sequence[int],
    g: np.random.Generator,
    places: Places | None,
    *,
    ignore_index: int,
) -> list[int]:
    """Window position: centred where the window is larger, else random or around a pixel of a drawn class."""
    shape = labels.shape
    if all(n <= s for n, s in zip(shape, size, strict=True)):
        return [(n - s) // 2 for n, s in zip(shape, size, strict=True)]
    centre: list[int] | None = None
    if g.random() < FOREGROUND_SHARE:
        where = _places_of_a_class(labels, g, places, ignore_index=ignore_index)
        if where is not None:
            centre = [int(i) for i in np.unravel_index(int(where[int(g.integers(len(where)))]), shape)]
    offsets = []
    for axis, (n, s) in enumerate(zip(shape, size, strict=True)):
        if n <= s:
            offsets.append((n - s) // 2)
        elif centre is not None:
            offsets.append(int(np.clip(centre[axis] - s // 2, 0, n - s)))
        else:
            offsets.append(int(g.integers(n - s + 1)))
    return offsets


def _places_of_a_class(
    labels: LabelArray | Bricks, g: np.random.Generator, places: Places | None, *, ignore_index: int
) -> npt.NDArray[np.int64] | None:
    """Flat positions of a drawn class, one of those that ``places_of_classes`` lists; None where there is none."""
    if places is not None:
        known = places
    elif labels.ndim == 2:  # to list the places of all classes costs ten times as much
        counts = np.bincount(np.asarray(labels).reshape(-1), minlength=256)
        found = [int(index) for index in np.flatnonzero(counts) if index not in (0, ignore_index)]
        return np.flatnonzero(labels == found[int(g.integers(len(found)))]) if found else None
    else:
        known = places_of_classes(np.asarray(labels), ignore_index=ignore_index)
    return list(known.values())[int(g.integers(len(known)))] if known else None


class _Steps(Dataset[Batch]):
    def __init__(self, training: TrainingSet, epochs: range, first_step: int) -> None:
        self.training, self.epochs, self.first_step = training, epochs, first_step

    def __len__(self) -> int:
        return max(0, len(self.epochs) * self.training.steps - self.first_step)

    def __getitem__(self, index: int) -> Batch:
        epoch, step = divmod(self.first_step + index, self.training.steps)
        return self.training.with_maps(self.epochs[epoch], step)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
