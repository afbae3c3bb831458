"""Exports of trained networks: proved when made, refused when anything about them changed."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from search_spaces.candidate import Candidate, digest, from_json
from workers.data.dataset import open_dataset
from workers.errors import DataError, ExportError
from workers.export import CARD, PROOF, SEALED, check_seal, export, seal, verify
from workers.network_file import DESCRIPTION, ONNX, WEIGHTS, load_description
from workers.picture import DRAWING

Exported = Any


@pytest.fixture
def copy(volumes: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(volumes.folder, tmp_path / "export"))


def test_an_export_holds_its_network_and_its_proof(volumes: Exported) -> None:
    names = {path.name for path in volumes.folder.iterdir()}
    assert names == {
        "model.safetensors",
        "candidate.json",
        "model.onnx",
        "model_card.md",
        "network.svg",
        "proof.json",
    }
    assert not list(volumes.folder.parent.glob(".export*"))
    proof = check_seal(volumes.folder)
    assert set(proof["files"]) == set(SEALED) == names - {PROOF}
    assert proof["recorded"] == volumes.trained.metrics
    for measured in proof["measured"].values():
        assert measured == pytest.approx(volumes.trained.metrics, abs=proof["metric_tolerance"])
    assert proof["measured"]["torch"] == pytest.approx(volumes.trained.metrics, abs=1e-12)
    assert proof["recorded"]["dice"] > 0.05  # it learnt something, so that the comparison means something
    assert 0 <= proof["outputs"]["difference"] <= 1e-3 * proof["outputs"]["largest"]
    assert len(proof["cases"]) == 2 and proof["data"]["raw"] == str(volumes.raw.resolve())


def test_its_description_and_card(volumes: Exported) -> None:
    description = load_description(volumes.folder)
    assert description.candidate == from_json(Candidate, volumes.trained.candidate)
    assert type(description).from_json(json.loads(json.dumps(description.to_json()))) == description
    card = (volumes.folder / CARD).read_text()
    assert card.startswith(f"# Segmentation network {digest(description.candidate)[:12]}")
    assert f"{volumes.proof['measured']['torch']['dice/Anterior']:.4f}" in card
    assert "/work" not in card and str(volumes.raw) not in card


def test_verify_proves_again(volumes: Exported, pictures: Exported, tmp_path: Path) -> None:
    for exported in (volumes, pictures):
        again = verify(exported.folder)
        assert again["measured"] == exported.proof["measured"] and str(exported.raw) in again["evidence"]
    moved = shutil.copytree(pictures.raw, tmp_path / "moved")
    verify(pictures.folder, raw=moved)
    with pytest.raises(DataError, match="name their folder with --raw"):
        verify(pictures.folder, raw=tmp_path / "nowhere")


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, ONNX, CARD, DRAWING, PROOF])
def test_each_altered_or_missing_file_is_refused(copy: Path, name: str) -> None:
    path = copy / name
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x04]) + whole[place + 1 :])
        with pytest.raises(ExportError, match=f"{name}"):
            check_seal(copy)
    path.unlink()
    with pytest.raises(ExportError, match=name):
        verify(copy)
    path.write_bytes(whole)
    check_seal(copy)


def edit_proof(folder: Path, **changes: Any) -> None:
    """What somebody does who knows how a seal is made."""
    proof = {**check_seal(folder), **changes}
    (folder / PROOF).write_text(json.dumps({**proof, "seal": seal(proof)}))


def test_a_proof_that_leaves_out_a_file_is_refused(copy: Path) -> None:
    files = check_seal(copy)["files"]
    edit_proof(copy, files={name: facts for name, facts in files.items() if name != WEIGHTS})
    with pytest.raises(ExportError, match="altered"):
        check_seal(copy)


@pytest.mark.parametrize("value", [0.99, float("nan")])
def test_a_falsified_record_is_refused_even_under_a_right_seal(copy: Path, value: float) -> None:
    edit_proof(copy, recorded={**check_seal(copy)["recorded"], "dice": value})
    with pytest.raises(ExportError, match="dice was recorded as"):
        verify(copy)


@pytest.mark.parametrize("value", [0.99, float("nan")])
def test_an_export_whose_record_is_false_is_not_made(
    pictures: Exported, tmp_path: Path, value: float
) -> None:
    trained = dataclasses.replace(pictures.trained, metrics={**pictures.trained.metrics, "dice": value})
    with pytest.raises(ExportError, match="dice was recorded as"):
        export(trained, open_dataset(trained.view.dataset), tmp_path / "export", raw=pictures.raw)
    assert list(tmp_path.iterdir()) == []


def test_other_weights_than_the_recorded_ones_are_not_exported(pictures: Exported, tmp_path: Path) -> None:
    first = pictures.trained.checkpoint.replace("epoch-0002", "epoch-0001")
    trained = dataclasses.replace(pictures.trained, checkpoint=first)
    with pytest.raises(ExportError, match="was recorded as"):
        export(trained, open_dataset(trained.view.dataset), tmp_path / "export", raw=pictures.raw)


def test_a_changed_raw_file_is_refused(volumes: Exported, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(volumes.raw, tmp_path / "raw"))
    id = sorted(volumes.proof["cases"])[0]
    path = raw / "imagesTr" / f"{id}.nii.gz"
    image = nib.nifti1.Nifti1Image.from_filename(path)
    values = np.asanyarray(image.dataobj).copy()
    values[3, 3, 3] += 1
    nib.nifti1.Nifti1Image(values, image.affine, image.header).to_filename(path)
    with pytest.raises(ExportError, match=f"{id}"):
        verify(volumes.folder, raw=raw)
    with pytest.raises(ExportError, match=f"{id}: the raw file differs from what was ingested"):
        export(volumes.trained, open_dataset(volumes.trained.view.dataset), tmp_path / "export", raw=raw)
    assert not (tmp_path / "export").exists()


def test_a_changed_geometry_is_refused(volumes: Exported, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(volumes.raw, tmp_path / "raw"))
    id = sorted(volumes.proof["cases"])[0]
    for place in ("imagesTr", "labelsTr"):
        path = raw / place / f"{id}.nii.gz"
        image = nib.nifti1.Nifti1Image.from_filename(path)
        turned = np.diag([-1, 1, 1, 1]) @ image.affine
        nib.nifti1.Nifti1Image(np.asanyarray(image.dataobj), turned).to_filename(path)
    with pytest.raises(ExportError, match=id):
        verify(volumes.folder, raw=raw)


def test_an_export_without_raw_files_says_so(
    pictures: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Path(pictures.trained.view.dataset)
    monkeypatch.chdir(stored.parent)
    proof = export(pictures.trained, open_dataset(stored.name), tmp_path / "export", raw=None)
    assert proof["data"]["raw"] is None
    card = (tmp_path / "export" / "model_card.md").read_text()
    assert "measured from the stored cases" in card and "THIS_FOLDER image.png --out" in card
    monkeypatch.chdir(tmp_path)
    assert verify(tmp_path / "export")["evidence"] == f"the stored data set {stored.resolve()}"


def test_nothing_is_overwritten_and_data_are_not_mixed(
    volumes: Exported, pictures: Exported, tmp_path: Path
) -> None:
    dataset = open_dataset(pictures.trained.view.dataset)
    with pytest.raises(ExportError, match="exists; name another folder"):
        export(pictures.trained, dataset, pictures.folder, raw=None)
    with pytest.raises(ExportError, match="trained on"):
        export(volumes.trained, dataset, tmp_path / "export", raw=None)
    with pytest.raises(ExportError, match="is no export"):
        check_seal(tmp_path)
