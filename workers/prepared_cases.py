"""Prepared cases of a split, turned, cropped and resampled once a node and then mapped from files by all of its trials.

So a trial of any size of data set holds little memory of its own: a sample reads only the bricks that its window touches,
loader processes and other trials share them, and a second trial prepares nothing. Intensities stay as they are stored (a
pixel of a photograph takes one byte), since ``Scaling`` makes network input of a window at no cost.

A file is a safetensors file, ``<cache>/prepared/<data set and geometry>/<hash of the id>.safetensors``: ``pixels``,
``labels``, ``truth`` where it differs; of volumes these are in bricks, and ``places`` of classes beside them; its metadata say
the rest. A file that is damaged, or of an older layout, is made again.
"""

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, overload

import numpy as np
import scipy

from workers.bricks import Bricks, Shape, brick_of
from workers.contract import DataView
from workers.data.dataset import Dataset
from workers.data.manifest import canonical
from workers.data.shard_cache import default_cache
from workers.levels import CaseLevels, levels_of
from workers.places import Places, places_of_classes
from workers.prepared_file import Content, load_content
from workers.prepared_folder import PreparedGroup
from workers.preprocessing import Fitted, Pixels, Prepared, Undo, prepare, scaling_of

VERSION = 2  # of the file, and of what ``prepare`` does to geometry
MAX_OPEN = 4096  # files that a process keeps mapped; Linux allows 65,530 maps
SLICES: Shape = (0, 0, 1)
CUBES: Shape = (32, 32, 32)


