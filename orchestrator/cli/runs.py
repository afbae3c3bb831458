"""Commands that begin, follow and end searches."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from orchestrator import verbs
from orchestrator.cli.output import AsJson, console, print_json, print_table
from orchestrator.cli.results import print_result
from orchestrator.job import load_job
from orchestrator.places import DEFAULT_STORAGE
from orchestrator.progress import ProgressView

JobFile = Annotated[Path, typer.Argument(help="The job file.", show_default=False)]
Search = Annotated[str, typer.Argument(help="Name of the search.", show_default=False)]
Storage = Annotated[str, typer.Option(help="Folder with the journal, where SEGSEARCH_JOURNAL is not set.")]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="One trial after another in this process, for a debugger.")
]
NoTracking = Annotated[bool, typer.Option("--no-tracking", help="Do not publish to MLflow.")]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    for command in (init, validate, run, resume, stop):
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
    plan = verbs.validate(job)
    settings = plan.settings
    facts: dict[str, Any] = {
        "name": plan.job.name,
        "data": f"{plan.dataset.manifest.name}, {plan.dataset.num_classes} classes, digest {plan.dataset.digest[:12]}",
        "reads": f"{plan.view.view} of {' x '.join(map(str, plan.view.size))}, {plan.view.batch} a step",
        "space": plan.job.space,
        "presets": ", ".join(name for name, _ in settings.presets) or "none",
        "searches for": f"{settings.direction} {settings.objective}",
        "budget": f"{settings.trials} trials" + (f", {plan.job.budget.wall}" if plan.job.budget.wall else ""),
        "slots": f"{settings.slots} of {plan.threads} core(s)",
    }
    if as_json:
        print_json(facts)
    else:
        print_table(f"{job} is good", ("what", "value"), list(facts.items()))


def run(
    job: JobFile,
    go_on: Annotated[
        bool, typer.Option("--resume", help="Go on where a search of this name exists.")
    ] = False,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Search, retrain the best, compare with a preset, export the winner with its proof.

    Example: segsearch run examples/hippocampus.yaml
    """
    with _view(as_json) as view:
        executor: verbs.ExecutorName = "in-process" if in_process else "ray"
        result = verbs.run(job, executor=executor, watch=view, track=not no_tracking, go_on=go_on)
    checked = load_job(job)
    _finish(checked.name, result, checked.storage, as_json)


def resume(
    name: Search,
    storage: Storage = DEFAULT_STORAGE,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a search where it stopped, however it stopped.

    Example: segsearch resume hippocampus
    """
    with _view(as_json) as view:
        executor: verbs.ExecutorName = "in-process" if in_process else "ray"
        result = verbs.resume(name, storage=storage, executor=executor, watch=view, track=not no_tracking)
    _finish(name, result, storage, as_json)


def stop(name: Search, storage: Storage = DEFAULT_STORAGE) -> None:
    """Ask a running search to end for good after its running epochs; what it found stays.

    Example: segsearch stop hippocampus
    """
    if verbs.stop(name, storage=storage):
        print(f"asked {name} to stop; it ends after the running epochs.")
    else:
        print(f"no driver runs {name}; the request waits for the next 'segsearch resume {name}'.")


def list_searches(storage: Storage = DEFAULT_STORAGE, as_json: AsJson = False) -> None:
    """All searches of the journal.

    Example: segsearch list
    """
    rows = verbs.searches(storage=storage)
    if as_json:
        print_json(rows)
        return
    keys = ("name", "state", "trials", "ended", "best", "best_trial", "worker_hours")
    print_table("searches", keys, [[row[key] for key in keys] for row in rows])


def status(name: Search, storage: Storage = DEFAULT_STORAGE, as_json: AsJson = False) -> None:
    """Where a search stands: state, trials, rejections with their reasons, best, cost.

    Example: segsearch status hippocampus
    """
    facts = verbs.status(name, storage=storage)
    if as_json:
        print_json(facts)
    else:
        print_table(f"search {name}", ("what", "value"), list(facts.items()))


def _view(as_json: bool) -> ProgressView:
    """Progress goes to standard error where standard output is for a machine."""
    return ProgressView(Console(stderr=True) if as_json else console())


def _finish(name: str, result: dict[str, Any], storage: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    print_result(name, result, storage)
