"""A job bound to its data set, its space and this machine: every check that the file alone does not allow, all at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from orchestrator.engine.objective import COSTS
from orchestrator.engine.sampler import Breeder, Sampler
from orchestrator.engine.settings import EngineSettings
from orchestrator.gate import make_gate, make_screening
from orchestrator.job import Job, JobError
from orchestrator.loss_gate import fault_of_space, make_loss_gate
from orchestrator.places import absolute, search_folder
from orchestrator.plugins import PluginError, load_plugin, plugin_digests
from orchestrator.rules import engine_settings, sampler_names, sampler_of
from orchestrator.slots import Node, ResourceError, Slots, divide
from orchestrator.yaml_document import Document, Path, Problem
from search_spaces.candidate import Candidate
from search_spaces.errors import SpaceError
from search_spaces.exploration import decides
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.regions import Regions
from search_spaces.register import kinds, lookup, unknown_name
from search_spaces.space import Space, load_space
from search_spaces.zero_cost import ZeroCost
from workers.contract import DataView
from workers.data.dataset import Dataset, open_dataset
from workers.errors import WorkerError
from workers.evaluate import class_names
from workers.latency import LATENCY
from workers.measure import measure_names, measured_metrics
from workers.metrics import metric_names
from workers.precision import has_fast_bf16
from workers.region_names import make_regions, region_problems
from workers.regions import by_name

T = TypeVar("T")

FIRST_METRICS = ("dice", "miou", "accuracy", "iou")  # what results of every version hold
PROTOCOL = 1  # raised when the evaluator, splits or training code change what a result means


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a driver needs to run a job.

    Attributes:
        job: With absolute locations.
        dataset: The open data set.
        view: How legs read it.
        settings: What the engine is told.
        against: The preset that the winner is compared with, or None.
        slots: What trials run in.
    """

    job: Job
    dataset: Dataset
    view: DataView
    settings: EngineSettings
    against: tuple[str, Candidate] | None
    slots: Slots

    @property
    def storage(self) -> str:
        """Location for checkpoints and pictures of this search."""
        return search_folder(self.job.storage, self.job.name)

    @property
    def measures(self) -> tuple[str, ...]:
        """What legs measure beside the confusion matrix: what gives the objectives."""
        return measure_names(objective.name for objective in self.settings.objectives if objective.is_learned)

    @property
    def latency(self) -> bool:
        """Whether legs measure how long a window takes."""
        return LATENCY in self.settings.limits or any(
            objective.name == LATENCY for objective in self.settings.objectives
        )

    @property
    def protocol(self) -> dict[str, object]:
        """What a result depends on besides candidate, data and seed; metrics only where not every result has them."""
        learned = {objective.name for objective in self.settings.objectives if objective.is_learned}
        further = sorted(name for name in learned if name.partition("/")[0] not in FIRST_METRICS)
        regions = {region.name: list(region.classes) for region in self.view.regions}
        return ({"metrics": further} if further else {}) | {
            "version": PROTOCOL,
            "view": self.view.view,
            "size": list(self.view.size),
            "batch": self.view.batch,
            "epoch_samples": self.view.epoch_samples,
            "max_epochs": self.settings.scheduler.max_epochs,
            "split": "validation",
            "plugins": plugin_digests(self.job),
            **({"regions": regions} if regions else {}),
            **({"adjacent_slices": self.view.adjacent_slices} if self.view.adjacent_slices else {}),
            **({"precision": "measured"} if self.job.resources.precision == "measured" else {}),
        }


def make_plan(job: Job, document: Document | None = None, *, nodes: Sequence[Node] | None = None) -> Plan:
    """Check a job against its data set, space and machines.

    Args:
        job: From ``load_job``.
        document: Where its values were written, for messages.
        nodes: Where it shall run; None where nothing runs, so that its resources do not matter.

    Raises:
        JobError: With everything that is wrong.
    """
    return _Planner(job, document or Document("job"), nodes).plan()


