"""Data sources: how a folder of someone else's files becomes cases. Each layout is an entry in ``workers/sources/``."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from search_spaces.regions import Regions
from search_spaces.register import Entry, kinds, lookup
from workers.errors import DataError

Array = npt.NDArray[Any]

VOLUME_AXES = ("x", "y", "z")
IMAGE_AXES = ("height", "width")
_MAX_ID = 120
_MOST_INNER = 20  # folders in which a layout is looked for, where there is none


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """A case before it is read.

    Attributes:
        id: Unique in the data set.
        image, labels: Files.
        group: Patient, video or stack; cases of one group stay in one split.
        split: Where the source puts it; None leaves it to ``workers.splits``.
        coloured: The mask holds a declared colour for each class.
        channels: Of the labels, each of them a set (``SourcePlan.sets``); 0: a label map, or files apart.
        known: Labels that were read already (``workers.source_sets.kept``); None leaves them to be read.
        by_voxel: Labels lie on their image's voxels, one on each, whatever their header says.
    """

    id: str
    image: Path
    labels: Path
    group: str
    split: str | None = None
    coloured: bool = False
    channels: int = 0
    known: bytes | None = None
    by_voxel: bool = False


@dataclass(frozen=True, slots=True)
class SourceClass:
    """A class as the source declares it.

    Attributes:
        name: Public name.
        value: What label files hold, a number up to 255 or a packed colour (``workers.colour_mask``).
        rgb: Colour in pictures, if the source says one.
        ignored: No class: its pixels never count.
    """

    name: str
    value: int
    rgb: tuple[int, int, int] | None = None
    ignored: bool = False


class LeftOut(str):
    """A problem of cases that a plan does not hold any more, such as images without labels: an ingest that may skip bad
    cases goes on without them.

    Attributes:
        names: All that are left out; the sentence names five.
    """

    names: tuple[str, ...]

    def __new__(cls, sentence: str, names: Iterable[str]) -> "LeftOut":
        made = super().__new__(cls, sentence)
        made.names = tuple(names)
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.names)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a source found in a folder, before any case is read.

    Attributes:
        name: Name of the data set.
        samples: Sorted by id.
        axes: Names of the spatial axes.
        classes: None when only the labels can tell: then values 0..K-1 are taken as they are found.
        channels: Names of the image channels; None when only the images can tell.
        symmetries: Axes along which a flip leaves the labels right.
        licence, reference: As the source states them.
        problems: What is wrong already; ``LeftOut`` where only cases are concerned that ``samples`` lacks.
        notes: How the folder was understood.
        regions: What a search learns by default instead of the classes: unions of them, by their places in ``classes``.
        sets: Names of what a pixel may be in several of; classes and regions follow from the labels (``workers.source_sets``).
    """

    name: str
    samples: tuple[SampleFiles, ...]
    axes: tuple[str, ...]
    classes: tuple[SourceClass, ...] | None = None
    channels: tuple[str, ...] | None = None
    symmetries: tuple[str, ...] = ()
    licence: str = ""
    reference: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    regions: Regions = ()
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawCase:
    """A case as its files hold it.

    Attributes:
        image: (C, *spatial).
        labels: (*spatial) whole numbers as in the file, not yet class indices.
        picture: Bytes of a JPEG or PNG that shards store as they are; None stores the array.
        codec: ``jpeg``, ``png`` or ``raw+zstd``.
        spacing, affine: Of volumes; None for images.
        notes: What is odd but not wrong, without the file's name.
    """

    image: Array
    labels: Array
    picture: bytes | None = None
    codec: str = "raw+zstd"
    spacing: tuple[float, ...] | None = None
    affine: npt.NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


class Source(Entry, ABC):
    """A layout of files on disk.

    Attributes:
        layout: One line that says what such a folder looks like.
    """

    family: ClassVar[str] = "data source"
    folder: ClassVar[str] = "workers.sources"
    layout: ClassVar[str] = ""

    @abstractmethod
    def recognise(self, folder: Path) -> bool:
        """Whether a folder has this layout. Looks at names only."""

    @abstractmethod
    def plan(self, folder: Path) -> SourcePlan:
        """List the cases of a folder that has this layout.

        Raises:
            DataError: The folder's own description is damaged.
        """

    @abstractmethod
    def read(self, sample: SampleFiles) -> RawCase:
        """Read one case. Threads and processes call it at the same time, so it changes nothing that another call sees.

        Raises:
            DataError: A file is damaged or of a wrong kind.
        """

    def read_sets(self, sample: SampleFiles) -> Array:
        """Labels of a case whose plan has ``sets``, with a bit for each (``workers.source_sets.set_labels``).

        Raises:
            DataError: A file is damaged or of a wrong kind.
        """
        raise NotImplementedError(f"{self.kind} makes no plan with sets")

    def num_bytes(self, sample: SampleFiles) -> int:
        """Size of a case's files, by which shards are cut."""
        return sample.image.stat().st_size + sample.labels.stat().st_size


def recognise(folder: Path) -> str:
    """Kind of the source whose layout a folder has.

    Raises:
        DataError: No folder, no known layout, or more than one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds the images and labels.")
    sources = [open_source(kind) for kind in kinds(Source)]
    with readable(folder):
        found = [source.kind for source in sources if source.recognise(folder)]
    if len(found) == 1:
        return found[0]
    layouts = "; ".join(f"{source.kind}: {source.layout}" for source in sources)
    if not found:
        inner, kind = _layout_within(folder, sources)
        if inner is not None:
            raise DataError(f"{folder}: no known layout, but {inner.name} in it is of {kind}; give {inner}.")
        raise DataError(
            f"{folder}: no known layout. Looked for {layouts}. Arrange the files like one of them."
        )
    raise DataError(f"{folder}: looks like {' and '.join(found)}; say which with --source. ({layouts})")


def _layout_within(folder: Path, sources: Sequence[Source]) -> tuple[Path | None, str]:
    """The first folder within one that has a layout, and its kind."""
    with readable(folder):
        for inner in sorted(path for path in folder.iterdir() if path.is_dir())[:_MOST_INNER]:
            kind = next((source.kind for source in sources if source.recognise(inner)), None)
            if kind is not None:
                return inner, kind
    return None, ""


def open_source(kind: str) -> Source:
    """The source of a kind.

    Raises:
        UnknownKindError: No such kind.
    """
    return lookup(Source, kind)()  # type: ignore[type-abstract]  # entries are concrete


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """What is read in this context lies in a source folder: a file or folder there that cannot be read is a ``DataError``."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or folder}: cannot be read ({error.strerror or error})"
        raise DataError(f"{printable(what)}; give a folder whose files you may read.") from None


def id_problem(id: str) -> str | None:
    """What is wrong with an id, or None: ids become file names and keys."""
    if not id or len(id) > _MAX_ID or id[0] in ".-" or re.search(r"[/\\]", id):
        return (
            f"id {id!r}: allowed are 1 to {_MAX_ID} characters without slashes, not starting with '.' or '-'"
        )
    if not id.isprintable() or unicodedata.normalize("NFC", id) != id:
        return f"id {id!r}: allowed are printable characters in composed (NFC) form"
    return None


def first_five(what: str, names: list[str]) -> str:
    """A list in a sentence: its first five and the count."""
    listed = ", ".join(map(printable, names[:5]))
    return f"{len(names)} {what}: {listed}{', …' if len(names) > 5 else ''}"


def printable(name: str) -> str:
    """A name in a sentence: line feeds, codes of a terminal and bytes that are no text are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]
