"""The job file: what a user submits. Read strictly, every error at once, then frozen."""

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from orchestrator.duration import duration_s
from orchestrator.engine.objective import Direction, objectives_of
from orchestrator.engine.screening import num_dropped
from orchestrator.engine.settings import ONE_OBJECTIVE, Kind
from orchestrator.yaml_document import Document, DocumentError, Problem, parse_document
from search_spaces.register import unknown_name

_STRICT = ConfigDict(extra="forbid", strict=True)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"only a-z, 0-9 and '-', 1 to 40 characters, starting with a letter; got {name!r}.")
    return name


def _checked_duration(text: str) -> str:
    duration_s(text)
    return text


def _checked_objectives(objectives: dict[Direction, list[str]]) -> dict[Direction, list[str]]:
    objectives_of(objectives)
    return objectives


def _checked_searches(names: list[str]) -> list[str]:
    for name in names:
        _checked_name(name)
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is named twice; keep one.")
    return names


Positive = Annotated[int, Ge(1), Le(1_000_000)]
Name = Annotated[str, AfterValidator(_checked_name)]
Duration = Annotated[str, AfterValidator(_checked_duration)]
Searches = Annotated[list[str], AfterValidator(_checked_searches)]
Objectives = Annotated[dict[Direction, list[str]], AfterValidator(_checked_objectives)]


@dataclass(frozen=True, slots=True)
class DataSettings:
    """How training reads the data set: what a sample is, its size (H, W) or (D, H, W), and samples a step.

    Attributes:
        regions: Named unions of classes that are learned instead of these; by default those that the data set has, and with an
            empty mapping the classes.
        adjacent_slices: Slices on either side that the network sees with each slice of a volume.
    """

    __pydantic_config__ = _STRICT
    size: Annotated[list[Annotated[int, Ge(8), Le(4096)]], Len(2, 3)]
    view: Literal["auto", "slices", "patches", "images"] = "auto"
    batch: Annotated[int, Ge(1), Le(4096)] = 16
    epoch_samples: Positive | None = None
    loader_workers: Literal["auto"] | Annotated[int, Ge(0), Le(64)] = "auto"
    regions: dict[str, list[str]] | None = None
    adjacent_slices: Annotated[int, Ge(0), Le(16)] = 0


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """When trials stop, pause or go on."""

    __pydantic_config__ = _STRICT
    kind: Kind = "asha"
    max_epochs: Annotated[int, Ge(1), Le(100_000)] = 27
    min_epochs: Annotated[int, Ge(1), Le(100_000)] = 1
    reduction: Annotated[int, Ge(2), Le(16)] = 3

    def __post_init__(self) -> None:
        if self.min_epochs > self.max_epochs:
            raise ValueError(
                f"min_epochs ({self.min_epochs}) must be at most max_epochs ({self.max_epochs})."
            )


@dataclass(frozen=True, slots=True)
class ScreeningSettings:
    """Which proposals are turned down before training: the lowest ``drop`` of the newest ``among`` by a zero-cost score."""

    __pydantic_config__ = _STRICT
    score: str
    drop: Annotated[float, Gt(0), Le(0.9)] = 0.25
    among: Annotated[int, Ge(2), Le(1000)] = 8

    def __post_init__(self) -> None:
        if num_dropped(self.drop, self.among) == 0:
            raise ValueError(
                f"drop ({self.drop:g}) of among ({self.among}) is less than one proposal; raise among to "
                f"{math.ceil(1 / self.drop)} or more, or drop."
            )


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How candidates are proposed and judged.

    Attributes:
        repeats: Of how many of the best candidates a second seed is trained at the end; ranks use the mean.
        screening: Which proposals are not worth a training by their zero-cost score; none by default.
        warm_start: Searches of the same journal whose trials are evidence for this one.
        reuse: Whether a training that one of them did already is taken over instead of done again.
        inherit: Whether a child of a trial begins with the weights of its parent; for samplers that make children.
    """

    __pydantic_config__ = _STRICT
    sampler: str = "auto"
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    presets: bool = True
    repeats: Annotated[int, Ge(0), Le(100)] = 0
    screening: ScreeningSettings | None = None
    warm_start: Searches = field(default_factory=list)
    reuse: bool = False
    inherit: bool = False

    def __post_init__(self) -> None:
        if self.inherit and self.repeats:
            message = "repeats and inherit exclude each other: a second seed begins without what its trial inherited."
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may spend; the first limit that is reached ends it."""

    __pydantic_config__ = _STRICT
    trials: Positive = 60
    worker_hours: Annotated[float, Gt(0), Le(1e7)] | None = None
    wall: Duration | None = None

    @property
    def wall_s(self) -> float | None:
        """Wall time in seconds, or None."""
        return None if self.wall is None else duration_s(self.wall)


