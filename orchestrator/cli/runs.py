"""Commands that begin, follow and end searches."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli.cluster import tell
from orchestrator.cli.options import (
    Address,
    AllowOpen,
    AsJson,
    Cluster,
    Dataset,
    InProcess,
    JobFile,
    JobStorage,
    NoTracking,
    Search,
    Storage,
    forward,
)
from orchestrator.cli.output import count, print_json, print_table, watching
from orchestrator.cli.results import print_result
from orchestrator.places import DEFAULT_STORAGE, journal_url

if TYPE_CHECKING:
    from orchestrator.job import Budget, Retrain
    from workers.contract import DataView

Raw = Annotated[
    str | None, typer.Option(help="The raw files, instead of where the job says; none: use the stored cases.")
]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    for command in (init, validate, run, fork, resume, extend, pause, stop, cancel):
        app.command()(command)
    app.command("list")(list_searches)
    app.command()(status)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder with your images and labels.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Job file to write; default NAME.yaml here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recognise a folder and write a commented job file for it.

    Example: segsearch init examples/data/hippocampus
    """
    from orchestrator.starter import write_starter

    starter = write_starter(folder, out)
    if as_json:
        print_json({"job": str(starter.job), "found": starter.found, "next": list(starter.commands)})
        return
    print(f"{starter.found}\nwrote {starter.job}; next:\n")
    for command in starter.commands:
        print(f"  {command}")


def validate(job: JobFile, as_json: AsJson = False) -> None:
    """Check a job and say what it would do; starts nothing.

    Example: segsearch validate examples/hippocampus.yaml
    """
    from orchestrator import verbs
    from workers.evaluate import class_names
    from workers.regions import in_words

    plan = verbs.validate(job)
    settings = plan.settings
    facts: dict[str, Any] = {
        "name": plan.job.name,
        "data": f"{plan.dataset.manifest.name}, {plan.dataset.num_classes} classes, digest {plan.dataset.digest[:12]}",
        "reads": _reads(plan.view),
        **({"learns": in_words(plan.view.regions, class_names(plan.dataset))} if plan.view.regions else {}),
        "space": plan.job.space,
        "presets": ", ".join(name for name, _ in settings.presets) or "none",
        "searches for": ", ".join(f"{o.direction} {o.name}" for o in settings.objectives),
        "within": ", ".join(f"{name} {limit:g}" for name, limit in plan.job.constraints.items())
        or "no limits",
        "budget": ", ".join(budget_words(plan.job.budget)),
        "scheduler": f"{plan.job.search.scheduler.kind}, at most {count(plan.job.search.scheduler.max_epochs, 'epoch')}",
        "then": retrain_words(plan.job.retrain, plan.job.search.scheduler.max_epochs),
        "proof from": plan.job.raw or "the stored cases",
        "writes": plan.storage,
        "slots": f"{plan.slots.count} of {count(plan.slots.threads, 'core')}" + plan.slots.card_text,
    }
    if lines := verbs.evidence_lines(plan):
        facts["knows"] = "; ".join(lines)
    if as_json:
        print_json(facts)
    else:
        print_table(f"{job} is good", ("what", "value"), list(facts.items()))


def _reads(view: "DataView") -> str:
    """What a sample is, and how many make a step."""
    said = f"{view.view} of {' x '.join(map(str, view.size))}, {view.batch} a step"
    beside = count(view.adjacent_slices, "slice")
    return f"{said}, each with {beside} on either side" if view.adjacent_slices else said


def budget_words(budget: "Budget") -> Iterator[str]:
    """Each limit of a search."""
    yield count(budget.trials, "trial")
    if budget.wall is not None:
        yield budget.wall
    if budget.worker_hours is not None:
        yield f"{budget.worker_hours:g} worker hours"


def retrain_words(wish: "Retrain", max_epochs: int) -> str:
    """What comes after the search."""
    if wish.top == 0:
        return "nothing"
    length = f"for {wish.wall}" if wish.wall else f"for {count(wish.epochs or max_epochs, 'epoch')}"
    beside = f"; then {wish.against} for as long as all of this" if wish.against else ""
    return f"the best {wish.top} trained anew {length} with {count(wish.seeds, 'seed')}{beside}"


def run(
    job: JobFile,
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on where a search of this name exists.")
    ] = False,
    dataset: Dataset = None,
    storage: JobStorage = None,
    raw: Raw = None,
    cluster: Cluster = None,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Search, retrain the best, compare, and export with a proof.

    It is compared with the known network that the job names under retrain.against.

    Example: segsearch run examples/hippocampus.yaml
    """
    from orchestrator import verbs
    from orchestrator.job import load_job
    from orchestrator.lead import Place

    checked = load_job(job)  # now: the file may be another one when the search is over
    with watching(as_json) as view:
        place = Place(cluster, in_process, view, not no_tracking)
        result = verbs.run(job, place=place, go_on=go_on, dataset=dataset, storage=storage, raw=raw)
    _finish(checked.name, result, storage or checked.storage, as_json)


def fork(
    name: Search,
    job: Annotated[
        Path,
        typer.Option(
            "--with", help="The job file of the new search, under a name of its own.", show_default=False
        ),
    ],
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on where a search of the new name exists.")
    ] = False,
    dataset: Dataset = None,
    storage: JobStorage = None,
    raw: Raw = None,
    address: Annotated[
        str | None,
        typer.Option(help="Submit it to this cluster: the address of Ray's dashboard, http://HOST:8265."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="With --address: show what it prints.")] = False,
    allow_open: AllowOpen = False,
    cluster: Cluster = None,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Begin a search that knows the trials of another one.

    The job is a changed one under a name of its own; the other search is of the same journal, finished or not, and stays as it
    is. It says how many of the known trials the new space holds and how many lie outside; then it runs as run does, or on a
    cluster as submit does.

    Example: segsearch fork hippocampus --with narrower.yaml
    """
    if address is not None:
        from orchestrator import remote

        handed = remote.submit(
            job, address, dataset=dataset, storage=storage, allow_open=allow_open, fork_of=name
        )
        tell(handed, follow=follow, allow_open=allow_open, as_json=as_json)
        return
    from orchestrator import verbs
    from orchestrator.job import load_job
    from orchestrator.lead import Place

    checked = load_job(job)  # now: the file may be another one when the search is over
    with watching(as_json) as view:
        place = Place(cluster, in_process, view, not no_tracking)
        result = verbs.fork(name, job, place=place, go_on=go_on, dataset=dataset, storage=storage, raw=raw)
    _finish(checked.name, result, storage or checked.storage, as_json)


