"""A user's own entries: modules that a job names, found beside the job file or where the command runs, or installed."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import JournalError
from orchestrator.job import Job
from search_spaces.foreign import OWN, code_digest


class PluginError(ValueError):
    """A plug-in cannot be used."""


def make_importable(*folders: Path) -> None:
    """Let modules in these folders be imported, after all that is installed."""
    for folder in folders:
        place = str(folder.resolve())
        if place not in sys.path:
            sys.path.append(place)


def module_names(job: Job) -> tuple[str, ...]:
    """Top-level modules of the user that a job needs: its plug-ins, and its space where that is his own."""
    space, _, function = job.space.partition(":")
    names = [*job.plugins, *([space] if function else ())]
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    return tuple(name for name in tops if name not in OWN)


def load_plugin(name: str) -> None:
    """Import a plug-in, which registers its entries.

    Raises:
        PluginError: It is not there, breaks, or has a name that is taken.
    """
    top = name.partition(".")[0]
    if top in OWN or top in sys.stdlib_module_names:
        raise PluginError(f"{name!r} is the name of a module of segsearch or Python; rename yours.")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name or name.startswith(f"{error.name}."):
            raise PluginError(
                f"no module {name!r} beside the job file, in the current folder, or installed."
            ) from None
        raise PluginError(f"{name} imports {error.name!r}, which is not installed.") from None
    except Exception as error:  # whatever a user's module does when it is imported
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"{name} fails to import: {type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})."
        ) from None


def plugin_digests(job: Job) -> dict[str, str]:
    """Content of the user's modules, by name."""
    return {name: code_digest(name) for name in module_names(job)}


def check_unchanged(name: str, job: Job, protocol: Mapping[str, Any]) -> None:
    """Import the plug-ins of a search that stands in the journal, which must be those that it began with.

    Args:
        name: The search.
        job: Its job.
        protocol: As its ``opened`` holds it.

    Raises:
        JournalError: One is missing or has other code.
    """
    try:
        for plugin in job.plugins:
            load_plugin(plugin)
        present = plugin_digests(job)
    except PluginError as error:
        raise JournalError(f"search {name!r}: plugins: {error}") from None
    for module, code in protocol.get("plugins", {}).items():
        if present.get(module) != code:
            raise JournalError(
                f"search {name!r} began with other code in {module}; restore that code, or begin a new search."
            )


def plugin_files(names: Iterable[str]) -> dict[str, Path]:
    """File or folder of each module that is the user's own, by name; installed ones are left out: images hold them."""
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        place = Path(
            spec.submodule_search_locations[0] if spec.submodule_search_locations else str(spec.origin)
        )
        if "site-packages" not in place.parts and "dist-packages" not in place.parts:
            found[name] = place
    return found
