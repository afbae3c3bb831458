"""Label maps of new files: in their own geometry, from either engine, or nothing at all."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from search_spaces.regions import Region
from workers.errors import DataError, ExportError
from workers.network_file import WEIGHTS, load_description
from workers.predict import Prediction, predict

Exported = Any


@pytest.fixture(scope="session")
def scan(volumes: Exported) -> Path:
    id = sorted(volumes.proof["cases"])[0]
    return Path(volumes.raw / "imagesTr" / f"{id}.nii.gz")


def load(path: Path) -> tuple[Any, Any]:
    image = nib.nifti1.Nifti1Image.from_filename(path)
    return image, np.asanyarray(image.dataobj)


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_label_map_has_the_geometry_of_its_volume(volumes: Exported, scan: Path, tmp_path: Path) -> None:
    told: list[Prediction] = []
    (done,) = predict(volumes.folder, [scan], tmp_path / "out", on_done=told.append)
    assert told == [done]
    source, found = (
        nib.nifti1.Nifti1Image.from_filename(scan),
        nib.nifti1.Nifti1Image.from_filename(done.files["labels"]),
    )
    assert found.shape == source.shape[:3] and found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, source.affine)
    assert found.header.get_zooms() == source.header.get_zooms()[:3]
    for code in ("sform_code", "qform_code", "xyzt_units"):
        assert found.header[code] == source.header[code]
    labels = np.asanyarray(found.dataobj)
    assert set(np.unique(labels)) <= {0, 1, 2} and (labels > 0).any()
    counts = np.bincount(labels.reshape(-1), minlength=3) / labels.size
    assert list(done.shares) == ["background", "Anterior", "Posterior"]
    assert list(done.shares.values()) == pytest.approx(counts.tolist())
    assert pixels(done.overlay).shape == (*source.shape[:2], 3)
    truth = np.asanyarray(nib.nifti1.Nifti1Image.from_filename(volumes.raw / "labelsTr" / scan.name).dataobj)
    matrix = [[int(((truth == t) & (labels == p)).sum()) for p in range(3)] for t in range(3)]
    assert matrix == volumes.proof["cases"][scan.name.removesuffix(".nii.gz")]


@pytest.mark.parametrize("target", ["LPI", "SRA", "PIR"])
def test_labels_do_not_depend_on_how_a_volume_is_stored(
    volumes: Exported, scan: Path, tmp_path: Path, target: str
) -> None:
    image = nib.nifti1.Nifti1Image.from_filename(scan)
    ornt = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(target)
    )
    turned = image.as_reoriented(ornt)
    assert "".join(nib.orientations.aff2axcodes(turned.affine)) == target
    (tmp_path / "turned").mkdir()
    turned.to_filename(tmp_path / "turned" / "scan.nii.gz")
    (plain,) = predict(volumes.folder, [scan], tmp_path / "plain")
    (other,) = predict(volumes.folder, [tmp_path / "turned"], tmp_path / "other")
    found, expected = (nib.nifti1.Nifti1Image.from_filename(done.files["labels"]) for done in (other, plain))
    assert found.shape == turned.shape
    np.testing.assert_allclose(found.affine, turned.affine)
    np.testing.assert_array_equal(
        np.asanyarray(found.dataobj), np.asanyarray(expected.as_reoriented(ornt).dataobj)
    )


def test_pictures_become_pictures(pictures: Exported, tmp_path: Path) -> None:
    done = predict(pictures.folder, [pictures.raw / "images"], tmp_path)
    assert len(done) == 12
    assert done[0].files["labels"].name == "shot00_labels.png"
    for prediction in done:
        labels = pixels(prediction.files["labels"])
        assert labels.shape == (18, 24) and set(np.unique(labels)) <= {0, 1}
        assert pixels(prediction.overlay).shape == (18, 24, 3)
        assert sum(prediction.shares.values()) == pytest.approx(1)


def test_an_opaque_alpha_channel_changes_nothing(pictures: Exported, tmp_path: Path) -> None:
    path = next(iter(sorted((pictures.raw / "images").iterdir())))
    Image.open(path).convert("RGBA").save(tmp_path / "opaque.png")
    plain, opaque = predict(pictures.folder, [path, tmp_path / "opaque.png"], tmp_path / "out")
    assert np.array_equal(pixels(plain.files["labels"]), pixels(opaque.files["labels"]))


def test_both_engines_agree(volumes: Exported, pictures: Exported, scan: Path, tmp_path: Path) -> None:
    for exported, inputs in ((volumes, [scan]), (pictures, [pictures.raw / "images"])):
        maps = []
        for engine in ("torch", "onnx"):
            done = predict(exported.folder, inputs, tmp_path / engine, engine=engine)
            maps.append(
                [
                    load(d.files["labels"])[1]
                    if d.files["labels"].suffix == ".gz"
                    else pixels(d.files["labels"])
                    for d in done
                ]
            )
        for one, other in zip(*maps, strict=True):
            assert (one != other).mean() < 1e-3  # where two classes tie


def test_inputs_that_cannot_be_used_are_all_named_and_nothing_is_written(
    volumes: Exported, scan: Path, tmp_path: Path
) -> None:
    source, values = load(scan)
    made = tmp_path / "made"
    made.mkdir()
    two = np.stack([values, values], axis=-1)
    nib.nifti1.Nifti1Image(two, source.affine).to_filename(made / "two.nii.gz")
    broken = values.astype(np.float32)
    broken[1, 1, 1] = np.nan
    nib.nifti1.Nifti1Image(broken, source.affine).to_filename(made / "nan.nii.gz")
    (made / "text.nii").write_text("no volume")
    with pytest.raises(DataError) as caught:
        predict(volumes.folder, [scan, made], tmp_path / "out")
    message = str(caught.value)
    assert "two: has 2 channels; the network was made for 1" in message
    assert "nan.nii.gz: holds NaN" in message and "text.nii: cannot be read as NIfTI" in message
    Image.new("L", (9, 9)).save(tmp_path / "picture.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        predict(
            volumes.folder,
            [tmp_path / "picture.png", tmp_path / "empty", tmp_path / "no.nii"],
            tmp_path / "out",
        )
    message = str(caught.value)
    assert "picture.png: this network takes NIfTI volumes" in message
    assert "empty: holds no NIfTI volumes" in message and "no.nii: no such file" in message
    with pytest.raises(DataError, match="none given"):
        predict(volumes.folder, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_of_another_kind_are_refused(pictures: Exported, scan: Path, tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "grey.png")
    with pytest.raises(DataError, match="has 1 channels; the network was made for 3"):
        predict(pictures.folder, [tmp_path / "grey.png"], tmp_path / "out")
    with pytest.raises(DataError, match="this network takes PNG"):
        predict(pictures.folder, [scan], tmp_path / "out")
    same = tmp_path / "same"
    same.mkdir()
    for name in ("a.png", "a.tif", ".hidden.png"):
        Image.new("RGB", (9, 9)).save(same / name)
    with pytest.raises(DataError, match="a: two inputs have this name"):
        predict(pictures.folder, [same], tmp_path / "out")
    (same / "a.tif").unlink()
    with pytest.raises(DataError, match="a file; name a folder"):
        predict(pictures.folder, [same], tmp_path / "grey.png")
    with pytest.raises(DataError, match="engine 'jax': allowed are torch and onnx"):
        predict(pictures.folder, [same], tmp_path / "out", engine="jax")
    assert not (tmp_path / "out").exists()
    assert len(predict(pictures.folder, [same], tmp_path / "out")) == 1  # the hidden file is none


def test_an_overlay_and_the_mask_of_a_region_never_share_a_name(
    pictures: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``a`` has the mask ``a_b_overlay.png`` of the region ``b_overlay``, and so is the overlay of ``a_b`` called."""
    description = load_description(pictures.folder)
    view = replace(description.view, regions=(Region("b_overlay", (1,)),))
    monkeypatch.setattr("workers.predict.load_description", lambda export: replace(description, view=view))
    for name in ("a.png", "a_b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    with pytest.raises(
        DataError, match=r"a_b_overlay.png: two results would have this name; rename an input"
    ):
        predict(pictures.folder, [tmp_path / "a.png", tmp_path / "a_b.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_altered_export_predicts_nothing(pictures: Exported, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pictures.folder, tmp_path / "export"))
    with (copy / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ExportError, match=WEIGHTS):
        predict(copy, [pictures.raw / "images"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
