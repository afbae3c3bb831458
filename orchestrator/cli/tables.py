"""``segsearch table``: record trainings, so that searches can be tried on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.output import print_json

if TYPE_CHECKING:
    from orchestrator.table import Table, Training

JobFile = Annotated[Path, typer.Argument(help="The job file.", show_default=False)]

table_app = typer.Typer(help="Recorded trainings, to try searches on.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    app.add_typer(table_app, name="table")


@table_app.command("record")
def record_table(
    job: JobFile,
    out: Annotated[Path, typer.Option(help="The Parquet file; one that exists is continued.")],
    trials: Annotated[int, typer.Option(min=1, help="Different candidates, presets included.")] = 150,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each repeated candidate.")] = 3,
    repeated: Annotated[int, typer.Option(min=0, help="Candidates with several seeds.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Train candidates of a job's space to their end and keep their curves; may be killed and started again.

    Example: segsearch table record benchmarks/tables/hippocampus-2d.yaml --out table.parquet --trials 150
    """
    from orchestrator import verbs
    from orchestrator.table import record

    def watch(training: "Training", done: int, of: int) -> None:
        objective = plan.settings.objectives[0].name
        last = training.epochs[-1].metrics.get(objective) if training.epochs else None
        value = "no score" if last is None else f"{objective} {last:.4f}"
        if not as_json:
            who = training.name or training.digest[:8]
            text = f"{done} of {of}: {who}, seed {training.seed}, {training.status}, {value}, {training.seconds:.0f} s"
            print(text, flush=True)

    plan = verbs.validate(job)
    table = record(plan, out, trials=trials, seeds=seeds, repeated=repeated, watch=watch)
    if as_json:
        print_json(facts(table))
    else:
        print(f"{out}: {len(table.by_digest)} candidates, {len(table.trainings)} trainings")


def facts(table: "Table") -> dict[str, object]:
    """A table in numbers."""
    return {
        "candidates": len(table.by_digest),
        "trainings": len(table.trainings),
        "seconds": sum(training.seconds for training in table.trainings),
    }
