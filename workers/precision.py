"""Precision by measurement: a trial trains in whichever precision makes its own steps faster on its own device.

Half precision is not always faster: a small network waits for its launches, to which autocast adds casts, and a processor
without the instructions emulates them, 9 to 25 times slower. So a few steps are timed in each precision, on a network that is
thrown away, before the training begins. Nothing of the training depends on that but the choice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from search_spaces.candidate import Candidate
from workers.batches import TrainingSet, batches
from workers.trainer import Precision, build_trainer

STEPS = 3  # timed in each precision, after one that warms up; the fastest counts
FASTER = 1.05  # so many times as fast as fp32 another precision must be: less is noise
HOPELESS = 2.0  # so many times as slow in its first timed step, it is not tried again

BF16 = "bf16"
"""Metric of the first epoch of a trial whose precision was measured: 1 where it trains in bf16, 0 where in fp32."""
STEP_MS: Mapping[Precision, str] = {"fp32": "step_ms/fp32", "bf16": "step_ms/bf16"}
"""Metrics of that epoch: milliseconds of a step in each precision that was timed."""
MEASURED = (BF16, *STEP_MS.values())


@dataclass(frozen=True, slots=True)
class Measured:
    """A choice and what it rests on.

    Attributes:
        precision: In what to train.
        step_s: Seconds of the fastest step in each precision that was timed; none where only fp32 is computed.
    """

    precision: Precision
    step_s: Mapping[Precision, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """What the first epoch tells of it."""
        times = {STEP_MS[precision]: 1000 * seconds for precision, seconds in self.step_s.items()}
        return {BF16: float(self.precision == "bf16"), **times}


def has_fast_bf16() -> bool:
    """Whether the cores of this machine compute in bf16 rather than emulating it."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def measure(step: Callable[[Precision], float]) -> Measured:
    """Choose by steps in turns, so that what else the machine does hits both.

    Args:
        step: Does a step in a precision; its seconds.
    """
    for precision in STEP_MS:
        step(precision)
    times: dict[Precision, float] = {}
    for count in range(STEPS):
        for precision in STEP_MS:
            times[precision] = min(times.get(precision, float("inf")), step(precision))
        if count == 0 and times["bf16"] > HOPELESS * times["fp32"]:
            break
    return Measured("bf16" if times["bf16"] * FASTER <= times["fp32"] else "fp32", times)


def measure_training(
    candidate: Candidate,
    training: TrainingSet,
    *,
    in_channels: int,
    num_classes: int,
    max_epochs: int,
    device: str,
    micro_batches: int,
) -> Measured:
    """Choose for a training, which this leaves as it would be: weights, optimiser, batches and generators are a copy's.

    Cores that emulate bf16 are not asked. Arguments as for ``build_trainer``.
    """
    if device == "cpu" and not has_fast_bf16():
        return Measured("fp32")
    spare = build_trainer(
        candidate,
        training,
        in_channels=in_channels,
        num_classes=num_classes,
        max_epochs=max_epochs,
        device=device,
        micro_batches=micro_batches,
    )
    batch = next(batches(training, range(1, 2)))
    return measure(lambda precision: spare.time_step(batch, precision))
