"""The command ``segsearch``: verbs, and the border at which errors become messages and exit codes.

Exit codes: 0 done; 1 failed (a proof, a verification, a search that ended without a result); 2 bad input; 130 interrupted.
"""

import importlib.metadata
import json
import sys
import warnings
from typing import Annotated

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError  # typer carries its own click

from orchestrator.cli import cluster, data, results, runs, spaces, tables
from orchestrator.errors import OrchestratorError
from orchestrator.yaml_document import DocumentError
from search_spaces.errors import SpaceError
from workers.errors import ExportError, WorkerError

INTERRUPTED = 130
LEADING = ("run", "fork", "resume", "retrain")  # commands that lead a search

app = typer.Typer(
    name="segsearch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs.add_to(app)
cluster.add_to(app)
results.add_to(app)
tables.add_to(app)
app.add_typer(data.app, name="data")
app.add_typer(spaces.space_app, name="space")
app.add_typer(spaces.preset_app, name="preset")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"segsearch {importlib.metadata.version('segsearch')}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Search for the segmentation network, loss and recipe that suit your images and your limits."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit."""
    warnings.filterwarnings("ignore")  # other people's deprecations are nothing to a user
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command; its exit code."""
    try:
        result = app(arguments, prog_name="segsearch", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except NoArgsIsHelpError as error:  # nothing but 'segsearch', or the name of a group
        print(error.format_message())
        return 2
    except ClickException as error:
        _say(arguments, [error.format_message()])
        return 2
    except DocumentError as error:
        _say(arguments, error.lines())
        return 2
    except ExportError as error:
        _say(arguments, [str(error)])
        return 1
    except (SpaceError, WorkerError) as error:
        _say(arguments, str(error).splitlines())
        return 2
    except OrchestratorError as error:
        _say(arguments, [str(error)])
        return 2 if isinstance(error, ValueError) else 1
    except OSError as error:  # a file or folder that a user named, or a full disk
        _say(arguments, [f"{error.filename or 'the system says'}: {error.strerror or error}."])
        return 1
    if result == INTERRUPTED:  # typer turns Ctrl-C into this result
        _say(arguments, [f"interrupted{_how_to_go_on(arguments)}."])
    return result if isinstance(result, int) else 0


def _how_to_go_on(arguments: list[str]) -> str:
    """What to type after an interruption of a command that leads a search; its name where the command line has it."""
    command, *words = arguments or [""]
    if command not in LEADING:
        return ""
    names = words[:1] if command in ("resume", "retrain") else []
    name = names[0] if names and not names[0].startswith("-") else "NAME"
    return f"; 'segsearch resume {name}' goes on where it stopped"


def _say(arguments: list[str], lines: list[str]) -> None:
    """Errors go to standard error: for people, or with ``--json`` for machines."""
    if "--json" in arguments:
        print(json.dumps({"errors": lines}), file=sys.stderr)
        return
    for line in lines:
        print(f"error: {line}" if not line.startswith("  - ") else line, file=sys.stderr)


if __name__ == "__main__":
    main()
