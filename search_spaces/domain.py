"""Domains: what one decision may be."""

import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from search_spaces.codec import text_digest
from search_spaces.errors import SpaceError

Scalar = str | int | float | bool | None
T = TypeVar("T")
DIGITS = 4  # significant digits of a drawn real: far below what training can tell apart, and exact in JSON


class Domain(ABC, Generic[T]):
    """The values of one decision."""

    @abstractmethod
    def draw(self, rng: random.Random) -> T:
        """A value at random."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether a value belongs to the domain, type included."""

    @abstractmethod
    def neighbours(self, value: T) -> tuple[T, ...]:
        """Values one step away, never the value itself."""

    @abstractmethod
    def values(self) -> Sequence[T] | None:
        """All values, first to last; None for a continuum."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The domain as JSON."""

    @property
    @abstractmethod
    def first(self) -> T:
        """The value that stands for the domain where none is given."""

    def to_scalar(self, value: T) -> Scalar:
        """The value as a trace holds it."""
        return value  # type: ignore[return-value]  # integers and reals are scalars; Choice overrides

    @abstractmethod
    def from_scalar(self, scalar: Scalar) -> T:
        """The value that a trace means.

        Raises:
            SpaceError: The domain does not hold it.
        """

    @property
    def digest(self) -> str:
        """Name of the domain's content, stable across processes and versions."""
        return text_digest(json.dumps(self.to_json(), sort_keys=True))

    def _refuse(self, value: object) -> SpaceError:
        return SpaceError(f"{value!r} given; allowed are {self}.")


@dataclass(frozen=True, slots=True)
class Choice(Domain[T]):
    """One of several options: scalars, or tuples of scalars (written ``1,2,4`` in a trace).

    Attributes:
        options: What may be chosen.
        weights: How often each is drawn relative to the others; empty draws all alike. An option that stands for several
            values, which a later decision tells apart, has as many.
    """

    options: tuple[T, ...]
    weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and (len(self.weights) != len(self.options) or min(self.weights) < 1):
            raise SpaceError(
                f"a choice needs one weight from 1 for each option, {self.weights} given for {self}."
            )
        if not self.options:
            raise SpaceError("a choice needs at least one option.")
        if len({repr(label(option)) for option in self.options}) != len(self.options):
            raise SpaceError(f"a choice holds an option twice: {self}.")

    def __str__(self) -> str:
        return ", ".join(str(label(option)) for option in self.options)

    def draw(self, rng: random.Random) -> T:
        place = int(rng.random() * (sum(self.weights) or len(self.options)))
        for option, weight in zip(self.options, self.weights or (1,) * len(self.options), strict=True):
            place -= weight
            if place < 0:
                return option
        raise AssertionError("a draw lies below the sum of weights")

    def contains(self, value: object) -> bool:
        return any(_same(value, option) for option in self.options)

    def neighbours(self, value: T) -> tuple[T, ...]:
        return tuple(option for option in self.options if not _same(value, option))

    def values(self) -> Sequence[T]:
        return self.options

    @property
    def first(self) -> T:
        return self.options[0]

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """The options as scalars, in order."""
        return tuple(label(option) for option in self.options)

    def to_scalar(self, value: T) -> Scalar:
        return label(value)

    def from_scalar(self, scalar: Scalar) -> T:
        for option in self.options:
            if _same(scalar, label(option)):
                return option
        raise self._refuse(scalar)

    def to_json(self) -> dict[str, Any]:
        weights = {"weights": list(self.weights)} if self.weights else {}
        return {"kind": "choice", "options": list(self.labels)} | weights