@dataclass(frozen=True, slots=True)
class Resources:
    """What the search may use: all cores in equal slots of ``slot_cpus``, or one trial a card.

    Attributes:
        trials_per_gpu: Trials that share a card: small networks leave most of it idle. Each has its part of the cores.
        precision: ``chosen`` by the recipe; or ``measured``: fp32 or bf16, whichever makes a trial's own steps faster.
    """

    __pydantic_config__ = _STRICT
    cpus: Literal["auto"] | Annotated[int, Ge(1), Le(100_000)] = "auto"
    gpus: Literal["auto"] | Annotated[int, Ge(0), Le(100_000)] = "auto"
    slot_cpus: Annotated[int, Ge(1), Le(1024)] = 1
    trials_per_gpu: Annotated[int, Ge(1), Le(64)] = 1
    precision: Literal["chosen", "measured"] = "chosen"


@dataclass(frozen=True, slots=True)
class Retrain:
    """How winners are found: the best of the search trained anew, with seeds, beside a preset at equal cost.

    Attributes:
        top: How many candidates of the search; 0 ends after the search.
        epochs: Length of each training; by default that of the search's scheduler.
        wall: Instead of ``epochs``: as many as fit in this time, by what an epoch costs there; finding that out included.
        seeds: Trainings of each candidate.
        scoring_share: Of the time of these trainings that scoring may take (``Leg.scoring_share``): nothing is decided between
            their epochs.
        against: A preset that is trained for the worker-seconds of search and retraining together.
    """

    __pydantic_config__ = _STRICT
    top: Annotated[int, Ge(0), Le(100)] = 3
    epochs: Annotated[int, Ge(1), Le(100_000)] | None = None
    wall: Duration | None = None
    seeds: Annotated[int, Ge(1), Le(100)] = 3
    scoring_share: Annotated[float, Gt(0), Le(1)] = 0.2
    against: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.wall is not None:
            raise ValueError(
                "epochs and wall exclude each other: wall means as many epochs as fit in that time."
            )


@dataclass(frozen=True, slots=True)
class Job:
    """All that one search is asked to do; each field is a key of the job file.

    Attributes:
        raw: Folder that the data set was ingested from; the proof of an export starts from its files.
    """

    __pydantic_config__ = _STRICT
    name: Name
    dataset: str
    data: DataSettings
    space: str = "compact"
    fix: dict[str, Any] = field(default_factory=dict)
    plugins: list[str] = field(default_factory=list)
    objectives: Objectives = field(default_factory=lambda: {"maximize": ["dice"]})
    constraints: dict[
        Literal["parameters", "macs", "memory_bytes", "latency_ms"], Annotated[float, Gt(0)]
    ] = field(default_factory=dict)
    search: SearchSettings = field(default_factory=SearchSettings)
    budget: Budget = field(default_factory=Budget)
    resources: Resources = field(default_factory=Resources)
    retrain: Retrain = field(default_factory=Retrain)
    storage: str = "runs"
    raw: str | None = None

    def __post_init__(self) -> None:
        kind = self.search.scheduler.kind
        if sum(map(len, self.objectives.values())) > 1 and kind in ONE_OBJECTIVE:
            raise ValueError(
                f"search.scheduler.kind: {kind!r} judges one objective, and {self.objectives} are several; "
                "use asha, which ranks by fronts."
            )

    def to_json(self) -> dict[str, Any]:
        """The job as JSON values; ``job_from_json`` is its inverse."""
        return asdict(self)


class JobError(DocumentError):
    """A job file with everything that is wrong with it."""


_adapter: TypeAdapter[Job] = TypeAdapter(Job)


def load_job(path: str | Path) -> Job:
    """Read and check a job file; what needs the data set or the space is checked by ``orchestrator.plan.make_plan``.

    Raises:
        JobError: With every problem, each with its line and column.
    """
    return load_job_document(path)[0]


