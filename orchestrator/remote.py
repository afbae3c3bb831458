"""Verbs on a cluster from another machine: submit a job, resume a search, ask about it, read its logs."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cluster import OVER, Cluster, NoAnswerError, SubmittedJob
from orchestrator.errand import MARK
from orchestrator.errors import PlaceError, SearchExistsError, UnknownSearchError
from orchestrator.job import Job, JobError, job_from_json, load_job_document
from orchestrator.parcel import JOB, make_parcel
from orchestrator.places import NO_RAW, absolute
from orchestrator.plugins import PluginError, load_plugin, make_importable, module_names, plugin_files
from orchestrator.preflight import Preflight, look, resources
from orchestrator.yaml_document import Document

ERRAND_S = 120.0


@dataclass(frozen=True, slots=True)
class Submission:
    """A search that was handed to a cluster."""

    search: str
    job: str
    address: str
    warnings: tuple[str, ...]


def submit(
    job_file: str | Path,
    address: str,
    *,
    dataset: str | None = None,
    storage: str | None = None,
    allow_open: bool = False,
    fork_of: str | None = None,
) -> Submission:
    """Check a cluster, then hand it a job; its supervisor runs there until the search is over.

    Args:
        job_file: The job.
        address: Ray's dashboard, ``http://HOST:8265``.
        dataset: Where the data set is for the cluster, instead of where the job says.
        storage: Where checkpoints and exports go, instead of where the job says.
        allow_open: Accept a cluster that asks for no token.
        fork_of: A search in the cluster's journal whose trials the new one shall know.

    Raises:
        JobError: The job is wrong.
        PlaceError: The cluster cannot run it, with everything that is wrong; nothing was submitted.
        UnknownSearchError: There is no search to fork.
        SearchExistsError: A search of this name exists there.
    """
    job, modules = _prepare(job_file, dataset=dataset, storage=storage)
    cluster = Cluster(address)
    with make_parcel(modules, Path(job_file)) as parcel:
        found = look(cluster, parcel, job=job, allow_open=allow_open)
        found.require()
        _refuse_second(cluster, job.name)
        if "job" in found.facts["journal"]:
            leader = found.facts["journal"]["leader"]
            goes_on = f"exists; 'segsearch resume {job.name} --address {address}' goes on"
            state = f"is led by {leader}" if leader else goes_on
            raise SearchExistsError(f"search {job.name!r} {state}. Or give the new one another name.")
        if fork_of is not None:
            code, _, err = ask(["status", fork_of], address, allow_open=allow_open)
            if code != 0:
                raise UnknownSearchError(err.strip().removeprefix("error: "))
        options = ["--dataset", job.dataset, "--storage", job.storage]
        if job.raw is not None:
            options += ["--raw", job.raw if found.facts["raw"] else NO_RAW]
        begin = ["run", JOB] if fork_of is None else ["fork", fork_of, "--with", JOB]
        return _hand_over(cluster, parcel, job.name, [*begin, *options], found)


def examine(
    address: str,
    job_file: Path | None = None,
    *,
    dataset: str | None = None,
    storage: str | None = None,
    allow_open: bool = False,
) -> Preflight:
    """Look at a cluster, and at what a job needs there; submits no search.

    Raises:
        JobError: The job is wrong.
        PlaceError: The cluster cannot be entered.
    """
    cluster = Cluster(address)
    if job_file is None:
        with make_parcel({}) as parcel:
            return look(cluster, parcel, storage=storage and absolute(storage), allow_open=allow_open)
    job, modules = _prepare(job_file, dataset=dataset, storage=storage)
    with make_parcel(modules, job_file) as parcel:
        return look(cluster, parcel, job=job, allow_open=allow_open)


def exit_code(name: str, address: str) -> int:
    """0 where the newest job of a search succeeded, else 1."""
    cluster = Cluster(address)
    return 0 if cluster.jobs(name)[0].status == "SUCCEEDED" else 1


def resume(name: str, address: str, *, storage: str | None = None, allow_open: bool = False) -> Submission:
    """Let a search go on, on the cluster at this address: the one it ran on or a new one.

    Raises:
        UnknownSearchError: The cluster's journal has no such search.
        PlaceError: The cluster cannot run it.
    """
    cluster = Cluster(address)
    with make_parcel({}) as parcel:
        found = look(
            cluster, parcel, search=name, storage=storage and absolute(storage), allow_open=allow_open
        )
    found.require()
    stored = found.facts["journal"].get("job")
    if stored is None:
        raise UnknownSearchError(
            f"the cluster's journal has no search {name!r}; see 'segsearch list --address {address}'."
        )
    job = job_from_json(stored)
    make_importable(Path())
    modules = plugin_files(module_names(job))
    found.add("resources", *resources(cluster.nodes(), job))
    found.require()
    _refuse_second(cluster, name)
    place = absolute(storage) if storage else job.storage
    with make_parcel(modules) as parcel:
        return _hand_over(cluster, parcel, name, ["resume", name, "--storage", place], found)


def ask(arguments: Sequence[str], address: str, *, allow_open: bool = False) -> tuple[int, str, str]:
    """Run a short command of segsearch on the head: exit code, standard output, standard error.

    Raises:
        PlaceError: The cluster cannot be entered, or gives no answer.
    """
    cluster = Cluster(address)
    cluster.enter(allow_open=allow_open)
    with make_parcel({}) as parcel:
        command = f"python3 -m orchestrator.errand {shlex.join(arguments)}"
        try:
            answer = cluster.answer(command, parcel, mark=MARK, timeout_s=ERRAND_S)
        except NoAnswerError as error:
            raise PlaceError(
                f"{address}: the head says {str(error)!r}; 'segsearch doctor --address {address}' looks closer."
            ) from None
    return int(answer["code"]), str(answer["out"]), str(answer["err"])


def job_of(name: str, address: str, *, allow_open: bool = False) -> tuple[Cluster, SubmittedJob]:
    """The newest job of a search on a cluster.

    Raises:
        PlaceError: There is none.
    """
    cluster = Cluster(address)
    cluster.enter(allow_open=allow_open)
    jobs = cluster.jobs(name)
    if not jobs:
        raise PlaceError(
            f"{address}: no job of search {name!r} is known there; a new cluster knows those of its own only."
        )
    return cluster, jobs[0]


def follow(name: str, address: str, *, go_on: bool, allow_open: bool = False) -> Iterator[str]:
    """What the newest job of a search printed, and prints, until it ends."""
    cluster, job = job_of(name, address, allow_open=allow_open)
    if go_on:
        yield from cluster.follow(job.id)
    else:
        yield cluster.logs(job.id)


def _refuse_second(cluster: Cluster, name: str) -> None:
    """One supervisor a search.

    Raises:
        PlaceError: A job of the search has not ended.
    """
    living = [job.id for job in cluster.jobs(name) if job.status not in OVER]
    if living:
        raise PlaceError(
            f"search {name!r} runs as job {living[0]}; 'segsearch logs {name} --follow --address {cluster.address}' shows it."
        )


def _prepare(
    job_file: str | Path, *, dataset: str | None, storage: str | None
) -> tuple[Job, dict[str, Path]]:
    """A job with absolute places, and the user's own modules that it needs."""
    from workers.data.dataset import split_location  # reading arrays and object storage takes 0.2 s to import
    from workers.store import open_store

    make_importable(Path(job_file).parent, Path())
    job, document = load_job_document(job_file)
    _check_plugins(job, document)
    job = replace(
        job,
        dataset=absolute(dataset or job.dataset),
        storage=absolute(storage or job.storage),
        raw=None if job.raw is None else absolute(job.raw),
    )
    for location in (split_location(job.dataset)[0], job.storage):
        open_store(location)  # refuses what is no location before anything is asked
    return job, plugin_files(module_names(job))


def _check_plugins(job: Job, document: Document) -> None:
    problems = []
    for index, plugin in enumerate(job.plugins):
        try:
            load_plugin(plugin)
        except PluginError as error:
            problems.append(document.problem(("plugins", index), str(error)))
    if problems:
        raise JobError(document.source, problems)


def _hand_over(
    cluster: Cluster, parcel: Path, name: str, arguments: list[str], found: Preflight
) -> Submission:
    if not found.facts["tracked"]:
        arguments = [*arguments, "--no-tracking"]
    command = f"python3 -m orchestrator.supervisor {shlex.join(arguments)}"
    job = cluster.submit(command, parcel, search=name)
    return Submission(name, job, cluster.address, tuple(found.warnings))
