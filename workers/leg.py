"""A leg: one candidate trained from epoch a to epoch b by one process. The page to read."""

import importlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from search_spaces.candidate import Candidate, from_json
from workers.batches import Batch, TrainingSet, batches, sample_spacing
from workers.checkpoint import checkpoint_prefix, load_checkpoint, pack, save_checkpoint, unpack
from workers.contract import INHERITED, EpochResult, Leg, LegResult, Status
from workers.data.dataset import Dataset, open_dataset
from workers.distance_maps import made_by_loader
from workers.errors import CheckpointError, DivergedError
from workers.evaluate import class_names, evaluate
from workers.inheritance import Start, start_from
from workers.latency import LATENCY, latency_ms
from workers.measure import measures
from workers.picture import save_picture
from workers.precision import Measured, measure_training
from workers.prepared_cases import PreparedCases, bricks_for
from workers.preprocessing import Prepared, fit
from workers.trainer import Trainer, build_trainer

Report = Callable[[EpochResult], None]
ShouldStop = Callable[[], bool]


def run_leg(leg: Leg, report: Report, should_stop: ShouldStop) -> LegResult:
    """Train one leg to its end and say how it ended. Nothing that happens inside escapes: it becomes a status.

    Args:
        leg: What to train.
        report: Called after each epoch, once its checkpoint is committed.
        should_stop: Asked after each epoch; True ends the leg early.
    """
    started = time.perf_counter()
    epoch = leg.first_epoch
    status: Status = "completed"
    message = ""
    try:
        work = open_work(leg)
        message = "" if work.start is None else work.start.remark
        while epoch < leg.last_epoch:
            report(run_epoch(work, epoch + 1))
            epoch += 1
            if epoch < leg.last_epoch and should_stop():
                status, message = "stopped", f"asked to stop after epoch {epoch}"
                break
        save_picture(leg, work.dataset, work.trainer.network, work.scored)
    except DivergedError as error:
        status, message = "diverged", str(error)
    except Exception as error:  # the border of a trial: the one place where everything is caught
        status = "out_of_memory" if is_out_of_memory(error) else "failed"
        message = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    return LegResult(
        leg.search, leg.trial, leg.fence, status, epoch, time.perf_counter() - started, time.time(), message
    )


@dataclass(slots=True)
class Pace:
    """Wall seconds of the epochs of a leg so far, and of scoring in them."""

    total_s: float = 0.0
    scoring_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a leg holds while it runs: the trainer at its first epoch, its batches in order, the cases that are scored.

    ``start`` says how a trial began that had to inherit, ``measured`` in which precision one trains that began by measuring,
    ``pace`` how long its epochs took.
    """

    leg: Leg
    dataset: Dataset
    trainer: Trainer
    batches: Iterator[Batch]
    scored: Sequence[Prepared]
    start: Start | None = None
    measured: Measured | None = None
    pace: Pace = field(default_factory=Pace)


def open_work(leg: Leg) -> Work:
    """Build data, network and optimiser of a leg, and load its checkpoint."""
    torch.set_num_threads(leg.threads)
    for plugin in leg.plugins:
        importlib.import_module(plugin)
    candidate = from_json(Candidate, leg.candidate)
    dataset = open_dataset(leg.data.dataset, digest=leg.data.digest)
    fitted = fit(candidate.preprocessing, dataset.manifest)
    bricks = bricks_for(leg.data)
    cases = PreparedCases(dataset, "train", fitted, bricks=bricks)
    training = TrainingSet(
        cases=cases,
        view=leg.data,
        augmentation=candidate.recipe.augmentation,
        symmetries=dataset.symmetries,
        ignore_index=dataset.manifest.ignore_index,
        seed=leg.seed,
        needs=made_by_loader(candidate.loss.needs, leg.device),
        num_classes=dataset.num_classes,
        spacing=sample_spacing(cases if dataset.ndim == 3 else (), leg.data),
    )
    built: dict[str, Any] = {
        "in_channels": leg.data.num_inputs(dataset.num_channels),
        "num_classes": dataset.num_classes,
        "max_epochs": leg.max_epochs,
        "device": leg.device,
        "micro_batches": leg.micro_batches,
    }
    measures_now = leg.precision == "measured" and leg.checkpoint is None
    measured = measure_training(candidate, training, **built) if measures_now else None
    trainer = build_trainer(candidate, training, **built)
    if measured is not None:
        trainer.precision = measured.precision
    if leg.checkpoint is not None:
        tensors, state = load_checkpoint(leg.checkpoint)
        if state["epoch"] != leg.first_epoch:
            raise CheckpointError(
                f"{leg.checkpoint} holds epoch {state['epoch']}, but the leg begins after epoch {leg.first_epoch}."
            )
        unpack(tensors, trainer.model, trainer.average, trainer.optimiser)
        trainer.load_loss_state(tensors)
        if leg.precision == "measured":
            trainer.precision = state["precision"]
    start = None
    if leg.checkpoint is None and leg.inherit is not None:
        outputs = leg.data.num_outputs(dataset.num_classes)
        start = start_from(leg.inherit, trainer, in_channels=built["in_channels"], num_outputs=outputs)
    ahead = batches(
        training,
        range(leg.first_epoch + 1, leg.last_epoch + 1),
        loader_workers=leg.loader_workers,
        pinned=leg.device == "cuda",
    )
    scored = PreparedCases(dataset, leg.split, fitted, bricks=bricks)
    return Work(leg, dataset, trainer, ahead, scored, start, measured)


def run_epoch(work: Work, epoch: int) -> EpochResult:
    """Train one epoch, score it where its turn has come, commit its checkpoint."""
    leg, trainer, pace = work.leg, work.trainer, work.pace
    started = time.perf_counter()
    loss = trainer.train_epoch(epoch, work.batches)
    trained = time.perf_counter()
    told = {}
    if epoch == leg.last_epoch or pace.scoring_s <= leg.scoring_share * pace.total_s:
        told = _score(work)
    scored = time.perf_counter()
    if work.start is not None and epoch == 1:
        told[INHERITED] = work.start.share
    if work.measured is not None and epoch == 1:
        told |= work.measured.metrics()
    pace.scoring_s += scored - trained
    checkpoint = save_checkpoint(
        leg.storage,
        checkpoint_prefix(leg.trial, leg.fence, epoch),
        pack(trainer.model, trainer.average, trainer.optimiser) | trainer.loss_state(),
        {
            "search": leg.search,
            "trial": leg.trial,
            "epoch": epoch,
            "seed": leg.seed,
            "candidate": leg.candidate,
            "precision": trainer.precision,
        },
    )
    seconds = time.perf_counter() - started
    pace.total_s += seconds
    return EpochResult(
        search=leg.search,
        trial=leg.trial,
        fence=leg.fence,
        epoch=epoch,
        loss=loss,
        metrics=told,
        seconds=seconds,
        train_seconds=trained - started,
        at=time.time(),
        checkpoint=checkpoint,
    )


def _score(work: Work) -> dict[str, float]:
    """Metrics of the network as it is now."""
    leg, network = work.leg, work.trainer.network
    told = evaluate(
        network,
        work.scored,
        replace(leg.data, batch=-(-leg.data.batch // leg.micro_batches)),
        names=class_names(work.dataset),
        ignore_index=work.dataset.manifest.ignore_index,
        measures=measures(leg.measures),
    ).metrics
    if leg.latency:
        shape = (leg.data.num_inputs(work.dataset.num_channels), *leg.data.size)
        told |= {LATENCY: latency_ms(network, shape, device=leg.device)}
    return told


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the machine had too little memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
