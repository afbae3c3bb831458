"""Label maps of new files from an exported network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from workers.data.dataset import Case
from workers.errors import DataError
from workers.evaluate import predict_labels
from workers.export import check_seal
from workers.image_file import SUFFIXES as IMAGE_SUFFIXES
from workers.image_file import decode_image
from workers.network_file import Description, load_description, load_onnx, load_torch
from workers.picture import overlay, palette, png
from workers.preprocessing import LabelArray, prepare
from workers.volume_file import SUFFIXES as VOLUME_SUFFIXES
from workers.volume_file import read_volume

ENGINES = ("torch", "onnx")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was written for one input.

    Attributes:
        source: The input.
        labels: The label map: NIfTI in the input's own geometry, or PNG.
        overlay: A picture of the labels over the image.
        shares: Share of each class in the label map, by name.
    """

    source: Path
    labels: Path
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
    """Segment files and write label maps and overlays.

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
            labels = predict_labels(
                network,
                prepare(description.fitted, case),
                description.view,
                num_classes=len(description.class_names),
            )
        done.append(_write(path, case, labels, out, description))
        if on_done is not None:
            on_done(done[-1])
    return done


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
    problems += [
        f"{stem}: two inputs have this name." for stem in sorted({s for s in stems if stems.count(s) > 1})
    ]
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
    image = decode_image(path.read_bytes(), where=str(path))
    return Case(_stem(path), "", image, None, None, None, None)


def _write(path: Path, case: Case, labels: LabelArray, out: Path, description: Description) -> Prediction:
    stem = _stem(path)
    image, shown = np.asarray(case.image), labels
    if labels.ndim == 3:
        target = out / f"{stem}_labels.nii.gz"
        header: Any = nib.nifti1.Nifti1Image.from_filename(path).header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0  # the grey window of the input is none for labels
        nib.nifti1.Nifti1Image(labels, case.affine, header).to_filename(target)
        depth = int((labels > 0).sum(axis=(0, 1)).argmax())
        image, shown = image[..., depth], labels[..., depth]
    else:
        target = out / f"{stem}_labels.png"
        target.write_bytes(png(labels))
    picture = out / f"{stem}_overlay.png"
    picture.write_bytes(png(overlay(image, shown, palette(list(description.colours)))))
    counts = np.bincount(labels.reshape(-1), minlength=len(description.class_names))
    shares = {name: float(n / labels.size) for name, n in zip(description.class_names, counts, strict=False)}
    return Prediction(path, target, picture, shares)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
