"""The error tree of ``search_spaces``."""


class SpaceError(ValueError):
    """Something about a space, a candidate or its parts is wrong; the message says what to do."""


class UnknownKindError(SpaceError):
    """A name that no entry of its family has."""


class NotInSpaceError(SpaceError):
    """A candidate holds a value that the space does not allow."""


class ShapeError(SpaceError):
    """Tensors do not have the sizes that a module or a loss needs."""


class MissingPackageError(SpaceError):
    """An entry needs an optional package that is not installed."""
