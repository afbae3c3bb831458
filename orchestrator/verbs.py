"""The verbs of the command line as Python functions.

from orchestrator.verbs import run, leaderboard_of, export_trial
result = run("examples/hippocampus.yaml")
"""

import contextlib
from dataclasses import replace
from pathlib import Path

from orchestrator.engine.events import Draft
from orchestrator.engine.feasibility import fault_of_start
from orchestrator.engine.leaderboard import Row
from orchestrator.errors import JournalError, SearchExistsError, UnknownTrialError
from orchestrator.job import Job, JobError, Retrain, job_from_json, load_job_document
from orchestrator.journal import Journal
from orchestrator.lead import Place, lead, led
from orchestrator.places import DEFAULT_STORAGE, NO_RAW, absolute, journal_url
from orchestrator.plan import Plan, make_plan
from orchestrator.plugins import check_unchanged, make_importable
from orchestrator.progress import evidence_line
from orchestrator.reading import (
    ask,
    best_network,
    extend,
    leaderboard_of,
    log_lines,
    searches,
    status,
)
from orchestrator.search import SearchPaused, drive
from orchestrator.slots import Node
from orchestrator.warm_start import Target, forked, gather
from orchestrator.winners import ask_retraining, export_place, export_row
from orchestrator.yaml_document import Document, Problem
from workers.contract import JSON

__all__ = [
    "Place", "ask", "export_trial", "extend", "fork", "leaderboard_of", "log_lines", "resume", "retrain", "run",
    "searches", "status", "validate",
]  # fmt: skip

HERE = Place()


def validate(
    job_file: str | Path,
    *,
    place: Place = HERE,
    dataset: str | None = None,
    storage: str | None = None,
    raw: str | None = None,
) -> Plan:
    """Check a job against its data set, space and machines; starts nothing.

    Args:
        job_file: The job.
        place: Where it shall run.
        dataset: Where the data set is, instead of where the job says.
        storage: Where checkpoints and exports go, instead of where the job says.
        raw: Where the raw files are, instead of where the job says; ``none`` proves exports from the stored cases.

    Raises:
        JobError: With everything that is wrong.
    """
    make_importable(Path(job_file).parent, Path())
    job, document = load_job_document(job_file)
    files = job.raw if raw is None else None if raw == NO_RAW else raw
    job = replace(job, dataset=dataset or job.dataset, storage=storage or job.storage, raw=files)
    missing = _missing_raw(job, document)
    try:
        plan = make_plan(job, document, nodes=place.nodes())
    except JobError as error:
        raise JobError(document.source, [*error.problems, *missing]) from None
    if fault := fault_of_start(plan.settings):
        missing.append(document.problem(("constraints",), f"the search could not begin: {fault}."))
    if missing:
        raise JobError(document.source, missing)
    return plan


def _missing_raw(job: Job, document: Document) -> list[Problem]:
    """Said now, not by the export after the search."""
    if job.raw is None or Path(absolute(job.raw)).is_dir():
        return []
    message = (
        f"there is no folder {job.raw!r}; name the source of the data set, or leave raw out: then exports are proved "
        "from the stored cases."
    )
    return [document.problem(("raw",), message)]


def run(
    job_file: str | Path,
    *,
    place: Place = HERE,
    go_on: bool = False,
    dataset: str | None = None,
    storage: str | None = None,
    raw: str | None = None,
) -> JSON:
    """Search, retrain, compare and export; returns the result.

    Args:
        job_file: The job.
        place: Where it runs; by default on a Ray of its own on this machine.
        go_on: Resume where a search of this name exists, rather than refuse.
        dataset: As for ``validate``, and so are ``storage`` and ``raw``.

    Raises:
        JobError: The job is wrong.
        SearchExistsError: A search of this name exists.
        UnknownSearchError: One that the job names in ``search.warm_start`` does not exist.
        WarmStartError: The job wants to reuse trainings, and there are none that it may.
        PlaceError: A node of the cluster does not reach what legs need.
        NoResultError: Nothing could be trained to its end.
    """
    plan = validate(job_file, place=place, dataset=dataset, storage=storage, raw=raw)
    journal = Journal(journal_url(plan.job.storage))
    if go_on and plan.job.name in journal.names():
        return resume(plan.job.name, storage=plan.job.storage, place=place)
    return _begin(plan, journal, place)