def resume(
    name: Search,
    storage: Annotated[
        str | None, typer.Option(help="Folder with the journal, where SEGSEARCH_JOURNAL is not set.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Go on on this cluster: the address of Ray's dashboard, http://HOST:8265."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="With --address: show what it prints.")] = False,
    allow_open: AllowOpen = False,
    cluster: Cluster = None,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a search where it stopped, however it stopped.

    Example: segsearch resume hippocampus
    """
    if address is not None:
        from orchestrator import remote

        handed = remote.resume(name, address, storage=storage, allow_open=allow_open)
        tell(handed, follow=follow, allow_open=allow_open, as_json=as_json)
        return
    from orchestrator import verbs
    from orchestrator.lead import Place

    place_of_journal = storage or DEFAULT_STORAGE
    with watching(as_json) as view:
        place = Place(cluster, in_process, view, not no_tracking)
        result = verbs.resume(name, storage=place_of_journal, place=place)
    _finish(name, result, place_of_journal, as_json)


def stop(
    name: Search, storage: Storage = DEFAULT_STORAGE, address: Address = None, allow_open: AllowOpen = False
) -> None:
    """End a search for good after its running epochs.

    What it found stays, and export takes the best of it; nothing is retrained. To go on later, pause it instead.

    Example: segsearch stop hippocampus
    """
    _ask(name, "stop", storage, address, allow_open)


def pause(
    name: Search, storage: Storage = DEFAULT_STORAGE, address: Address = None, allow_open: AllowOpen = False
) -> None:
    """End the driver of a search after its running epochs.

    The search waits; resume goes on.

    Example: segsearch pause hippocampus
    """
    _ask(name, "pause", storage, address, allow_open)


def cancel(
    name: Search, storage: Storage = DEFAULT_STORAGE, address: Address = None, allow_open: AllowOpen = False
) -> None:
    """End a search for good at once.

    Its running epochs are lost; what it found before stays.

    Example: segsearch cancel hippocampus
    """
    _ask(name, "cancel", storage, address, allow_open)


def extend(
    name: Search,
    trials: Annotated[int, typer.Option(help="More trials.")] = 0,
    wall: Annotated[str | None, typer.Option(help="More wall time, such as 2h.")] = None,
    worker_hours: Annotated[float, typer.Option(help="More worker hours.")] = 0.0,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
) -> None:
    """Give a search more to spend, running or finished.

    Trials that it left behind go on, too.

    Example: segsearch extend hippocampus --trials 200 --wall 2h
    """
    more = ["--trials", str(trials), "--worker-hours", str(worker_hours), *(["--wall", wall] if wall else [])]
    forward(["extend", name, *more], address, storage=storage, allow_open=allow_open)
    from orchestrator import reading

    is_led = reading.extend(name, trials=trials, wall=wall, worker_hours=worker_hours, storage=storage)
    print(f"extended {name}." if is_led else f"extended {name}; 'segsearch resume {name}' goes on.")


def _ask(
    name: str, verb: Literal["stop", "pause", "cancel"], storage: str, address: str | None, allow_open: bool
) -> None:
    forward([verb, name], address, storage=storage, allow_open=allow_open)
    from orchestrator import reading

    if reading.is_finished(name, storage=storage):
        print(f"{name} is finished; there is nothing to {verb}.")
    elif reading.ask(name, verb, storage=storage):
        when = "at once" if verb == "cancel" else "after the running epochs"
        print(f"asked {name} to {verb}; it ends {when}.")
    elif verb == "pause":
        print(f"no driver runs {name}; there is nothing to pause.")
    else:
        print(f"no driver runs {name}; the request waits for the next 'segsearch resume {name}'.")


def list_searches(
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """All searches of the journal.

    Example: segsearch list
    """
    forward(["list"], address, storage=storage, allow_open=allow_open, as_json=as_json)
    from orchestrator import reading
    from orchestrator.database import without_password

    rows = reading.searches(storage=storage)
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(f"no search began with this journal: {without_password(journal_url(storage))}")
        return
    keys = ("name", "state", "trials", "ended", "best", "best_trial", "worker_hours")
    print_table("searches", keys, [[row[key] for key in keys] for row in rows])


def status(
    name: Search,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """Where a search stands: trials, rejections, best, cost.

    Example: segsearch status hippocampus
    """
    forward(["status", name], address, storage=storage, allow_open=allow_open, as_json=as_json)
    from orchestrator import reading

    facts = reading.status(name, storage=storage)
    if as_json:
        print_json(facts)
    else:
        rejected = ", ".join(f"{number} by {reason}" for reason, number in facts["rejected"].items())
        print_table(
            f"search {name}", ("what", "value"), list((facts | {"rejected": rejected or None}).items())
        )


def _finish(name: str, result: dict[str, Any], storage: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    print_result(name, result, storage)
