"""Training state of one candidate and one epoch of it."""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, assert_never, cast

import torch
from torch import Tensor, nn

from search_spaces.candidate import Candidate
from search_spaces.errors import SpaceError
from search_spaces.network import Network as SegmentationNetwork
from search_spaces.network import build_model
from search_spaces.recipe import Recipe
from search_spaces.region_loss import region_gradient_norms, region_labels, region_loss
from search_spaces.scores import LossExtras, Need
from workers.adversary import Adversary, build_adversary
from workers.batches import Batch, TrainingSet, batches
from workers.distance_maps import prediction_maps, signed_distances_of
from workers.errors import DivergedError
from workers.inference import Network
from workers.seeding import derive_seed

Precision = Literal["fp32", "bf16"]

CLIP_NORM = 12.0  # nnU-Net's value; stops single steps, leaves normal ones alone
MOMENTUM = 0.9
CHECK_STEPS = 32
NORMS = "loss/norms"
WARM_UP = 50  # steps in which the gradients of a loss's terms are measured
NOISE = 0.1  # of the second prediction's image, relative to the deviation of grey values
POLY_POWER = 0.9  # Chen et al. 2017, DeepLabV3, section 4
GIVEN: frozenset[Need] = frozenset(
    {"distance", "neighbours", "objects", "image", "prediction_distance", "second", "critic", "detection"}
)
"""What training gives to losses."""


