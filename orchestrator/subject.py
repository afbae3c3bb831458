"""What a user points at when a network is meant: a preset, a file, a trial of a search."""

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SubjectError
from orchestrator.reading import candidate_of
from search_spaces.candidate import Candidate, from_json
from search_spaces.preset import load_preset

CHANNELS, CLASSES = 1, 3


@dataclass(frozen=True, slots=True)
class Subject:
    """A candidate and what it is called.

    Attributes:
        candidate: What is meant.
        title: For people.
        channels: Of an image, as its source says.
        classes: Background included.
        ndim: Spatial dimensions in which it was published.
    """

    candidate: Candidate
    title: str
    channels: int = CHANNELS
    classes: int = CLASSES
    ndim: int = 2


def subject(text: str, *, storage: str) -> Subject:
    """The candidate that a text names.

    Args:
        text: Name of a preset, path of a JSON file (as ``space sample`` prints, or ``candidate.json`` of an export or of
            MLflow), or ``SEARCH:TRIAL``.
        storage: Folder with the journal.

    Raises:
        SubjectError: A file that holds no candidate.
        UnknownKindError: No such preset.
        UnknownSearchError: No such search.
        UnknownTrialError: No such trial.
    """
    search, colon, trial = text.rpartition(":")
    if colon and trial.isdigit():
        found = candidate_of(search, int(trial), storage=storage)
        title = f"{search}, trial {trial} {found['name']}"
        return Subject(from_json(Candidate, found["candidate"], "candidate"), title)
    path = Path(text)
    if path.suffix == ".json" or path.is_file():
        return _of_file(path)
    preset = load_preset(text)
    return Subject(preset.candidate(), preset.title, *preset.channels, preset.ndim)


def read_size(text: str) -> tuple[int, ...]:
    """Pixels of an image, written ``HxW`` or ``DxHxW``.

    Raises:
        SubjectError: It is written otherwise.
    """
    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise SubjectError(f"--size: {text!r} given; write HxW or DxHxW, for instance 256x256.")
    return tuple(map(int, parts))


def _of_file(path: Path) -> Subject:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SubjectError(
            f"{path} cannot be read as JSON ({error}); name a file with a candidate."
        ) from None
    if isinstance(data, list) and data:
        data = data[0]
    if isinstance(data, dict) and "candidate" in data:
        data = data["candidate"]
    return Subject(from_json(Candidate, data, str(path)), path.stem)
