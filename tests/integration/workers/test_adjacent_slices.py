"""A network that sees the slices beside a slice, from its training to predictions of its proved export."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import onnx
import pytest

from workers.errors import ExportError
from workers.export import verify
from workers.network_file import FORMAT, Description, load_description
from workers.predict import predict


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory, export_of_volumes: Any) -> Any:
    return export_of_volumes(tmp_path_factory.mktemp("around"), adjacent_slices=1)


def test_its_export_is_proved_and_says_what_it_sees(around: Any, volumes: Any) -> None:
    (image,) = onnx.load(around.folder / "model.onnx").graph.input
    assert image.type.tensor_type.shape.dim[1].dim_value == 3
    description = load_description(around.folder)
    assert (description.view.adjacent_slices, description.num_inputs, description.channels) == (
        1,
        3,
        ("MRI",),
    )
    assert (
        "(slices, each with 1 on either side: the channels of the first come first, its own in the middle,"
        in (around.folder / "model_card.md").read_text()
    )
    measured = verify(around.folder)["measured"]
    assert measured["torch"]["dice"] == pytest.approx(around.trained.metrics["dice"], abs=1e-9)
    written, plain = (json.loads((one.folder / "candidate.json").read_text()) for one in (around, volumes))
    assert written["format"] == FORMAT and plain["format"] == 1 and "adjacent_slices" not in plain["input"]
    with pytest.raises(ExportError, match="has format 4; this version reads up to 3: update segsearch"):
        Description.from_json({**written, "format": FORMAT + 1})


def test_predictions_use_the_slices_beside_each(around: Any, tmp_path: Path) -> None:
    scan = next((around.raw / "imagesTr").glob("*.nii.gz"))
    found = {}
    for engine in ("torch", "onnx"):
        (done,) = predict(around.folder, [scan], tmp_path / engine, engine=engine)
        found[engine] = np.asanyarray(nib.nifti1.Nifti1Image.from_filename(done.files["labels"]).dataobj)
    assert np.mean(found["torch"] != found["onnx"]) < 1e-4

    volume = nib.nifti1.Nifti1Image.from_filename(scan)
    changed = np.asanyarray(volume.dataobj).copy()
    depth = changed.shape[2] // 2
    changed[..., depth] = changed[::-1, ..., depth]  # levels stay, so that scaling stays
    nib.nifti1.Nifti1Image(changed, volume.affine, volume.header).to_filename(tmp_path / "changed.nii.gz")
    (done,) = predict(around.folder, [tmp_path / "changed.nii.gz"], tmp_path / "other")
    other = np.asanyarray(nib.nifti1.Nifti1Image.from_filename(done.files["labels"]).dataobj)
    differs = np.flatnonzero((other != found["torch"]).any((0, 1))).tolist()
    assert set(differs) <= {depth - 1, depth, depth + 1} and len(differs) >= 2