@dataclass(frozen=True, slots=True)
class Integer(Domain[int]):
    """Whole numbers from ``low`` to ``high`` in steps; ``log`` draws evenly in the logarithm."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high or self.step < 1 or (self.high - self.low) % self.step:
            raise SpaceError(
                f"an integer domain needs low <= high and a step that divides their distance: {self!r}."
            )
        if self.log and (self.low < 1 or self.step != 1):
            raise SpaceError(f"a logarithmic integer domain needs low >= 1 and step 1: {self!r}.")

    def __str__(self) -> str:
        step = f" in steps of {self.step}" if self.step > 1 else ""
        return f"whole numbers from {self.low} to {self.high}{step}"

    def draw(self, rng: random.Random) -> int:
        if self.log:
            exponent = rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))
            return min(max(round(math.exp(exponent)), self.low), self.high)
        return self.low + self.step * int(rng.random() * ((self.high - self.low) // self.step + 1))

    def contains(self, value: object) -> bool:
        return type(value) is int and value in self.values()

    def neighbours(self, value: int) -> tuple[int, ...]:
        return tuple(near for near in (value - self.step, value + self.step) if self.contains(near))

    def values(self) -> Sequence[int]:
        return range(self.low, self.high + 1, self.step)

    @property
    def first(self) -> int:
        return self.low

    def from_scalar(self, scalar: Scalar) -> int:
        if isinstance(scalar, float) and scalar.is_integer():
            scalar = int(scalar)
        if not self.contains(scalar):
            raise self._refuse(scalar)
        assert isinstance(scalar, int)
        return scalar

    def to_json(self) -> dict[str, Any]:
        return {"kind": "integer", "low": self.low, "high": self.high, "step": self.step, "log": self.log}


@dataclass(frozen=True, slots=True)
class Real(Domain[float]):
    """Numbers from ``low`` to ``high`` of four significant digits; ``log`` draws evenly in the logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SpaceError(f"a real domain needs finite low < high: {self!r}.")
        if self.log and self.low <= 0:
            raise SpaceError(f"a logarithmic real domain needs low > 0: {self!r}.")
        if quantise(self.low) != self.low or quantise(self.high) != self.high:
            raise SpaceError(f"the ends of a real domain have at most {DIGITS} significant digits: {self!r}.")

    def __str__(self) -> str:
        return f"numbers from {self.low:g} to {self.high:g} with {DIGITS} significant digits"

    def draw(self, rng: random.Random) -> float:
        if self.log:
            return self._clip(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self._clip(rng.uniform(self.low, self.high))

    def contains(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high and quantise(value) == value

    def neighbours(self, value: float) -> tuple[float, ...]:
        if self.log:
            factor = (self.high / self.low) ** 0.1
            near = (value / factor, value * factor)
        else:
            step = (self.high - self.low) / 10
            near = (value - step, value + step)
        return tuple(dict.fromkeys(clipped for clipped in map(self._clip, near) if clipped != value))

    def values(self) -> None:
        return None

    @property
    def first(self) -> float:
        return self.low

    def from_scalar(self, scalar: Scalar) -> float:
        if isinstance(scalar, bool) or not isinstance(scalar, int | float):
            raise self._refuse(scalar)
        value = quantise(float(scalar))
        if not self.contains(value):
            raise self._refuse(scalar)
        return value

    def to_json(self) -> dict[str, Any]:
        return {"kind": "real", "low": self.low, "high": self.high, "log": self.log}

    def _clip(self, value: float) -> float:
        return quantise(min(max(value, self.low), self.high))


def quantise(value: float) -> float:
    """The nearest number with four significant digits."""
    return float(f"{value:.{DIGITS}g}")


def label(option: object) -> Scalar:
    """An option of a choice as a scalar: itself, or the items of a tuple joined by commas."""
    if isinstance(option, tuple):
        return ",".join(str(item) for item in option)
    if option is None or isinstance(option, str | int | float | bool):
        return option
    raise SpaceError(f"an option of a choice is a scalar or a tuple of scalars, not {option!r}.")


def _same(value: object, option: object) -> bool:
    """Equality that tells True from 1, and takes 0 for 0.0."""
    if isinstance(value, bool) or isinstance(option, bool):
        return value is option
    if isinstance(option, float) and isinstance(value, int):
        return float(value) == option
    return type(value) is type(option) and value == option