@dataclass(slots=True)
class Trainer:
    """Everything that changes while a candidate trains.

    Attributes:
        model: The network.
        average: Moving average of its weights, or None.
        optimiser: Its optimiser.
        candidate: What is trained.
        training: Where batches come from.
        max_epochs: Length of the full training, which the schedule refers to.
        device: Where it runs.
        micro_batches: Parts into which a batch is cut; the gradient is the mean over its samples all the same. What depends on
            the samples of a batch together (batch norm, a Dice over the batch) sees those of a part.
        adversary: The critic of an adversarial term, or None.
        norms: For a loss that balances gradients: the sum of each term's norm over the first ``WARM_UP`` steps, (T,), on the
            device; None for others.
        precision: In which the network computes; its weights and the loss are in fp32 always.
    """

    model: SegmentationNetwork
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    candidate: Candidate
    training: TrainingSet
    max_epochs: int
    device: torch.device
    micro_batches: int = 1
    norms: Tensor | None = None
    adversary: Adversary | None = None
    precision: Precision = "fp32"

    @property
    def network(self) -> Network:
        """The network that is evaluated and exported, in evaluation mode; takes windows from any device."""
        model = (self.model if self.average is None else self.average).eval()
        return lambda windows: cast(Tensor, model(windows.to(self.device)))

    def loss_state(self) -> dict[str, Tensor]:
        """What the loss needs in a checkpoint, by name; nothing for most losses."""
        norms = {} if self.norms is None else {NORMS: self.norms.clone()}
        return norms if self.adversary is None else norms | self.adversary.packed()

    def load_loss_state(self, tensors: dict[str, Tensor]) -> None:
        """Take it from a checkpoint."""
        if self.norms is not None:
            self.norms.copy_(tensors[NORMS])
        if self.adversary is not None:
            self.adversary.load(tensors)

    def train_epoch(self, epoch: int, source: Iterator[Batch] | None = None) -> float:
        """Train one epoch (1-based) and return its mean loss.

        Args:
            source: Where its batches come next; by default they are prepared as they are needed.

        Raises:
            DivergedError: A loss or a gradient that is not finite, at the latest after ``CHECK_STEPS`` more steps and before
                the epoch counts. To look at each at once would make a card wait for the host after every step.
        """
        recipe = self.candidate.recipe
        self.model.train()
        steps = self.training.steps
        values: list[Tensor] = []  # loss and norm of the gradient, by step
        source = source or batches(self.training, range(epoch, epoch + 1))
        with _seeded(derive_seed(self.training.seed, "epoch", epoch)):
            for step in range(steps):
                images, labels, maps = next(source)
                done = ((epoch - 1) * steps + step) / (self.max_epochs * steps)
                for group in self.optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * schedule_factor(recipe, done)
                values.append(self._step(images, labels, self._extras(done, maps)))
                self._update_average((epoch - 1) * steps + step)
                if (step + 1) % CHECK_STEPS == 0 or step + 1 == steps:
                    _check_finite(values, epoch)
        return float(torch.stack(values)[:, 0].double().mean())

    def time_step(self, batch: Batch, precision: Precision) -> float:
        """Seconds of a step in a precision; the trainer is of no use for a training afterwards."""
        self.precision = precision
        self.model.train()
        images, labels, maps = batch
        with _seeded(derive_seed(self.training.seed, "precision")):
            started = time.perf_counter()
            self._step(images, labels, self._extras(0.0, maps)).tolist()  # which waits for a card
            return time.perf_counter() - started

    def _extras(self, fraction: float, maps: Mapping[str, Tensor]) -> LossExtras:
        """What a loss may look at, of the maps of a batch's labels."""
        distance, neighbours, objects = (maps.get(name) for name in ("distance", "neighbours", "objects"))
        return LossExtras(
            fraction, self.training.spacing, distance=distance, neighbours=neighbours, objects=objects
        )

    def _step(self, images: Tensor, labels: Tensor, extras: LossExtras) -> Tensor:
        """One step of the optimiser; its loss and the norm of its gradient, on the device."""
        self.optimiser.zero_grad(set_to_none=True)
        parts = zip(
            images.tensor_split(self.micro_batches),
            labels.tensor_split(self.micro_batches),
            extras.split(self.micro_batches),
            strict=True,
        )
        losses = [self._backward(*part, share=len(part[0]) / len(images)) for part in parts]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimiser.step()
        return torch.stack([torch.stack(losses).sum(), norm.detach()])

    def _backward(self, images: Tensor, labels: Tensor, extras: LossExtras, *, share: float) -> Tensor:
        """Add the gradient of a part of a batch; its share of the batch's loss."""
        images, labels = _to_device(images, self.device), labels.to(self.device, non_blocking=True)
        extras = self._with_needs(extras.to(self.device), images, labels)
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if bf16 else nullcontext():
            outputs, extras = self._outputs(images, extras)
        if self.norms is not None and extras.fraction < self._warm_up:
            self.norms += share * self._gradient_norms(outputs[0][0], labels, extras)
        loss = self._loss(outputs[0][0], labels, extras) * share
        total = loss
        for logits, weight in outputs[1:]:
            total = total + weight * share * self._loss(logits, labels, extras)
        total.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        if self.adversary is not None:
            ignored, regions = self.training.ignore_index, self.training.view.regions
            self.adversary.step(images, outputs[0][0], labels, ignore_index=ignored, regions=regions)
        return loss.detach()

    def _outputs(self, images: Tensor, extras: LossExtras) -> tuple[list[tuple[Tensor, float]], LossExtras]:
        """Logits of all heads with their weights, and extras with what else comes out of the network."""
        if "detection" in self.candidate.loss.needs:  # which looks at no logits
            blank = images.new_zeros(len(images), self.training.num_classes, *images.shape[2:])
            return [(blank, 1.0)], replace(extras, detection=self.model.object_losses(images))
        outputs = self.model.training_logits(images)
        if "second" in self.candidate.loss.needs:
            extras = replace(extras, second=self._second(images))
        return outputs, extras

    def _with_needs(self, extras: LossExtras, images: Tensor, labels: Tensor) -> LossExtras:
        """Extras with what the loss needs beside the maps of the labels that came with the batch."""
        needs, spacing = self.candidate.loss.needs, extras.spacing or (1.0,) * (images.ndim - 2)
        distance = extras.distance
        if "distance" in needs and self.device.type == "cuda":
            distance = self._signed_distances(labels, spacing)
        return replace(
            extras,
            distance=distance,
            image=self._of_slice(images) if "image" in needs else None,
            distances=prediction_maps(spacing) if "prediction_distance" in needs else None,
            critic=self.adversary.critic if self.adversary else None,
        )

    def _of_slice(self, images: Tensor) -> Tensor:
        """The channels that belong to the labels, without those of the slices beside."""
        view = self.training.view
        return images.chunk(view.slices_seen, dim=1)[view.adjacent_slices]

    @torch.no_grad()
    def _second(self, images: Tensor) -> Tensor:
        """Logits of the images with noise and flipped along their last axis, flipped back; no gradient goes through them."""
        noisy = images + NOISE * images.std() * torch.randn_like(images)
        logits: Tensor = self.model(noisy.flip(-1)).flip(-1)
        return logits

    def _signed_distances(self, labels: Tensor, spacing: tuple[float, ...]) -> Tensor:
        """Maps (N, K, *S) of the labels, or (N, R, 2, *S) where regions are learned, on the card."""
        ignored, regions = self.training.ignore_index, self.training.view.regions
        if not regions:
            return signed_distances_of(
                labels, num_classes=self.training.num_classes, ignore_index=ignored, spacing=spacing
            )
        inside = region_labels(labels, regions, ignore_index=ignored)
        maps = signed_distances_of(inside.flatten(0, 1), num_classes=2, ignore_index=ignored, spacing=spacing)
        return maps.view(len(labels), len(regions), *maps.shape[1:])

    def _loss(self, logits: Tensor, labels: Tensor, extras: LossExtras) -> Tensor:
        loss, regions, ignored = self.candidate.loss, self.training.view.regions, self.training.ignore_index
        if not regions:
            return loss(logits, labels, ignore_index=ignored, extras=extras, norms=self.norms)
        return region_loss(
            loss, logits, labels, regions, ignore_index=ignored, extras=extras, norms=self.norms
        )

    def _gradient_norms(self, logits: Tensor, labels: Tensor, extras: LossExtras) -> Tensor:
        loss, regions, ignored = self.candidate.loss, self.training.view.regions, self.training.ignore_index
        if not regions:
            return loss.gradient_norms(logits, labels, ignore_index=ignored, extras=extras)
        return region_gradient_norms(loss, logits, labels, regions, ignore_index=ignored, extras=extras)

    @property
    def _warm_up(self) -> float:
        """Share of the training in which norms of gradients are measured."""
        return WARM_UP / (self.max_epochs * self.training.steps)

    def _update_average(self, step: int) -> None:
        if self.average is None:
            return
        decay = min(self.candidate.recipe.average, (1 + step) / (10 + step))  # short memory at the start
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
            for buffer, latest in zip(self.average.buffers(), self.model.buffers(), strict=True):
                buffer.copy_(latest)


