"""Label maps, or masks of regions, of new files from an exported network."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import torch

from workers.data.dataset import Case
from workers.errors import DataError
from workers.evaluate import predict_labels, predict_masks
from workers.export import check_seal
from workers.image_file import SUFFIXES as IMAGE_SUFFIXES
from workers.image_file import decode_image
from workers.inference import Network
from workers.network_file import Description, load_description, load_onnx, load_torch
from workers.picture import overlay, palette, png
from workers.preprocessing import LabelArray, Prepared, prepare
from workers.regions import painted, region_colours
from workers.volume_file import SUFFIXES as VOLUME_SUFFIXES
from workers.volume_file import read_volume

ENGINES = ("torch", "onnx")
LABELS = "labels"

T = TypeVar("T", str, Path)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was written for one input.

    Attributes:
        source: The input.
        files: The label map as ``labels``, or of regions the mask of each, by name: NIfTI in the input's own geometry, or PNG.
            Masks hold 0 and 1, as PNG 0 and 255.
        overlay: A picture of the labels over the image; of regions that overlap the smaller one is seen.
        shares: Share of each class in the label map, or of the image in each region, by name.
    """

    source: Path
    files: dict[str, Path]
    overlay: Path
    shares: dict[str, float]


def predict(
    export: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    engine: str = "torch",
    on_done: Callable[[Prediction], None] | None = None,
) -> list[Prediction]:
    """Segment files and write label maps, or masks of regions, and overlays.

    Args:
        export: Folder of an export; an altered one is refused.
        inputs: NIfTI volumes or PNG, JPEG and TIFF images, or folders of them.
        out: Folder for the results.
        engine: ``torch`` or ``onnx``.
        on_done: Called after each file.

    Raises:
        ExportError: The export is altered or incomplete.
        DataError: An input is missing, damaged, of another kind, or has another number of channels; every such input is
            named, and nothing was written.
    """
    check_seal(export)
    description = load_description(export)
    files = _files(inputs, volumes=description.view.view != "images")
    problems = [problem for path in files if (problem := _problem(path, description)) is not None]
    if out.exists() and not out.is_dir():
        problems.append(f"{out}: a file; name a folder for the results.")
    names = [
        file for path in files for file in (*_targets(path, out, description).values(), _overlay(path, out))
    ]
    problems += [f"{file}: two results would have this name; rename an input." for file in twice(names)]
    if engine not in ENGINES:
        problems.append(f"engine {engine!r}: allowed are {' and '.join(ENGINES)}.")
    if problems:
        raise DataError("predict: the inputs cannot be used", problems)
    network = load_torch(export, description) if engine == "torch" else load_onnx(export)
    out.mkdir(parents=True, exist_ok=True)
    done = []
    for path in files:
        case = _read(path)  # again, so that memory holds one case at a time
        with torch.inference_mode():
            found = _predicted(network, prepare(description.fitted, case), description)
        done.append(_write(path, case, found, out, description))
        if on_done is not None:
            on_done(done[-1])
    return done


def _predicted(network: Network, prepared: Prepared, description: Description) -> LabelArray:
    """The label map (1, *S), or the masks (R, *S) of regions with 0 and 1."""
    view = description.view
    if view.regions:
        return predict_masks(network, prepared, view).astype(np.uint8)
    return predict_labels(network, prepared, view, num_classes=description.num_outputs)[None]


def _files(inputs: Sequence[Path], *, volumes: bool) -> list[Path]:
    suffixes, kind = (
        (VOLUME_SUFFIXES, "NIfTI volumes") if volumes else (IMAGE_SUFFIXES, "PNG, JPEG or TIFF images")
    )
    files: list[Path] = []
    problems = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(
                child
                for child in path.iterdir()
                if child.is_file()
                and child.name.lower().endswith(suffixes)
                and not child.name.startswith(".")
            )
            files += inside
            problems += [] if inside else [f"{path}: holds no {kind}."]
        elif not path.exists():
            problems.append(f"{path}: no such file.")
        elif not path.name.lower().endswith(suffixes):
            problems.append(f"{path}: this network takes {kind}.")
        else:
            files.append(path)
    stems = [_stem(path) for path in files]
    problems += [f"{stem}: two inputs have this name." for stem in twice(stems)]
    if problems or not files:
        raise DataError("predict: the inputs cannot be used", problems or ["none given."])
    return files


def _problem(path: Path, description: Description) -> str | None:
    """Why the network cannot take a file, or None; preparing it is the test."""
    try:
        case = _read(path)
        if not np.isfinite(case.image).all():
            return f"{path}: holds NaN or infinite values; replace them."
        prepare(description.fitted, case)
    except DataError as error:
        return str(error)
    return None


def _read(path: Path) -> Case:
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        volume = read_volume(path, where=str(path))
        return Case(_stem(path), "", volume.image, None, volume.spacing, volume.affine, None)
    image = decode_image(path.read_bytes(), where=str(path), drop_opaque_alpha=True)
    return Case(_stem(path), "", image, None, None, None, None)


def _targets(path: Path, out: Path, description: Description) -> dict[str, Path]:
    """Where the label map goes, or the mask of each region, by name."""
    suffix = ".png" if description.view.view == "images" else ".nii.gz"
    names = description.names if description.view.regions else (LABELS,)
    return {name: out / f"{_stem(path)}_{name}{suffix}" for name in names}


def _overlay(path: Path, out: Path) -> Path:
    return out / f"{_stem(path)}_overlay.png"


def _write(path: Path, case: Case, found: LabelArray, out: Path, description: Description) -> Prediction:
    regions, targets = description.view.regions, _targets(path, out, description)
    for labels, target in zip(found, targets.values(), strict=True):
        if labels.ndim == 3:
            _save_volume(labels, target, like=path, affine=case.affine)
        else:
            target.write_bytes(png(labels * np.uint8(255) if regions else labels))
    image, shown = np.asarray(case.image), painted(found) if regions else found[0]
    if shown.ndim == 3:
        depth = int((shown > 0).sum(axis=(0, 1)).argmax())
        image, shown = image[..., depth], shown[..., depth]
    colours = region_colours(regions) if regions else description.colours
    picture = _overlay(path, out)
    picture.write_bytes(png(overlay(image, shown, palette(list(colours)))))
    if regions:
        counts = found.reshape(len(found), -1).sum(axis=1, dtype=np.int64)
    else:
        counts = np.bincount(found.reshape(-1), minlength=len(description.class_names))
    shares = {name: float(n / found[0].size) for name, n in zip(description.names, counts, strict=False)}
    return Prediction(path, targets, picture, shares)


def _save_volume(labels: LabelArray, target: Path, *, like: Path, affine: Any) -> None:
    header: Any = nib.nifti1.Nifti1Image.from_filename(like).header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0  # the grey window of the input is none for labels
    nib.nifti1.Nifti1Image(labels, affine, header).to_filename(target)


def twice(names: Sequence[T]) -> list[T]:
    """What occurs more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
