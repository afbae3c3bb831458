"""Small files that may lie beside any source: splits, groups, regions and classes.

``splits.json``: ``{"train": ["id", …], "validation": […], "test": […]}``. ``groups.json``: ``{"id": "patient", …}``.
``regions.json``: ``{"whole": ["core", "oedema"], …}``, unions of classes that a search learns by default.
``classes.json``: names, or objects with ``name`` and, as needed, ``value`` (what the mask files hold, if not the position: a
number, or a colour ``[red, green, blue]``), ``rgb``, and ``"ignore": true`` for a value whose pixels never count.
``classes.txt``: a name a line. ``label_channels.json``: ``["whole", "core", …]``, what each channel of a volume's labels is.
``geometry.json``: ``{"labels": "by_voxel"}`` where labels lie on their image's voxels, although their headers say otherwise.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces.regions import Regions
from workers.colour_mask import is_packed, packed
from workers.data.manifest import SPLITS
from workers.errors import DataError
from workers.region_names import make_regions, region_problems
from workers.source import LeftOut, SampleFiles, SourceClass, SourcePlan, first_five
from workers.source_pictures import read_lines
from workers.source_sets import name_problems

SPLITS_FILE, GROUPS_FILE, REGIONS_FILE, CLASSES_FILE, CLASSES_TEXT, CHANNELS_FILE, GEOMETRY_FILE = (
    "splits.json",
    "groups.json",
    "regions.json",
    "classes.json",
    "classes.txt",
    "label_channels.json",
    "geometry.json",
)
PLACED_BY = ("by_header", "by_voxel")


def load_json(path: Path) -> Any:
    """Parse a JSON file of a source.

    Raises:
        DataError: It is missing, no JSON, or gives a key twice; the message has the line and column where they are known.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_twins)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8 JSON.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}; correct it."
        ) from None
    except _TwiceError as error:
        raise DataError(f"{path}: key {error.args[0]!r} is given twice; give it once.") from None
    except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
        raise DataError(
            f"{path}: too deep or too long a number for JSON of a data set; correct it."
        ) from None


class _TwiceError(Exception):
    """A key that an object has twice, of which ``json`` would keep the last."""


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _TwiceError(key)
        made[key] = value
    return made


def with_groups(folder: Path, samples: tuple[SampleFiles, ...]) -> tuple[tuple[SampleFiles, ...], list[str]]:
    """Cases with the groups that ``groups.json`` names, and what is wrong with it."""
    path = folder / GROUPS_FILE
    if not path.exists():
        return samples, []
    groups = load_json(path)
    if not isinstance(groups, dict) or not all(isinstance(name, str) and name for name in groups.values()):
        raise DataError(f'{path}: expected {{"case id": "patient", …}}.')
    missing = [sample.id for sample in samples if sample.id not in groups]
    problems = [f"{GROUPS_FILE}: {first_five('cases have no group', missing)}"] if missing else []
    return tuple(replace(sample, group=groups.get(sample.id, sample.group)) for sample in samples), problems


def with_splits(folder: Path, samples: tuple[SampleFiles, ...]) -> tuple[tuple[SampleFiles, ...], list[str]]:
    """Cases in the splits that ``splits.json`` names, and what is wrong with it; cases that it leaves out are dropped."""
    path = folder / SPLITS_FILE
    if not path.exists():
        return samples, []
    splits = load_json(path)
    if not isinstance(splits, dict) or not all(isinstance(ids, list) for ids in splits.values()):
        raise DataError(f'{path}: expected {{"train": ["case id", …], "validation": […], "test": […]}}.')
    unknown = sorted(set(splits) - set(SPLITS))
    problems: list[str] = [
        f"{SPLITS_FILE}: unknown split {name!r}; allowed are {', '.join(SPLITS)}" for name in unknown
    ]
    placed: dict[str, str] = {}
    known = {sample.id for sample in samples}
    for name in SPLITS:
        ids = [str(id) for id in splits.get(name, [])]
        absent = sorted(id for id in ids if id not in known)
        twice = sorted({id for id in ids if id in placed or ids.count(id) > 1})
        if absent:
            sentence = f"{SPLITS_FILE}: {first_five(f'cases of {name!r} are not in the folder', absent)}"
            problems.append(LeftOut(sentence, absent))
        if twice:
            problems.append(f"{SPLITS_FILE}: {first_five('cases are listed twice', twice)}")
        placed.update(dict.fromkeys(ids, name))
    kept = (sample for sample in samples if sample.id in placed)
    return tuple(replace(sample, split=placed[sample.id]) for sample in kept), problems


