"""The space that surveyed systems span: every part of each of them, with every value that one of them has, combined anew.

    def mine(choose: Choose) -> Candidate:
        return span(choose, ("unet", "pspnet50", "danet"))

holds the three systems themselves, a pyramid pooling in a U-Net, dual attention on a plain encoder, and so on. Operations
of cells are those of all cells of the systems. What cannot follow from what was chosen before is not offered, so each point
is a network.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate, canonical
from search_spaces.cell import MAX_NODES, Cell, Node
from search_spaces.context import Context
from search_spaces.contexts.none import NoContext
from search_spaces.decoder import Decoder
from search_spaces.domain import Choice
from search_spaces.encoder import Encoder
from search_spaces.errors import SpaceError
from search_spaces.front import Front
from search_spaces.head import Head
from search_spaces.layers import Activation, Norm
from search_spaces.operation import Operation
from search_spaces.preprocessing import Preprocessing
from search_spaces.preset import load_preset
from search_spaces.pyramid import ScaleAttention
from search_spaces.register import Entry, kinds, lookup
from search_spaces.skip import Skip
from search_spaces.skips.none import NoSkip
from search_spaces.space import Choose
from search_spaces.training_choices import choose_fitting_loss, choose_intensity, choose_recipe

T = TypeVar("T")
Accept = Callable[[Any], bool]

QUARTER = 4  # widths are offered at a quarter, too: published networks are for large machines
MOST_NODES = 16  # of cells with fields of their own
ALONE = ("zero", "mask_rcnn")  # a cell of the one computes nothing; the other goes with a loss of its own


def span(choose: Choose, presets: Sequence[str], *, every_kind: bool = False) -> Candidate:
    """A candidate of the space that presets span.

    Args:
        choose: Makes the decisions.
        presets: Names of the systems.
        every_kind: Whether entries that none of the systems uses take part, too, at their standard values.
    """
    parts = _Parts(choose, _systems(tuple(presets)), _cells(tuple(presets)), every_kind)
    architecture = parts.architecture()
    return Candidate(
        architecture,
        choose_fitting_loss(choose, architecture.decoder),
        choose_recipe(choose),
        Preprocessing(intensity=choose_intensity(choose)),
    )


class _Parts:
    """Chooses part after part, each from what the systems have there."""

    def __init__(
        self, choose: Choose, systems: tuple[Architecture, ...], cells: tuple[Cell, ...], every_kind: bool
    ) -> None:
        self.choose, self.systems, self.cells, self.every_kind = choose, systems, cells, every_kind

    def architecture(self) -> Architecture:
        """The network."""
        top = "architecture"
        front = self._entry(f"{top}.front", Front, self._of("front"))
        encoder = self._entry(f"{top}.encoder", Encoder, self._of("encoder"), accept=_has_levels)
        context = self._entry(f"{top}.context", Context, self._of("context"))
        skips = self._instances(Skip, self._of("skip"))
        decoders = self._instances(Decoder, self._of("decoder"))
        decoder = self._entry(
            f"{top}.decoder", Decoder, decoders, accept=_FollowsWithSome(encoder, context, tuple(skips))
        )
        skip = self._entry(f"{top}.skip", Skip, skips, accept=_GoesBetween(encoder, context, decoder))
        whole = Architecture(
            encoder=encoder,
            context=context,
            skip=skip,
            decoder=decoder,
            norm=self._pick(f"{top}.norm", self._of("norm"), get_args(Norm) if self.every_kind else ()),
            activation=self._pick(
                f"{top}.activation", self._of("activation"), get_args(Activation) if self.every_kind else ()
            ),
            head=self._entry(f"{top}.head", Head, self._of("head")),
            conv_bias=self._pick(f"{top}.conv_bias", self._of("conv_bias"), ()),
            padding=self._pick(
                f"{top}.padding", self._of("padding"), ("zeros", "replicate") if self.every_kind else ()
            ),
            front=front,
            pyramid=None if decoder.finds_objects else self._pyramid(f"{top}.pyramid"),
        )
        return replace(whole, auxiliary=self._auxiliary(f"{top}.auxiliary", whole))

    def _of(self, name: str) -> list[Any]:
        return [getattr(system, name) for system in self.systems]

    def _pick(self, path: str, seen: Iterable[T], more: Sequence[Any]) -> T:
        """One of the values that systems have, or of some more."""
        return cast(T, self.choose(path, Choice(tuple(dict.fromkeys([*seen, *more])))))

    def _instances(self, family: type[Entry], seen: Sequence[Any]) -> list[Any]:
        """An instance of each entry that may be chosen: those of the systems, then standard ones."""
        found = list(dict.fromkeys(seen))
        if self.every_kind:
            known = {one.kind for one in found}
            more = [kind for kind in kinds(family) if kind not in known and kind not in ALONE]
            found += [one for kind in more if (one := _standard(family, kind)) is not None]
        return found

    def _entry(self, path: str, family: type[Any], seen: Sequence[Any], accept: Accept | None = None) -> Any:
        """An entry of a family, kind and then field by field."""
        instances = self._instances(family, seen)
        if accept is not None:
            instances = list(_accepted(accept, tuple(instances)))
        if not instances:
            instances = [one for one in (NoSkip(), NoContext()) if isinstance(one, family)] or list(seen[:1])
        kind = self.choose(f"{path}.kind", Choice(tuple(dict.fromkeys(one.kind for one in instances))))
        return self._fields(path, [one for one in instances if one.kind == kind], accept)

    def _fields(self, path: str, seen: Sequence[Any], accept: Accept | None = None) -> Any:
        """A value like some others of one class, field by field.

        A value is offered where one of the others, with it and all that was chosen before, is still accepted.
        """
        chosen: tuple[tuple[str, Any], ...] = ()
        hints: dict[str, Any] = _hints(cast(Any, type(seen[0])))
        names = [field.name for field in fields(seen[0])]
        for place, field in enumerate(fields(seen[0])):
            alike = [field.name]  # fields that a canonical form may swap
            if is_dataclass(hints[field.name]) and not _is_kind(hints[field.name], Entry):
                alike += [
                    name for name, hint in hints.items() if hint == hints[field.name] and name != field.name
                ]
            parts = [getattr(one, name) for name in alike for one in seen]
            if field.default is not MISSING:
                parts.append(field.default)
            left = names[place + 1 :]  # those alike in what is left give the same value
            others = _apart(seen, [tuple([getattr(one, name) for name in left]) for one in seen])
            fits = _Fits(others, chosen, field.name, accept)
            part = self._part(f"{path}.{field.name}", field.name, hints[field.name], parts, fits)
            chosen = (*chosen, (field.name, part))
        return replace(seen[0], **dict(chosen))

    def _part(self, path: str, name: str, hint: Any, seen: Sequence[Any], accept: "_Fits") -> Any:
        options = [option for option in get_args(hint) if option is not type(None)]
        if (
            len(options) == 1
            and len(get_args(hint)) == 2
            and (_is_kind(options[0], Entry) or is_dataclass(options[0]))
        ):  # a part that may be missing
            there = [one for one in seen if one is not None]
            if not self._present(path, seen):
                return None
            return self._part(path, name, options[0], there, accept)
        if _is_kind(hint, Cell):
            return self._cell(path)
        if _is_kind(hint, Entry) and not hint.kind:
            return self._entry(path, hint, seen, accept)
        if get_origin(hint) is tuple and any(is_dataclass(item) for one in seen for item in one):
            return self._tuple(path, get_args(hint)[0], seen, accept)
        if is_dataclass(hint):
            return self._fields(path, seen, accept)
        more: Sequence[Any] = ()
        if get_origin(hint) is Literal:
            more = get_args(hint)
        elif hint is bool:
            more = (False, True)
        elif name in ("width", "widths", "widest"):
            more = [_quarter(value) for value in seen]
        elif name == "source":  # of a node: any that comes before it
            more = range(MOST_NODES)
        found = _options(accept, tuple(dict.fromkeys([*seen, *more])))
        return self._pick(path, found or seen[:1], ())

    def _tuple(
        self, path: str, hint: Any, seen: Sequence[tuple[Any, ...]], accept: Accept
    ) -> tuple[Any, ...]:
        """As many parts as one of the others has, each like any of their parts: a canonical form may change places."""
        seen = list(_accepted(accept, tuple(dict.fromkeys(seen)))) or list(seen[:1])
        length = self._pick(f"{path}.length", [len(one) for one in seen], ())
        seen = [one for one in seen if len(one) == length]
        chosen: tuple[Any, ...] = ()
        for place in range(length):
            fits = _FitsPlace(_apart(seen, [one[place + 1 :] for one in seen]), chosen, accept)
            here = [one[place] for one in seen]  # first, as one of them fits
            pool = [*here, *(part for one in seen for part in one)]
            if _is_kind(hint, Entry):
                part = self._entry(f"{path}.{place}", hint, pool, fits)
            else:
                part = self._fields(f"{path}.{place}", pool, fits)
            chosen = (*chosen, part)
        return chosen

    def _cell(self, path: str) -> Cell:
        """A graph with operations of any cell of the systems."""
        most = min(MAX_NODES, max((len(cell.nodes) for cell in self.cells), default=2))
        operations = list(dict.fromkeys(node.operation for cell in self.cells for node in cell.nodes))
        length = self.choose(f"{path}.nodes.length", Choice(tuple(range(1, max(2, most) + 1))))
        nodes = []
        for place in range(length):
            inputs = self.choose(f"{path}.nodes.{place}.inputs", Choice(_sources(place)))
            operation = self._entry(f"{path}.nodes.{place}.operation", Operation, operations)
            nodes.append(Node(operation, inputs))
        return Cell(tuple(nodes), residual=self.choose(f"{path}.residual", Choice((False, True))))

    def _pyramid(self, path: str) -> ScaleAttention | None:
        seen = self._of("pyramid")
        if not self._present(path, seen, weights=(7, 1)):  # it makes everything three times as dear
            return None
        return cast(ScaleAttention, self._fields(path, [one for one in seen if one is not None]))

    def _present(self, path: str, seen: Sequence[Any], weights: tuple[int, ...] = ()) -> bool:
        """Whether there is a part that some of the others have and some have not."""
        options = tuple(sorted({one is not None for one in seen}))
        if options == (False,):
            return False
        return self.choose(f"{path}.present", Choice(options, weights=weights if len(options) == 2 else ()))

    def _auxiliary(self, path: str, whole: Architecture) -> tuple[Auxiliary, ...]:
        """Heads in training that look at maps that are there."""
        seen = [one for many in self._of("auxiliary") for one in many if not whole.decoder.finds_objects]
        fits = _IsThere(whole)
        seen = [one for one in dict.fromkeys(seen) if fits(one)]
        lengths = sorted({len(many) for many in self._of("auxiliary")}) if seen else [0]
        if lengths == [0]:
            return ()
        length = self.choose(f"{path}.length", Choice(tuple(lengths)))
        return tuple(self._fields(f"{path}.{place}", seen, fits) for place in range(length))


@dataclass(frozen=True, slots=True)
class _FollowsWithSome:
    """Whether a decoder goes with what was chosen before it and some skip."""

    encoder: Encoder
    context: Context
    skips: tuple[Skip, ...]

    def __call__(self, decoder: Any) -> bool:
        return any(_GoesBetween(self.encoder, self.context, decoder)(skip) for skip in self.skips)


@dataclass(frozen=True, slots=True)
class _GoesBetween:
    """Whether a skip goes between an encoder and a decoder."""

    encoder: Encoder
    context: Context
    decoder: Decoder

    def __call__(self, skip: Any) -> bool:
        try:
            Architecture(self.encoder, self.context, skip, self.decoder)
        except SpaceError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _IsThere:
    """Whether an auxiliary head looks at a map that is there."""

    whole: Architecture

    def __call__(self, auxiliary: Any) -> bool:
        try:
            replace(self.whole, auxiliary=(auxiliary,))
        except SpaceError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Fits:
    """Whether one of some values, with what was chosen of it before and a further field, is still accepted."""

    seen: tuple[Any, ...]
    chosen: tuple[tuple[str, Any], ...]
    name: str
    accept: Accept | None

    def __call__(self, part: Any) -> bool:
        return self.whole(part) is not None

    def whole(self, part: Any) -> Any:
        """The first value that is accepted."""
        for one in self.seen:
            try:
                changed = replace(one, **dict(self.chosen), **{self.name: part})
            except SpaceError:
                continue
            if self.accept is None or self.accept(changed):
                return changed
        return None


@dataclass(frozen=True, slots=True)
class _FitsPlace:
    """Whether one of some tuples, with what was chosen of it before and the next part, is accepted."""

    seen: tuple[tuple[Any, ...], ...]
    before: tuple[Any, ...]
    accept: Accept

    def __call__(self, part: Any) -> bool:
        place = len(self.before)
        return any(self.accept((*self.before, part, *one[place + 1 :])) for one in self.seen)


@functools.lru_cache(maxsize=100_000)
def _accepted(accept: Accept, options: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(option for option in options if accept(option))


@functools.lru_cache(maxsize=100_000)
def _options(fits: _Fits, options: tuple[Any, ...]) -> tuple[Any, ...]:
    """What fits, each as the canonical form of the whole has it."""
    found = []
    for option in options:
        whole = fits.whole(option)
        if whole is not None:
            form = canonical(whole)
            found.append(getattr(form, fits.name) if type(form) is type(whole) else option)
    return tuple(found)


@functools.cache
def _systems(presets: tuple[str, ...]) -> tuple[Architecture, ...]:
    return tuple(canonical(load_preset(name).candidate().architecture) for name in presets)


@functools.cache
def _cells(presets: tuple[str, ...]) -> tuple[Cell, ...]:
    return tuple(_found(_systems(presets), Cell))


def _apart(seen: Sequence[T], looks: Sequence[object]) -> tuple[T, ...]:
    """The first of those that look alike."""
    first: dict[object, T] = {}
    for one, look in zip(seen, looks, strict=True):
        first.setdefault(look, one)
    return tuple(first.values())


def _found(value: object, kind: type[T]) -> Iterable[T]:
    """Every value of a class inside another."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _found(part, kind)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _found(getattr(value, field.name), kind)


def _standard(family: type[Entry], kind: str) -> Any:
    """An entry at its standard values; None where some have none."""
    found = lookup(family, kind)
    lacking = [f for f in fields(cast(Any, found)) if f.default is MISSING and f.default_factory is MISSING]
    return None if lacking else found()


def _has_levels(encoder: Encoder) -> bool:
    """Whether it can be built here: one of another library needs that library."""
    try:
        encoder.levels()
    except SpaceError:
        return False
    return True


def _sources(place: int) -> tuple[tuple[int, ...], ...]:
    """One earlier output, the nearest first, or two."""
    return tuple((source,) for source in range(place, -1, -1)) + tuple(combinations(range(place + 1), 2))


def _quarter(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_quarter(part) for part in value)
    return max(QUARTER, value // QUARTER // 2 * 2) if value else value  # even, so that it can be halved


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_kind(hint: Any, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)
