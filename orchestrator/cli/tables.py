"""``segsearch table`` and ``segsearch simulate``: record trainings, and try searches on them in virtual time."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, JobFile
from orchestrator.cli.output import print_json, print_table

if TYPE_CHECKING:
    from orchestrator.plan import Plan
    from orchestrator.table import Table, Training

TableFile = Annotated[Path, typer.Argument(help="A table.", show_default=False)]
TRIALS, SEEDS, REPEATED = 150, 3, 20  # of a recording

table_app = typer.Typer(help="Recorded trainings, to try searches on.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    app.command("simulate")(simulate_job)
    app.add_typer(table_app, name="table")


@table_app.command("record")
def record_table(
    job: JobFile,
    out: Annotated[Path, typer.Option(help="The Parquet file; one that exists is continued.")],
    trials: Annotated[int, typer.Option(min=1, help="Different candidates, presets included.")] = TRIALS,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each repeated candidate.")] = SEEDS,
    repeated: Annotated[int, typer.Option(min=0, help="Candidates with several seeds.")] = REPEATED,
    source: Annotated[
        list[str] | None,
        typer.Option("--from", help="Take the full trainings of this search instead; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train candidates of a job's space and keep their curves.

    To their end; may be killed and started again.

    With --from nothing is trained: the full trainings of searches in the job's journal are added, seconds as counted there.

    Example: segsearch table record benchmarks/tables/hippocampus-2d.yaml --out table.parquet --trials 150
    """
    if source:
        if (trials, seeds, repeated) != (TRIALS, SEEDS, REPEATED):
            raise typer.BadParameter(
                "--from: nothing is trained; leave out --trials, --seeds and --repeated."
            )
        _harvest(_plan(job, here=True), source, out, as_json)
        return
    from orchestrator.recording import record

    def watch(training: "Training", done: int, of: int) -> None:
        objective = plan.settings.objectives[0].name
        last = training.epochs[-1].metrics.get(objective) if training.epochs else None
        value = "no score" if last is None else f"{objective} {last:.4f}"
        if not as_json:
            who = training.name or training.digest[:8]
            text = f"{done} of {of}: {who}, seed {training.seed}, {training.status}, {value}, {training.seconds:.0f} s"
            print(text, flush=True)

    plan = _plan(job)
    _show(out, record(plan, out, trials=trials, seeds=seeds, repeated=repeated, watch=watch), as_json)


@table_app.command("info")
def describe_table(table: TableFile, as_json: AsJson = False) -> None:
    """What a table was recorded on, and how much it holds.

    Example: segsearch table info benchmarks/tables/hippocampus-2d.parquet
    """
    from orchestrator.table import load_table

    _show(table, load_table(table), as_json)


def simulate_job(
    job: JobFile,
    table: Annotated[Path, typer.Option(help="A table of the job's space, data and protocol.")],
    workers: Annotated[int, typer.Option(min=1, help="Slots side by side.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Searches, each with another seed.")] = 30,
    surrogate: Annotated[
        bool, typer.Option("--surrogate", help="Predict the curves of candidates that the table lacks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play a job's search on recorded trainings.

    In virtual time, with many seeds: what it would find, and for how much.

    Example: segsearch simulate benchmarks/tables/hippocampus-2d.yaml --table benchmarks/tables/hippocampus-2d.parquet
    """
    from orchestrator.playground import Playground
    from orchestrator.simulate import simulate
    from orchestrator.table import load_table, usable

    recorded = load_table(table)
    # A recording pins what only this machine could decide; a harvest of searches does not.
    plan = _plan(job, here="recipe.precision" not in recorded.origin.fix)
    known = usable(recorded, plan, where=str(table))
    playground = Playground(plan.settings.space, known, predict=surrogate)
    summary = simulate(playground, plan.settings, workers=workers, seeds=seeds)
    facts = summary.to_json()
    if plan.job.search.warm_start:
        print("search.warm_start is left out: a table holds no other searches", file=sys.stderr)
    if plan.job.search.inherit:
        print(
            "search.inherit is left out: recorded trainings began with weights of their own", file=sys.stderr
        )
    if as_json:
        print_json(facts)
        return
    rows = [
        (round(at.worker_s), round(at.worker_s / workers), at.best, at.low, at.high, at.median)
        for at in summary.budgets
    ]
    first = plan.settings.objectives[0]
    where = f"{summary.candidates} recorded candidates, {seeds} seeds"
    columns = ("worker-s", "wall s, all slots busy", "mean", "95 % from", "to", "median")
    print_table(f"best {first.name} so far ({where})", columns, rows)
    print(
        f"a search: {facts['trials']:.0f} trials, {facts['epochs']:.0f} epochs, {facts['worker_s']:,.0f} worker-seconds, "
        f"{facts['wall_s']:,.0f} s on {workers} slots (means)"
    )
    if surrogate:
        print(f"PREDICTED, not recorded: the curves of {facts['predicted']:.0f} trials of a search (mean)")
    elif facts["moved"]:
        print(f"{facts['moved']:.0f} proposals of a search stood for their nearest recorded candidate (mean)")


def _harvest(plan: "Plan", sources: list[str], out: Path, as_json: bool) -> None:
    from orchestrator.harvest import harvest
    from orchestrator.journal import Journal
    from orchestrator.places import journal_url

    found = harvest(plan, Journal(journal_url(plan.job.storage)), sources, out)
    if not as_json:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(found.left.items())) or "none"
        print(f"{found.taken} full trainings added to {out}; trials left out: {left}")
    _show(out, found.table, as_json)


def _plan(job: Path, *, here: bool = False) -> "Plan":
    """A job of which nothing runs on a cluster: its resources do not matter, or with ``here`` are those of this machine."""
    from orchestrator.job import load_job_document
    from orchestrator.plan import make_plan
    from orchestrator.slots import this_machine

    checked, document = load_job_document(job)
    return make_plan(checked, document, nodes=this_machine() if here else None)


def _show(path: Path, table: "Table", as_json: bool) -> None:
    origin = table.origin
    facts = {
        "candidates": len(table.by_digest),
        "trainings": len(table.trainings),
        "cpu_hours": sum(training.seconds for training in table.trainings) / 3600,
        "space": origin.space,
        "fix": origin.fix,
        "data": origin.data,
        "protocol": origin.protocol,
        "constraints": origin.constraints,
    }
    if as_json:
        print_json(facts)
    else:
        print_table(str(path), ("what", "value"), list(facts.items()))