def fork(
    name: str,
    job_file: str | Path,
    *,
    place: Place = HERE,
    go_on: bool = False,
    dataset: str | None = None,
    storage: str | None = None,
    raw: str | None = None,
) -> JSON:
    """Begin a search from a changed job with the trials of another search as evidence; returns its result.

    Args:
        name: The other search, in the same journal, finished or not; it stays as it is.
        job_file: The job of the new search: the same data set, a narrower or wider space, other limits.
        place: Where the new search runs.
        go_on: Resume where a search of the new name exists, rather than refuse.
        dataset: As for ``validate``, and so are ``storage`` and ``raw``.

    Raises:
        JobError: The job is wrong, or its space holds nothing.
        UnknownSearchError: No such search in the journal.
        SearchExistsError: The new one's name is taken.
        WarmStartError: The other search is on other data.
        NoResultError: Nothing could be trained to its end.
    """
    plan = validate(job_file, place=place, dataset=dataset, storage=storage, raw=raw)
    journal = Journal(journal_url(plan.job.storage))
    if go_on and plan.job.name in journal.names():
        return resume(plan.job.name, storage=plan.job.storage, place=place)
    return _begin(forked(plan, name, journal), journal, place)


def _begin(plan: Plan, journal: Journal, place: Place) -> JSON:
    if plan.job.name in journal.names():
        raise SearchExistsError(
            f"search {plan.job.name!r} exists already; resume it, or give the new one another name."
        )
    return lead(plan, journal, place, create=True, evidence=_evidence(plan, journal))


def evidence_lines(plan: Plan) -> list[str]:
    """What a search would be given of the searches that its job names in ``search.warm_start``, a line each.

    Raises:
        UnknownSearchError: One of them does not exist.
        WarmStartError: Trainings are to be reused, and none can be.
    """
    if not plan.job.search.warm_start and not plan.job.search.reuse:
        return []
    *_, note = _evidence(plan, Journal(journal_url(plan.job.storage)))
    return [evidence_line(source) for source in note.body["data"]["sources"]]


def _evidence(plan: Plan, journal: Journal) -> tuple[Draft, ...]:
    return gather(journal, plan.job.search.warm_start, Target.of(plan))


def resume(name: str, *, storage: str = DEFAULT_STORAGE, place: Place = HERE) -> JSON:
    """Go on with a search where it stopped, however it stopped.

    Raises:
        UnknownSearchError: No such search in the journal.
        LedError: Another driver leads it.
        JournalError: Its data set or a plug-in is not the one that it began with.
    """
    make_importable(Path())
    journal = Journal(journal_url(storage))
    return lead(plan_of(journal, name, nodes=place.nodes()), journal, place, create=False)


def retrain(
    name: str,
    *,
    top: int = 3,
    epochs: int | None = None,
    seeds: int = 1,
    storage: str = DEFAULT_STORAGE,
    place: Place = HERE,
) -> list[Row]:
    """Train the best candidates of a search anew; the rows of these trials.

    Raises:
        UnknownSearchError: No such search in the journal.
        LedError: A driver leads it; wait for its end.
    """
    journal = Journal(journal_url(storage))
    with led(plan_of(journal, name, nodes=place.nodes()), journal, place) as session:
        trials = ask_retraining(session, Retrain(top=top, epochs=epochs, seeds=seeds))
        with contextlib.suppress(SearchPaused):  # the rows say how far each trial came
            drive(session)
        return [row for row in session.rows("retrain") if row.trial in trials]


def export_trial(
    name: str,
    *,
    trial: int | None = None,
    out: str | None = None,
    raw: Path | None = None,
    storage: str = DEFAULT_STORAGE,
) -> str:
    """Export a trial's network, by default the best one, and prove it; the folder or ``s3://`` location of the export.

    Raises:
        ExportError: The proof fails, or the export exists.
        UnknownTrialError: No such trial, or it has no checkpoint.
    """
    make_importable(Path())
    journal = Journal(journal_url(storage))
    plan = plan_of(journal, name)
    board = leaderboard_of(name, storage=storage)
    rows = [row for row in board.rows if row.checkpoint is not None]
    if trial is None and (result := board.result) is not None:
        trial = int(best_network(result)["trial"])
    if trial is not None:
        rows = [row for row in rows if row.trial == trial]
    if not rows:
        what = "a trial" if trial is None else f"trial {trial}"
        raise UnknownTrialError(
            f"search {name!r} has no checkpoint of {what}; 'segsearch leaderboard {name}' lists its trials."
        )
    place = out or export_place(plan.job.storage, name, rows[0].trial)
    export_row(plan, journal, rows[0], place, raw=raw)
    return place


def plan_of(journal: Journal, name: str, *, nodes: tuple[Node, ...] | None = None) -> Plan:
    """The plan of a search that stands in the journal; ``nodes`` where it shall go on.

    Raises:
        JournalError: Its data set or a plug-in is not the one that it began with.
    """
    opened = journal.read(name, limit=1)[0]
    plan = make_plan(job_from_json(opened.body["job"]), nodes=nodes)
    if plan.dataset.digest != opened.body["data_digest"]:
        raise JournalError(
            f"search {name!r} began on data {opened.body['data_digest'][:12]}, but {plan.job.dataset} now holds "
            f"{plan.dataset.digest[:12]}; results on different data cannot stand in one search: begin a new one."
        )
    check_unchanged(name, plan.job, opened.body["protocol"])
    return plan