class PreparedCases(Sequence[Prepared]):
    """The labelled cases of a split, sorted by id, prepared when they are asked for. It may be handed to other processes.

    Args:
        dataset: Where cases come from.
        split: Which of them.
        fitted: How they are prepared.
        cache: Folder of the node's files; None takes ``SEGSEARCH_CACHE`` or ``~/.cache/segsearch``.
        bricks: What of a volume lies together and is checked together, as an edge along each axis; 0 is the whole axis.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        fitted: Fitted,
        cache: Path | None = None,
        *,
        bricks: Shape = SLICES,
    ) -> None:
        self._dataset = dataset
        self._fitted = fitted
        self._bricks = bricks
        self._group = PreparedGroup(cache or default_cache(), _key(dataset, fitted, bricks))
        self._ids = dataset.ids(split)
        if dataset.manifest.splits[split].unlabelled:
            self._ids = tuple(id for id in self._ids if dataset.case(id, copy=False).labels is not None)
        self._mapped: OrderedDict[int, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, number: int) -> Prepared: ...
    @overload
    def __getitem__(self, number: slice) -> list[Prepared]: ...
    def __getitem__(self, number: int | slice) -> Prepared | list[Prepared]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        id = self._ids[number]  # raises IndexError, which ends an iteration
        held = self._mapped.get(number)
        if held is not None:
            self._mapped.move_to_end(number)
            return held
        case = self._read(id)
        if (
            isinstance(case.pixels, Bricks) or not case.pixels.flags.writeable
        ):  # mapped, if only from the shard
            self._mapped[number] = case
            if len(self._mapped) > MAX_OPEN:
                self._mapped.popitem(last=False)
        return case

    def _read(self, id: str) -> Prepared:
        file = _CaseFile(self._dataset, self._fitted, self._group, self._bricks, id)
        try:
            self._group.hold()
            case = file.load(file.remake)
        except OSError as error:
            case = None
            _warn_once(self._group.path, error)
        return case or file.make()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": OrderedDict()}


def bricks_for(view: DataView) -> Shape:
    """The bricks in which a view finds volumes best."""
    return CUBES if view.view == "patches" else SLICES


def _key(dataset: Dataset, fitted: Fitted, bricks: Shape) -> str:
    """Names what the files depend on: content, geometry, and the code that resamples. Intensity choices share files."""
    choices = fitted.choices
    resampled = choices.spacing == "median" and fitted.spacing is not None
    facts = {
        "version": VERSION,
        "content": dataset.digest,
        "orientation": choices.orientation,
        "crop": choices.crop,
        "spacing": list(fitted.spacing or ()) if resampled else None,
        "scipy": scipy.__version__ if resampled else None,
        "bricks": list(bricks) if dataset.ndim == 3 else None,
    }
    return hashlib.sha256(canonical(facts)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _CaseFile:
    """One case, in a file of its own."""

    dataset: Dataset
    fitted: Fitted
    group: PreparedGroup
    bricks: Shape
    id: str

    @property
    def path(self) -> Path:
        return self.group.path / f"{hashlib.sha256(self.id.encode()).hexdigest()[:32]}.safetensors"

    def load(self, mend: Callable[[], Prepared]) -> Prepared | None:
        """The case as its file has it; None where there is none or a damaged one.

        Args:
            mend: Makes the case anew, if a part of the file turns out damaged that was not looked at yet.
        """
        try:
            facts, arrays = load_content(self.path, lambda name: getattr(mend(), name))
            if facts["id"] != self.id:
                return None
            return _from_file(facts, arrays, self.fitted)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def make(self) -> Prepared:
        """The case, prepared, and mapped from its file where that can be written."""
        prepared = self.prepare()
        try:
            saved = self.save(prepared)
        except OSError as error:
            _warn_once(self.group.path, error)
            return prepared
        return (self.load(self.prepare) if saved else None) or prepared

    def remake(self) -> Prepared:
        """The case whose file is damaged."""
        with suppress(OSError):
            self.path.unlink()
        return self.make()

    def prepare(self) -> Prepared:
        """The case, in memory."""
        return prepare(self.fitted, self.dataset.case(self.id, copy=False))

    def save(self, case: Prepared) -> bool:
        """Write the file; False: there is no room.

        Raises:
            OSError: It cannot be written.
        """
        arrays = {name: np.asarray(getattr(case, name)) for name in ("pixels", "labels", "truth")}
        if np.array_equal(arrays["truth"], arrays["labels"]):
            del arrays["truth"]
        if self.group.refuses(sum(array.nbytes for array in arrays.values())):
            return False
        facts: dict[str, Any] = {
            "id": case.id,
            "spacing": case.spacing,
            "stored_spacing": case.stored_spacing,
            "undo": {
                "stored_shape": case.undo.stored_shape,
                "orientation": None if case.undo.orientation is None else case.undo.orientation.tolist(),
                "turned_shape": case.undo.turned_shape,
                "box": [(part.start, part.stop) for part in case.undo.box],
            },
        }
        if arrays["labels"].ndim == 2:
            content = Content(facts, arrays, {})
        else:
            places = places_of_classes(arrays["labels"], ignore_index=self.dataset.manifest.ignore_index)
            levels = asdict(levels_of(arrays["pixels"]))
            facts["places"] = [[index, len(found)] for index, found in places.items()]
            facts["levels"] = {name: values.tolist() for name, values in levels.items()}
            content = Content(
                facts,
                {"places": np.concatenate([np.zeros(0, np.int64), *places.values()])},
                {name: (array, _brick(array.shape, self.bricks)) for name, array in arrays.items()},
            )
        if not self.group.admits(content.num_bytes):
            return False
        content.save(self.path)
        return True


def _brick(shape: Shape, wanted: Shape) -> Shape:
    """Of all channels, where there are channels."""
    return brick_of(shape, (0,) * (len(shape) - len(wanted)) + wanted)


def _from_file(facts: dict[str, Any], arrays: Mapping[str, Pixels], fitted: Fitted) -> Prepared:
    pixels, labels, undo = arrays["pixels"], arrays["labels"], facts["undo"]
    levels = None
    if "levels" in facts:
        known = (np.array(facts["levels"][field.name], np.float32) for field in fields(CaseLevels))
        levels = CaseLevels(*known)
    return Prepared(
        facts["id"],
        pixels,
        scaling_of(pixels, fitted, levels),
        labels,
        Undo(
            tuple(undo["stored_shape"]),
            None if undo["orientation"] is None else np.array(undo["orientation"]),
            tuple(undo["turned_shape"]),
            tuple(slice(*part) for part in undo["box"]),
            labels.shape,
        ),
        None if facts["spacing"] is None else tuple(facts["spacing"]),
        arrays.get("truth", labels),
        None if facts["stored_spacing"] is None else tuple(facts["stored_spacing"]),
        _places(arrays, facts["places"]) if "places" in facts else None,
    )


def _places(arrays: Mapping[str, Pixels], counts: Sequence[tuple[int, int]]) -> Places:
    if not counts:
        return {}
    parts = np.split(np.asarray(arrays["places"]), np.cumsum([count for _, count in counts])[:-1])
    return {index: part for (index, _), part in zip(counts, parts, strict=True)}


_warned: set[Path] = set()


def _warn_once(folder: Path, error: OSError) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(
            f"{folder}: prepared cases cannot be kept ({error.strerror}), so each is prepared whenever it is needed; "
            "free space or set SEGSEARCH_CACHE to another folder.",
            RuntimeWarning,
            stacklevel=2,
        )
