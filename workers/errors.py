"""The error tree of ``workers``."""

from collections.abc import Iterable


class WorkerError(ValueError):
    """Something a user gave is wrong; the message says where, what was given, what is allowed and what to do."""


class StoreError(WorkerError):
    """A location that cannot be read or written: its form, its bucket, its credentials or its server."""


class MissingKeyError(StoreError):
    """A store has nothing under this key."""


class DataError(WorkerError):
    """A source folder or a data set is wrong.

    Attributes:
        problems: Everything that is wrong, a sentence each; empty when the message says it all.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  - ".join((message, *self.problems)))

    def __reduce__(self) -> tuple[object, ...]:
        message = str(self.args[0]).split("\n  - ", 1)[0] if self.problems else self.args[0]
        return type(self), (message, self.problems)


class DamagedShardError(DataError):
    """The bytes of a shard differ from the manifest."""


class CheckpointError(WorkerError):
    """A checkpoint is missing, incomplete or altered."""


class ExportError(WorkerError):
    """An export is incomplete, altered, or does not give what its proof says."""


class NoExportError(WorkerError):
    """No export stands at a place that a user named."""


class DrawingError(WorkerError, ValueError):
    """A drawing of a kind that there is not."""


class DivergedError(WorkerError):
    """A loss that is not finite; the border of a trial turns it into a result."""
