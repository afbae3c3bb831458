"""What is known of a candidate before a worker is used: its size, its memory, and its zero-cost score."""

from collections.abc import Callable, Mapping

from orchestrator.engine.screening import Screening
from orchestrator.job import Job
from search_spaces.candidate import Candidate
from search_spaces.errors import SpaceError
from search_spaces.memory import training_bytes
from search_spaces.profile import profile
from search_spaces.zero_cost import score_of
from workers.precision import STEP_MS


def make_gate(
    in_channels: int,
    num_classes: int,
    size: tuple[int, ...],
    *,
    batch: int | None = None,
    measured: bool = False,
) -> Callable[[Candidate], Mapping[str, float] | str]:
    """What is known of a candidate before training: its parameters and MACs, or why it cannot be built.

    With a batch also the memory of a step, which takes longer to tell than the rest, so that only its limit asks for it; where
    the precision is measured, that of the worst, as all are tried.
    """

    def gate(candidate: Candidate) -> Mapping[str, float] | str:
        try:
            numbers = profile(
                candidate.architecture, in_channels=in_channels, num_classes=num_classes, input_size=size
            )
        except SpaceError as error:
            return str(error)
        known = {"parameters": float(numbers.parameters), "macs": float(numbers.macs)}
        if batch is None:
            return known
        memory = max(
            training_bytes(
                candidate.architecture,
                in_channels=in_channels,
                num_classes=num_classes,
                input_size=size,
                batch=batch,
                precision=precision,
            )
            for precision in (STEP_MS if measured else (candidate.recipe.precision,))
        )
        return known | {"memory_bytes": float(memory)}

    return gate


def make_screening(job: Job, in_channels: int, num_classes: int, size: tuple[int, ...]) -> Screening | None:
    """The job's screening with its score, of a network at its random start."""
    asked = job.search.screening
    if asked is None:
        return None

    def measure(candidate: Candidate) -> float:
        return score_of(
            asked.score,
            candidate.architecture,
            in_channels=in_channels,
            num_classes=num_classes,
            input_size=size,
        )

    return Screening(asked.score, asked.drop, asked.among, measure)
