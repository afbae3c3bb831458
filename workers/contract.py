"""What crosses process borders: the order of a leg and what comes back. Frozen and JSON-able, nothing else."""

from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.regions import Regions

JSON = dict[str, Any]
Status = Literal["completed", "stopped", "diverged", "out_of_memory", "failed"]

INHERITED = "inherited"
"""Metric of a first epoch whose leg had to inherit: the share of the parameters that did, 0 where there was nothing to take."""


@dataclass(frozen=True, slots=True)
class DataView:
    """Which data set a search reads, and as what.

    Attributes:
        dataset: Path or ``s3://bucket/prefix`` of an ingested data set.
        digest: Content digest that the search is bound to; another content is refused.
        view: ``slices`` of volumes (2D), ``patches`` of volumes (3D), or ``images`` (2D).
        size: Network input size in pixels or voxels, (H, W) or (D, H, W).
        batch: Samples a step.
        epoch_samples: Samples an epoch; None means every slice or image once.
        regions: What is learned instead of classes: one logit a region. Empty means the classes.
        adjacent_slices: Slices on either side of a slice that the network sees as further channels ("2.5D"); ``slices`` only.
    """

    dataset: str
    digest: str
    view: Literal["slices", "patches", "images"]
    size: tuple[int, ...]
    batch: int
    epoch_samples: int | None = None
    regions: Regions = ()
    adjacent_slices: int = 0

    def num_outputs(self, num_classes: int) -> int:
        """Channels of the logits: one a region, else one a class."""
        return len(self.regions) or num_classes

    @property
    def slices_seen(self) -> int:
        """Slices that the network sees at once: one, and those beside it."""
        return 1 + 2 * self.adjacent_slices

    def num_inputs(self, num_channels: int) -> int:
        """Channels that the network sees, of images with so many: those of each slice in turn."""
        return num_channels * self.slices_seen

    def seen_with(self, depth: int, depths: int) -> list[int]:
        """The slices of a volume that are seen as one sample, in order; beyond its ends the last slice is seen again."""
        around = range(depth - self.adjacent_slices, depth + self.adjacent_slices + 1)
        return [min(max(near, 0), depths - 1) for near in around]


@dataclass(frozen=True, slots=True)
class Leg:
    """One piece of work for a slot. Frozen and JSON-able: it crosses process borders.

    Attributes:
        search: Name of the search.
        trial: Number of the trial within the search.
        fence: Number of this hand-out, unique and growing in a search; results of an older one are refused.
        candidate: The candidate as JSON (``search_spaces.candidate.to_json``).
        seed: Seed of the trial; every generator derives from it.
        first_epoch: Epochs already done; 0 starts anew.
        last_epoch: The leg ends after this epoch (inclusive count of epochs done).
        max_epochs: Length of the trial's full training, which schedules refer to.
        checkpoint: Location of the committed checkpoint at ``first_epoch``; None when it is 0.
        data: What to train on.
        storage: Folder or ``s3://`` prefix under which checkpoints go.
        split: Split that is scored after each epoch.
        scoring_share: Of the leg's time that scoring may take; an epoch that comes too early for that is not scored and reports
            no scores, but the leg's last one always is. 1 scores each.
        threads: CPU threads of the slot.
        device: ``cpu`` or ``cuda``.
        per_card: Trials that share the card.
        loader_workers: Processes that prepare batches; results do not depend on it.
        micro_batches: Parts into which each batch is cut so that it needs less memory; their gradients are summed.
        plugins: Modules to import first, for a user's own entries.
        measures: What is measured beside the confusion matrix (``workers/measure.py``).
        latency: Whether the time for one window is measured after each epoch, as the metric ``latency_ms``.
        precision: ``chosen`` trains in the recipe's precision; ``measured`` in the one that makes the trial's steps faster: its
            first leg finds out, its checkpoints hold it (``workers/precision.py``).
        inherit: Location of a committed checkpoint of another trial, with whose weights a trial at epoch 0 begins as far as the
            two networks are alike; None for its own.
    """

    search: str
    trial: int
    fence: int
    candidate: JSON
    seed: int
    first_epoch: int
    last_epoch: int
    max_epochs: int
    checkpoint: str | None
    data: DataView
    storage: str
    split: str = "validation"
    scoring_share: float = 1.0
    threads: int = 1
    device: str = "cpu"
    per_card: int = 1
    loader_workers: int = 0
    micro_batches: int = 1
    plugins: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    latency: bool = False
    precision: Literal["chosen", "measured"] = "chosen"
    inherit: str | None = None


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What a worker reports when an epoch is done and its checkpoint committed.

    Attributes:
        epoch: Epochs done, 1-based.
        loss: Mean training loss of the epoch.
        metrics: Scores of the evaluated split by name: ``dice``, ``miou``, ``dice/<class>``, ... fractions in [0, 1],
            distances in mm, ``latency_ms`` in milliseconds; a metric that is not defined (0/0) is absent, and every score of an
            epoch that was not scored.
        seconds: Wall time of the epoch, evaluation and checkpoint included.
        train_seconds: Wall time of the training steps alone.
        at: Unix time at which the worker finished the epoch; stamped once, here.
        checkpoint: Location of the committed checkpoint.
    """

    search: str
    trial: int
    fence: int
    epoch: int
    loss: float
    metrics: dict[str, float]
    seconds: float
    train_seconds: float
    at: float
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LegResult:
    """How a leg ended.

    Attributes:
        status: ``completed`` reached its last epoch; ``stopped`` was asked to end early; ``diverged`` met a loss that is
            not finite; ``out_of_memory`` and ``failed`` speak for themselves.
        epoch: Epochs done when it ended.
        seconds: Wall time of the whole leg, start-up and loading included.
        message: One line for the user; the traceback of a failure follows after a newline.
    """

    search: str
    trial: int
    fence: int
    status: Status
    epoch: int
    seconds: float
    at: float
    message: str = ""