class _Planner:
    """Collects problems while it resolves one part after another."""

    def __init__(self, job: Job, document: Document, nodes: Sequence[Node] | None) -> None:
        self.job, self.document, self.nodes = job, document, nodes
        self.problems: list[Problem] = []

    def plan(self) -> Plan:
        for index, plugin in enumerate(self.job.plugins):
            self._try(("plugins", index), partial(load_plugin, plugin), PluginError)
        dataset = self._try(("dataset",), lambda: open_dataset(absolute(self.job.dataset)), WorkerError)
        regions = None if dataset is None else self._regions(dataset)
        view = None if dataset is None else self._view(dataset, regions or ())
        slots = self._slots()
        space = self._space(slots)
        self._check_precision()
        self._check_sampler()
        self._check_screening()
        if dataset is not None and regions is not None:
            self._objective(dataset, regions)
        if self.problems or not (dataset and view and space and slots):
            raise JobError(self.document.source, self.problems)
        settings = self._settings(dataset, view, space, slots)
        if fault := fault_of_space(space, settings.loss_gate):
            self._problem(("space",), f"its only loss cannot train a network: {fault.message.rstrip('.')}.")
        against = self._against(space)
        if self.problems:
            raise JobError(self.document.source, self.problems)
        job = replace(
            self.job,
            dataset=absolute(self.job.dataset),
            storage=absolute(self.job.storage),
            raw=None if self.job.raw is None else absolute(self.job.raw),
            fix=self._fix(slots),
            data=replace(
                self.job.data, regions=by_name(view.regions, class_names(dataset)) or self.job.data.regions
            ),
        )
        return Plan(job, dataset, view, settings, against, slots)

    def _settings(self, dataset: Dataset, view: DataView, space: Space, slots: Slots) -> EngineSettings:
        job = self.job
        inputs = view.num_inputs(dataset.num_channels)
        outputs = view.num_outputs(dataset.num_classes)
        batch = view.batch if "memory_bytes" in job.constraints else None
        return engine_settings(
            job,
            space,
            slots=slots.count,
            whole=slots.whole,
            gate=make_gate(inputs, outputs, view.size, batch=batch, measured=self._is_measured),
            loss_gate=make_loss_gate(2 if view.regions else dataset.num_classes, regions=bool(view.regions)),
            screening=make_screening(job, inputs, outputs, view.size),
        )

    def _regions(self, dataset: Dataset) -> Regions | None:
        """Those of the job, else those of the data set; None where something is wrong with them."""
        wanted = self.job.data.regions
        if wanted is None:
            return dataset.manifest.regions
        names = class_names(dataset)
        problems = list(region_problems(wanted, names))
        for path, message in problems:
            self._problem(("data", "regions", *path), message)
        return None if problems else make_regions(wanted, names)

    def _view(self, dataset: Dataset, regions: Regions) -> DataView | None:
        data = self.job.data
        kind = data.view
        if kind == "auto":
            kind = "images" if dataset.ndim == 2 else "slices" if len(data.size) == 2 else "patches"
        needed = {"images": (2, 2), "slices": (3, 2), "patches": (3, 3)}[kind]
        if (dataset.ndim, len(data.size)) != needed:
            allowed = "images of 2 sizes" if dataset.ndim == 2 else "slices of 2 sizes or patches of 3"
            self._problem(
                ("data", "view"),
                f"{kind} with size {data.size} does not fit; this data set has {dataset.ndim} dimensions, "
                f"so it is read as {allowed}.",
            )
            return None
        if data.adjacent_slices and kind != "slices":
            self._problem(
                ("data", "adjacent_slices"),
                f"{data.adjacent_slices} given, but {kind} have none; leave it out, or read a volume as slices.",
            )
        for split in ("train", "validation"):
            if not dataset.ids(split):
                self._problem(("dataset",), f"its split {split!r} has no case; a search needs some.")
        samples = data.epoch_samples or (None if kind == "slices" else len(dataset.ids("train")))
        if samples is not None and samples < data.batch:
            self._problem(
                ("data", "batch"),
                f"{data.batch} samples a step, but an epoch has {samples}; lower it, or raise data.epoch_samples.",
            )
        return DataView(
            absolute(self.job.dataset),
            dataset.digest,
            kind,
            tuple(data.size),
            data.batch,
            data.epoch_samples,
            regions,
            data.adjacent_slices,
        )

    def _space(self, slots: Slots | None) -> Space | None:
        whole = self._try(("space",), lambda: load_space(self.job.space), SpaceError)
        if whole is None:
            return None
        for path, error in _misfits(whole, self.job.fix).items():
            self._problem(("fix", path), str(error))
        if self.problems or slots is None:
            return None
        return self._try(("fix",), partial(narrow, whole, self._fix(slots)), SpaceError)

    def _fix(self, slots: Slots) -> dict[str, object]:
        """The job's ``fix``, and fp32 where a slot may only emulate bf16: it is 9 to 25 times slower there.

        Cards compute in bf16. Whether every node's cores do, the driver cannot know. Where trials measure, it is no choice.
        """
        fix: dict[str, object] = dict(self.job.fix)
        decided = any(path.endswith("precision") for path in fix)
        fast = slots.device == "cuda" or (len(self.nodes or ()) == 1 and has_fast_bf16())
        if (
            not decided
            and (self._is_measured or not fast)
            and decides(load_space(self.job.space), "recipe.precision")
        ):
            fix["recipe.precision"] = "fp32"
        return fix

    @property
    def _is_measured(self) -> bool:
        return self.job.resources.precision == "measured"

    def _check_precision(self) -> None:
        for path, value in self.job.fix.items():
            if self._is_measured and path.endswith("precision") and value != "fp32":
                message = f"{value!r} given, but with resources.precision: measured each trial decides; remove one of them."
                self._problem(("fix", path), message)

    def _check_sampler(self) -> None:
        name, known = self.job.search.sampler, sampler_names()
        if name not in known:
            self._problem(("search", "sampler"), unknown_name("sampler", name, known))
        elif self.job.search.inherit and not isinstance(sampler := sampler_of(self.job), Breeder):
            # entries are concrete
            able = ", ".join(kind for kind in known[1:] if issubclass(lookup(Sampler, kind), Breeder))  # type: ignore[type-abstract]
            self._problem(
                ("search", "inherit"),
                f"the sampler {sampler.kind!r} makes no children of trials, so nothing is inherited; choose one that does "
                f"({able}), or remove inherit.",
            )

    def _check_screening(self) -> None:
        asked = self.job.search.screening
        if asked is not None and asked.score not in kinds(ZeroCost):
            message = unknown_name("zero-cost score", asked.score, kinds(ZeroCost))
            self._problem(("search", "screening", "score"), message)

    def _objective(self, dataset: Dataset, regions: Regions) -> None:
        of_regions, each = bool(regions), "REGION" if regions else "CLASS"
        names = tuple(region.name for region in regions) or class_names(dataset)
        better = dict.fromkeys(metric_names(names, regions=of_regions), "more")
        better |= measured_metrics(names, regions=of_regions)
        of_classes = {*metric_names(()), *measured_metrics(())} - {*better}
        wrong = {"more": "minimize", "less": "maximize"}
        known = list(better)
        for direction, metrics in self.job.objectives.items():
            for index, metric in enumerate(metrics):
                if of_regions and metric in of_classes:
                    message = f"{metric!r} looks at all classes at once, and regions may overlap; choose another metric."
                    self._problem(("objectives", direction, index), message)
                elif metric not in (*known, *COSTS):
                    whole = sorted(name for name in known if "/" not in name)
                    nearest, _, _ = unknown_name("objective", metric, [*known, *COSTS]).partition(" Known: ")
                    message = f"{nearest} Known: {', '.join([*whole, *COSTS])}, and METRIC/{each}."
                    self._problem(("objectives", direction, index), message)
                elif metric in better and wrong[better[metric]] == direction:
                    other = "maximize" if direction == "minimize" else "minimize"
                    message = f"{better[metric]} of {metric!r} is better; name it under {other}."
                    self._problem(("objectives", direction, index), message)

    def _slots(self) -> Slots | None:
        resources = self.job.resources
        if self.nodes is None:
            return Slots(1, resources.slot_cpus)
        try:
            return divide(self.nodes, resources)
        except ResourceError as error:
            self._problem(("resources", error.key), str(error))
            return None

    def _against(self, space: Space) -> tuple[str, Candidate] | None:
        name = self.job.retrain.against
        if name is None:
            return None
        known = dict(preset_candidates(space))
        if name not in known:
            self._problem(("retrain", "against"), unknown_name("preset of this space", name, known))
            return None
        return name, known[name]

    def _try(self, path: Path, action: Callable[[], T], *errors: type[Exception]) -> T | None:
        try:
            return action()
        except errors as error:
            self._problem(path, str(error))
            return None

    def _problem(self, path: Path, message: str) -> None:
        for said in (".".join(map(str, path)), str(path[0])):  # some errors name the key themselves
            message = message.removeprefix(f"{said}: ")
        self.problems.append(self.document.problem(path, message))


def _misfits(space: Space, fix: Mapping[str, object]) -> dict[str, SpaceError]:
    """Entries of a ``fix`` that narrow nothing, each with why; one may hang on a decision that another one fixes."""
    try:
        narrow(space, fix)
        return {}
    except SpaceError:  # of which entry is found out one by one, as each takes a walk through the space
        pass
    fitting: dict[str, object] = {}
    while True:
        before, errors = len(fitting), dict[str, SpaceError]()
        for path in [path for path in fix if path not in fitting]:
            try:
                narrow(space, {**fitting, path: fix[path]})
                fitting[path] = fix[path]
            except SpaceError as error:
                errors[path] = error
        if not errors or len(fitting) == before:
            return errors
