"""What is special to DICOM series: order, place, intensities, segments, identity, and each thing that is refused."""

import hashlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from layouts import make_dicom_series, save_seg, save_series

from workers.data.ingest import ingest
from workers.dicom_file import ordered
from workers.errors import DataError
from workers.source import RawCase, SourcePlan, open_source

SHAPE = (3, 4, 5)  # slices, rows, columns
VOLUME = np.arange(60, dtype=np.uint16).reshape(SHAPE)
Mask = npt.NDArray[np.bool_]


def spot(row: int, column: int) -> Mask:
    mask = np.zeros(SHAPE[1:], np.bool_)
    mask[row, column] = True
    return mask


FRAMES = [(2, 1, spot(1, 3)), (0, 2, spot(3, 0))]


def planned(folder: Path) -> SourcePlan:
    return open_source("dicom_series").plan(folder)


def read_case(folder: Path) -> RawCase:
    plan = planned(folder)
    assert not plan.problems, plan.problems
    return open_source("dicom_series").read(plan.samples[0])


def edit(path: Path, **elements: Any) -> None:
    """Change elements of a file; None removes one."""
    data = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(path)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A case folder; its parent is the source."""
    folder = tmp_path / "scans" / "a"
    save_series(folder, VOLUME)
    save_seg(folder / "seg.dcm", FRAMES)
    return folder


def test_voxels_lie_where_the_patient_coordinates_say(case: Path) -> None:
    raw = read_case(case.parent)
    assert raw.image.shape == (1, 5, 4, 3) and raw.image.dtype == np.int16
    assert np.array_equal(raw.image[0], VOLUME.transpose(2, 1, 0).astype(np.int16) - 1024)
    assert raw.spacing == (0.5, 0.75, 2.0)  # columns, rows, slices
    # Column 3, row 1, slice 2: LPS (-10 + 1.5, -20 + 0.75, 5 + 4), so RAS (8.5, 19.25, 9).
    assert raw.affine is not None
    assert np.allclose(raw.affine @ (3, 1, 2, 1), (8.5, 19.25, 9, 1), atol=1e-9)
    expected = np.zeros((5, 4, 3), np.uint8)
    expected[3, 1, 2], expected[0, 3, 0] = 1, 2
    assert np.array_equal(raw.labels, expected) and not raw.notes


def test_classes_follow_labels_and_segments_of_one_label_are_one(case: Path) -> None:
    save_seg(case / "seg.dcm", [*FRAMES, (1, 3, spot(0, 0))], labels=("tumour", "liver", "tumour"))
    classes = planned(case.parent).classes
    assert classes is not None and [(c.name, c.value) for c in classes] == [
        ("background", 0),
        ("liver", 1),
        ("tumour", 2),
    ]
    labels = read_case(case.parent).labels
    assert (labels[3, 1, 2], labels[0, 3, 0], labels[0, 0, 1]) == (2, 1, 2)


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "kind"),
    [
        (VOLUME, 1, 0, np.uint16),
        (VOLUME.astype(np.int16), 1, 0, np.int16),
        (VOLUME, 1, -1024, np.int16),
        (VOLUME + 40000, 1, 10, np.uint16),
        (VOLUME + 40000, 1, -59, np.uint16),
        (VOLUME + 1000, 100, 0, np.float32),
        (VOLUME, 0.5, 0, np.float32),
    ],
)
def test_sixteen_bits_stay_where_rescaling_allows(
    tmp_path: Path, stored: npt.NDArray[Any], slope: float, intercept: float, kind: type
) -> None:
    save_series(tmp_path / "a", stored, RescaleSlope=slope, RescaleIntercept=intercept)
    save_seg(tmp_path / "a/seg.dcm", FRAMES)
    image = read_case(tmp_path).image[0]
    assert image.dtype == kind
    assert np.array_equal(image, stored.transpose(2, 1, 0).astype(np.float64) * slope + intercept)


def test_a_case_is_as_large_as_all_of_its_files(case: Path, tmp_path: Path) -> None:
    apart = tmp_path / "scans" / "b"
    save_series(apart, VOLUME)
    save_seg(apart / "SEG" / "1.2.3", FRAMES)
    reader = open_source("dicom_series")
    for sample, folder in zip(planned(case.parent).samples, (case, apart), strict=True):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) == len(VOLUME) + 1
        assert reader.num_bytes(sample) == sum(path.stat().st_size for path in files)


def test_no_name_or_id_enters_the_data_set(tmp_path: Path) -> None:
    folder = make_dicom_series(tmp_path / "scans")
    manifest = ingest(folder, str(tmp_path / "set"))
    assert [info.name for info in manifest.classes] == ["background", "liver", "tumour"]
    assert manifest.channels == ("CT",)
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file())
    assert b"secret" not in written and b"Doe" not in written
    digest = hashlib.sha256(b"segsearch-patient-1\0secret3").hexdigest()
    assert planned(folder).samples[3].group == f"patient-{digest[:16]}"


def test_one_patient_is_one_group_and_none_is_the_folder(tmp_path: Path) -> None:
    for name, patient in (("a", "x"), ("b", "x"), ("c", "")):
        save_series(tmp_path / name, VOLUME, PatientID=patient)
        save_seg(tmp_path / name / "SEG" / "1.2.3", FRAMES)
    first, second, third = (sample.group for sample in planned(tmp_path).samples)
    assert first == second != third == "c"


@pytest.mark.parametrize(
    ("slice_elements", "says"),
    [
        ({"ImagePositionPatient": [-10, -20, 6.5]}, "slice distances from"),
        ({"ImagePositionPatient": [-8, -20, 7]}, "do not lie in one line"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient with 0 numbers"),
        ({"SeriesInstanceUID": "1.2.4"}, "slices of 2 series"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "different orientation or pixel spacing"),
        ({"PixelSpacing": [1, 1]}, "different orientation or pixel spacing"),
        ({"Rows": 2}, "another size"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"PixelData": b"\0\0"}, "cannot be decoded"),
    ],
)
def test_a_broken_series_is_refused(case: Path, slice_elements: dict[str, Any], says: str) -> None:
    edit(case / "slice01.dcm", **slice_elements)
    with pytest.raises(DataError, match=says):
        read_case(case.parent)


def test_oblique_slices_follow_their_normal() -> None:
    parts = []
    for x in (6.0, 12.0, 9.0):  # rows along y, columns down along -z: the normal is -x
        part = pydicom.Dataset()
        part.Rows, part.Columns, part.PixelSpacing = 4, 5, [2, 1]
        part.ImageOrientationPatient, part.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [x, 7, 8]
        parts.append((Path(f"{x:g}"), part))
    in_order, grid = ordered(parts, "case")
    assert [path.name for path, _ in in_order] == ["12", "9", "6"]
    assert np.allclose(grid.steps @ (3, 2, 1) + grid.origin, (12 - 3, 7 + 3, 8 - 4))
    assert np.allclose(grid.voxel(np.array([9.0, 10.0, 4.0])), (3, 2, 1))


def test_an_unreadable_number_is_named_without_its_text(case: Path) -> None:
    path = case / "slice01.dcm"
    path.write_bytes(path.read_bytes().replace(b"0.75\\0.5", b"Doe^\\0.5"))
    with pytest.raises(DataError, match=r"slice01\.dcm: PixelSpacing is no number; correct its header\.$"):
        read_case(case.parent)


def test_odd_headers_that_can_be_read_pass_in_silence(case: Path) -> None:
    path = case / "slice00.dcm"
    edit(path, SpecificCharacterSet="ISO_IR 100")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read_case(case.parent)
    assert not told


def test_an_undecodable_transfer_syntax_is_named(case: Path) -> None:
    data = pydicom.dcmread(case / "slice01.dcm")
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 not really"])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.save_as(case / "slice01.dcm")
    with pytest.raises(
        DataError, match=r"slice01\.dcm: pixels of transfer syntax JPEG-LS .*save it uncompressed"
    ):
        read_case(case.parent)


@pytest.mark.parametrize(
    ("frames", "elements", "says"),
    [
        ([(0, 1, spot(1, 1)), (0, 2, spot(1, 1))], {}, "segments overlap in 1 voxels"),
        ([(3, 1, spot(1, 1))], {}, "5 x 4 x 1 voxels of 0.5 x 0.75 x 2 mm .*image has 5 x 4 x 3"),
        ([(0, 1, np.ones((4, 6), np.bool_))], {}, "6 x 4 x 1 voxels .*image has 5 x 4 x 3"),
        (FRAMES, {"spacing": (1.0, 1.0)}, "of 1 x 1 x 2 mm .*of 0.5 x 0.75 x 2 mm"),
        ([(0, 9, spot(1, 1))], {}, "segment 9, which is not described"),
        (FRAMES, {"ReferencedSeriesSequence": [pydicom.Dataset()]}, "refers to another series"),
    ],
)
def test_a_segmentation_that_does_not_fit_is_refused(
    case: Path, frames: list[tuple[int, int, Mask]], elements: dict[str, Any], says: str
) -> None:
    save_seg(case / "seg.dcm", frames, **elements)
    with pytest.raises(DataError, match=says):
        read_case(case.parent)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda case: save_seg(case / "seg.dcm", FRAMES, SegmentationType="FRACTIONAL"), "a FRACTIONAL"),
        (lambda case: save_seg(case / "SEG/2.dcm", FRAMES), "2 SEG files"),
        (lambda case: save_series(case / "more", VOLUME), "slices in 2 folders"),
        (lambda case: (case / "seg.dcm").unlink(), "cases have slices but no SEG file: a"),
        (lambda case: (case / "README").write_text("hello"), "a/README: cannot be read as DICOM"),
        (
            lambda case: save_seg(case / "seg.dcm", FRAMES, labels=("liver", "x")),
            "segments 'liver', 'x'; most",
        ),
    ],
)
def test_a_bad_case_is_left_out_of_the_plan(case: Path, change: Any, says: str) -> None:
    for name in ("b", "c"):
        save_series(case.parent / name, VOLUME)
        save_seg(case.parent / name / "seg.dcm", FRAMES)
    change(case)
    plan = planned(case.parent)
    (problem,) = plan.problems
    assert says in problem and problem.names == ("a",)  # type: ignore[attr-defined]  # it is a LeftOut
    assert [sample.id for sample in plan.samples] == ["b", "c"]


def test_overlays_and_a_tilted_gantry_are_told(case: Path) -> None:
    for path in case.glob("slice*.dcm"):
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        edit(path, ImagePositionPatient=[x, y + (z - 5) / 4, z])
    data = pydicom.dcmread(case / "slice01.dcm")
    data.add_new(0x60003000, "OW", b"\0\0")
    data.BurnedInAnnotation = "YES"
    data.save_as(case / "slice01.dcm")
    save_seg(case / "seg.dcm", FRAMES[1:])
    notes = " ".join(read_case(case.parent).notes)
    assert "overlays" in notes and "burnt" in notes and "sideways" in notes


def test_without_pydicom_the_extra_is_named(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"pip install 'segsearch\[dicom\]'"):
        planned(case.parent)
