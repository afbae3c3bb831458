from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from workers.errors import DataError
from workers.volume_file import is_volume, read_volume, stem, whole_labels


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.nifti1.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def test_axes_stay_and_channels_come_first(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    volume = read_volume(save(tmp_path / "a.nii.gz", values, affine))
    assert np.array_equal(volume.image, np.moveaxis(values, -1, 0)) and volume.image.flags.c_contiguous
    assert volume.spacing == (0.5, 0.5, 2.0) and np.array_equal(volume.affine, affine)
    assert read_volume(save(tmp_path / "b.nii", values[..., 0])).image.shape == (1, 2, 3, 4)


def test_the_scale_of_the_file_is_applied(tmp_path: Path) -> None:
    image = nib.nifti1.Nifti1Image(np.full((2, 2, 2), 3, dtype=np.int16), np.eye(4))
    image.header.set_slope_inter(2.0, -1.0)
    path = tmp_path / "scaled.nii"
    image.to_filename(path)
    data = bytearray(path.read_bytes())
    data[352:] = np.full(8, 10, dtype="<i2").tobytes()
    data[112:120] = np.array([2.0, -1.0], dtype="<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(data)
    volume = read_volume(path)
    assert volume.image.dtype == np.float32 and (volume.image == 19).all()


@pytest.mark.parametrize(
    ("given", "stored"),
    [("uint8", "uint8"), ("int16", "int16"), (">i2", "int16"), ("float64", "float32"), ("uint32", "uint32")],
)
def test_element_types(tmp_path: Path, given: str, stored: str) -> None:
    values = np.arange(8).reshape(2, 2, 2).astype(given)
    volume = read_volume(save(tmp_path / "a.nii", values))
    assert volume.image.dtype == stored and volume.image.dtype.isnative
    assert np.array_equal(volume.image[0], values)


def test_64_bit_whole_numbers_must_fit(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.int64).reshape(2, 2, 2)
    path = tmp_path / "a.nii"
    nib.save(nib.nifti1.Nifti1Image(values, np.eye(4), dtype=np.int64), path)
    assert read_volume(path).image.dtype == np.int32
    nib.save(nib.nifti1.Nifti1Image(values + 2**40, np.eye(4), dtype=np.int64), path)
    with pytest.raises(DataError, match="voxels of type int64; allowed are whole numbers up to 32 bit"):
        read_volume(path)


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of shape \(2, 2\); allowed is \(X, Y, Z\)"):
        read_volume(save(tmp_path / "flat.nii", np.zeros((2, 2), dtype=np.uint8)))
    with pytest.raises(DataError, match="voxels of type complex64"):
        read_volume(save(tmp_path / "complex.nii", np.zeros((2, 2, 2), dtype=np.complex64)))
    with pytest.raises(DataError, match="cannot be read as NIfTI"):
        read_volume(tmp_path / "absent.nii.gz")


def test_a_header_that_declares_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.zeros((2, 2, 2), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([32000, 32000, 32000], dtype="<i2").tobytes()  # dim[1..3]
    path.write_bytes(data)
    with pytest.raises(DataError, match="32,768,000,000,000 bytes of voxels; the limit for one case"):
        read_volume(path, where="a.nii")


def test_labels_have_to_be_whole() -> None:
    assert whole_labels(np.array([0.0, 2.0]), where="x").tolist() == [0, 2]
    with pytest.raises(DataError, match="x: 2 labels are not whole numbers"):
        whole_labels(np.array([0.5, np.nan, 1.0]), where="x")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
def test_labels_that_fit_are_bytes_and_others_stay_what_they_are(kind: type) -> None:
    small = whole_labels(np.array([0, 255], kind), where="x")
    assert small.dtype == np.uint8 and small.tolist() == [0, 255]
    if kind is not np.uint8:
        large = whole_labels(np.array([-1, 256], kind), where="x")
        assert large.dtype == np.int64 and large.tolist() == [-1, 256]


def test_names() -> None:
    assert stem(Path("a/b.c.nii.gz")) == "b.c" and stem(Path("b.nii")) == "b"
    assert is_volume(Path("b.nii.gz")) and not is_volume(Path("._b.nii.gz")) and not is_volume(Path("b.png"))