def build_trainer(
    candidate: Candidate,
    training: TrainingSet,
    *,
    in_channels: int,
    num_classes: int,
    max_epochs: int,
    device: str = "cpu",
    micro_batches: int = 1,
) -> Trainer:
    """A trainer at epoch 0; the initial weights are a function of the trial's seed.

    Raises:
        SpaceError: The loss looks at objects of classes where regions are learned.
    """
    if training.view.regions and not candidate.loss.of_logits:
        raise SpaceError(
            "loss: detection looks at objects of classes, and regions are learned here; leave out data.regions, or choose "
            "another loss and decoder."
        )
    place = torch.device(device)
    outputs = training.view.num_outputs(num_classes)
    model = build_model(
        candidate.architecture,
        in_channels=in_channels,
        num_classes=outputs,
        ndim=len(training.view.size),
        seed=derive_seed(training.seed, "weights"),
    ).to(place)
    if len(training.view.size) == 2:
        model = model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False) if candidate.recipe.average else None
    optimiser = build_optimiser(model, candidate.recipe)
    balanced = candidate.loss.balance == "gradients"
    norms = torch.zeros(len(candidate.loss.terms), device=place) if balanced else None
    adversary = None
    if "critic" in candidate.loss.needs:
        seed, ndim = derive_seed(training.seed, "critic"), len(training.view.size)
        adversary = build_adversary(in_channels, outputs, ndim=ndim, seed=seed, device=place)
    return Trainer(
        model,
        average,
        optimiser,
        candidate,
        training,
        max_epochs,
        place,
        micro_batches,
        norms,
        adversary,
        candidate.recipe.precision,
    )


def build_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Optimiser of a recipe; norms and biases are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match recipe.optimiser:
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.learning_rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True)
        case _:
            assert_never(recipe.optimiser)


def schedule_factor(recipe: Recipe, done: float) -> float:
    """Learning rate over its peak after a fraction ``done`` of the full training, in [0, 1]."""
    if done < recipe.warmup:
        return done / recipe.warmup
    rest = (done - recipe.warmup) / (1 - recipe.warmup)
    match recipe.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * rest))
        case "poly":
            return float((1 - rest) ** POLY_POWER)
        case _:
            assert_never(recipe.schedule)


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    if images.ndim == 4:
        return images.to(device, non_blocking=True, memory_format=torch.channels_last)
    return images.to(device, non_blocking=True)


def _check_finite(values: list[Tensor], epoch: int) -> None:
    first = max(0, len(values) - CHECK_STEPS)
    for step, numbers in enumerate(torch.stack(values[first:]).tolist(), start=first + 1):
        for what, number in zip(("loss", "norm of the gradient"), numbers, strict=True):
            if not math.isfinite(number):
                raise DivergedError(f"the {what} became {number} in epoch {epoch}, step {step}.")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's own generator (dropout) seeded for a while, then as it was."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