def load_job_document(path: str | Path) -> tuple[Job, Document]:
    """A job and where each of its values was written, for checks that come later.

    Raises:
        JobError: As ``load_job``.
    """
    source = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise JobError(
            source, [Problem(1, 1, "", "no such file; 'segsearch init FOLDER' writes one.")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(source, [Problem(1, 1, "", f"cannot be read as text: {error}.")]) from None
    try:
        document = parse_document(text, source)
    except DocumentError as error:
        raise JobError(source, error.problems) from None
    problems = list(document.problems)
    job: Job | None = None
    try:
        job = _adapter.validate_json(json.dumps(document.value))
    except ValidationError as error:
        problems += _problems(error, document)
    if problems or job is None:
        raise JobError(
            source, list({problem.path or problem: problem for problem in reversed(problems)}.values())
        )
    return job, document


def job_from_json(data: dict[str, Any]) -> Job:
    """A job from the journal; trusted, as it was checked when it came in."""
    return _adapter.validate_json(json.dumps(data))


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    """pydantic's findings in our words, one a path."""
    problems: dict[tuple[str | int, ...], Problem] = {}
    for item in error.errors(include_url=False, include_context=True):
        path = _real_path(item["loc"], document)
        if path not in problems:
            problems[path] = document.problem(path, _message(item, path, error))
    return list(problems.values())


def _real_path(loc: tuple[int | str, ...], document: Document) -> tuple[str | int, ...]:
    """pydantic puts names of union members and '[key]' into a path; keep what the file has, and a missing last key."""
    path: tuple[str | int, ...] = ()
    for part in loc:
        if (*path, part) in document.places:
            path = (*path, part)
    last = loc[-1] if loc else ""
    if path == loc[:-1] and isinstance(last, str) and last.isidentifier():
        path = (*path, last)
    return path


def _message(item: Any, path: tuple[str | int, ...], error: ValidationError) -> str:
    context, given = item.get("ctx", {}), item["input"]
    match item["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return unknown_name("key", str(path[-1]), _keys(path[:-1]))
        case "value_error":
            return str(context["error"])
        case "missing" | "missing_argument":
            return f"is required; {_form(path)}."
        case "dict_type" | "dataclass_type" | "dataclass_exact_type":
            return f"expected a mapping, got {_shown(given)}."
        case "greater_than":
            return f"must be > {context['gt']:g}, got {_shown(given)}."
        case "greater_than_equal":
            return f"must be >= {context['ge']:g}, got {_shown(given)}."
        case "less_than_equal":
            return f"must be at most {context['le']:,g}, got {_shown(given)}."
        case "too_short" | "too_long":
            return f"{_form(path)}, got {_shown(given)}."
        case "literal_error" if path and isinstance(given, str):
            names = [name.strip("'") for name in re.findall(r"'[^']*'", context.get("expected", ""))]
            return unknown_name("key" if item["loc"][-1:] == ("[key]",) else "value", given, names)
    return f"{_form(path)}, got {_shown(given)}."


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _type_at(path: tuple[str | int, ...]) -> Any:
    current: Any = Job
    for part in path:
        if isinstance(current, type) and hasattr(current, "__dataclass_fields__"):
            current = get_type_hints(current, include_extras=True).get(str(part))
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        elif get_origin(current) is list:
            current = get_args(current)[0]
        elif get_origin(current) is Annotated and get_origin(inner := get_args(current)[0]) in (dict, list):
            current = get_args(inner)[-1]
        else:
            return None
        if get_origin(current) is UnionType and get_args(current)[1:] == (type(None),):
            current = get_args(current)[0]
    return current


def _keys(path: tuple[str | int, ...]) -> list[str]:
    found = _type_at(path)
    if isinstance(found, type) and hasattr(found, "__dataclass_fields__"):
        return list(found.__dataclass_fields__)
    if get_origin(found) is dict:
        return [str(name) for name in get_args(get_args(found)[0])]
    return []


def _form(path: tuple[str | int, ...]) -> str:
    """What a value at a path must be, in words."""
    return f"expected {_words(_type_at(path))}"


def _words(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, *limits = get_args(kind)
        words = _words(inner)
        low = next((f" >= {m.ge:g}" for m in limits if isinstance(m, Ge)), "") or next(
            (f" > {m.gt:g}" for m in limits if isinstance(m, Gt)), ""
        )
        length = next(
            (f", {m.min_length} or {m.max_length} of them" for m in limits if isinstance(m, Len)), ""
        )
        return words + low + length
    if get_origin(kind) is Literal:
        return " or ".join(repr(value) for value in get_args(kind))
    if get_origin(kind) is list:
        return f"a list of {_words(get_args(kind)[0]).removeprefix('a ').removeprefix('an ').replace('integer', 'integers')}"
    if get_origin(kind) is dict:
        return "a mapping"
    if get_args(kind):
        return " or ".join(_words(part) for part in get_args(kind) if part is not type(None))
    return {int: "an integer", float: "a number", str: "text", bool: "true or false"}.get(kind, "a mapping")