def with_regions(folder: Path, plan: SourcePlan) -> tuple[Regions, list[str]]:
    """Regions that ``regions.json`` names, else those of the plan, and what is wrong with the file."""
    path = folder / REGIONS_FILE
    if not path.exists():
        return plan.regions, []
    wanted = load_json(path)
    if not isinstance(wanted, dict) or not all(isinstance(classes, list) for classes in wanted.values()):
        raise DataError(f'{path}: expected {{"region": ["class", …], …}}.')
    if plan.classes is None:
        return (), [f"{REGIONS_FILE}: the classes have no names; give them some in {CLASSES_FILE}"]
    names = [item.name for item in plan.classes if not item.ignored]
    wanted = {name: [str(given) for given in classes] for name, classes in wanted.items()}
    problems = [
        f"{REGIONS_FILE}: {'.'.join(map(str, place))}: {message}"
        for place, message in region_problems(wanted, names)
    ]
    return () if problems else make_regions(wanted, names), problems


def load_classes(folder: Path) -> tuple[SourceClass, ...] | None:
    """Classes from ``classes.json`` or ``classes.txt`` beside the data; None without either.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / CLASSES_FILE
    if path.exists():
        listed = load_json(path)
        if not isinstance(listed, list):
            raise DataError(
                f"{path}: expected a list of class names, or of objects with name, value and rgb."
            )
        classes = tuple(_class(path, position, given) for position, given in enumerate(listed))
        if len({is_packed(item.value) for item in classes}) > 1:
            raise DataError(f"{path}: colours and numbers as values; give every class a colour, or none.")
        return classes
    text = folder / CLASSES_TEXT
    if text.exists():
        return tuple(SourceClass(name, position) for position, name in enumerate(read_lines(text)))
    return None


def with_label_channels(folder: Path, plan: SourcePlan) -> SourcePlan:
    """A plan whose labels have the channels that ``label_channels.json`` declares; without the file as it is.

    Raises:
        DataError: The file is damaged, or the classes are declared, too.
    """
    path = folder / CHANNELS_FILE
    if not path.exists():
        return plan
    names = load_json(path)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(
            f'{path}: expected the names of the channels in their order, such as ["whole", "core"].'
        )
    if len(set(names)) < len(names):
        raise DataError(f"{path}: names given twice; give each channel one of its own.")
    if plan.classes is not None:
        raise DataError(f"{path}: classes are declared as well; give the channels or the classes, not both.")
    samples = tuple(replace(sample, channels=len(names)) for sample in plan.samples)
    problems = (*plan.problems, *name_problems(names, CHANNELS_FILE))
    return replace(plan, samples=samples, problems=problems, sets=tuple(names))


def with_geometry(folder: Path, plan: SourcePlan) -> SourcePlan:
    """A plan whose labels lie where ``geometry.json`` says; without the file as it is, where their headers say.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / GEOMETRY_FILE
    if not path.exists():
        return plan
    given = load_json(path)
    if not isinstance(given, dict) or set(given) != {"labels"} or given["labels"] not in PLACED_BY:
        raise DataError(
            f'{path}: expected {{"labels": "by_voxel"}}, or "by_header", which is meant without the file.'
        )
    by_voxel = given["labels"] == "by_voxel"
    return replace(plan, samples=tuple(replace(sample, by_voxel=by_voxel) for sample in plan.samples))


def _class(path: Path, position: int, given: Any) -> SourceClass:
    where = f"{path}: class {position}"
    if isinstance(given, str):
        return SourceClass(given, position)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise DataError(f"{where}: expected a name, or an object with name and, as needed, value and rgb.")
    unknown = sorted(set(given) - {"name", "value", "rgb", "ignore"})
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0]!r}; allowed are name, value, rgb, ignore.")
    value, rgb, ignored = given.get("value", position), given.get("rgb"), given.get("ignore", False)
    if not _is_byte(value) and not _is_colour(value):
        raise DataError(
            f"{where}: value {value!r}; allowed are whole numbers from 0 to 255, or a colour of three of them."
        )
    if rgb is not None and not _is_colour(rgb):
        raise DataError(f"{where}: rgb {rgb!r}; allowed are three whole numbers from 0 to 255.")
    if not isinstance(ignored, bool):
        raise DataError(f"{where}: ignore {ignored!r}; allowed are true and false.")
    if isinstance(value, list):
        rgb = rgb or value
        value = packed((value[0], value[1], value[2]))
    return SourceClass(given["name"], value, None if rgb is None else (rgb[0], rgb[1], rgb[2]), ignored)


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_byte, value))


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
