"""Small folders in the exact layout of published data sets, one maker a data source."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.io
from PIL import Image

SIZE = (8, 10)
Mask = npt.NDArray[np.uint8]


def save(path: Path, values: npt.NDArray[np.generic], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def noise(number: int, channels: int = 3) -> Mask:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, channels), dtype=np.uint8)


def drawn(number: int, values: list[int]) -> Mask:
    """A mask of some of these values, in rows that differ from case to case."""
    return np.random.default_rng(100 + number).choice(np.array(values, np.uint8), SIZE)


def split_of(number: int) -> str:
    """Of 12 cases: 6 train, 3 val, 3 test."""
    return "train" if number < 6 else "val" if number < 9 else "test"


def make_camvid(folder: Path, cases: int = 12) -> Path:
    lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number in range(cases):
        split, name = split_of(number), f"0001TP_{number:06d}.png"
        save(folder / split / name, noise(number))
        save(folder / f"{split}annot" / name, drawn(number, list(range(12))))
        lines[split].append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}")
    for split, listed in lines.items():
        (folder / f"{split}.txt").write_text("\n".join(listed) + "\n")
    return folder


def save_palette(path: Path, values: Mask) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values).convert("L")
    picture.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    picture.save(path)


def make_pascal_voc(folder: Path, cases: int = 12) -> Path:
    root = folder / "VOCdevkit" / "VOC2012"
    names: dict[str, list[str]] = {"train": [], "val": []}
    for number in range(cases):
        name = f"2007_{number:06d}"
        save(root / "JPEGImages" / f"{name}.jpg", noise(number), quality=95)
        save_palette(root / "SegmentationClass" / f"{name}.png", drawn(number, [*range(21), 255]))
        names["train" if number < 9 else "val"].append(name)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, listed in names.items():
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(listed) + "\n")
    return folder


def make_cityscapes(folder: Path, cases: int = 12, annotations: str = "gtFine") -> Path:
    for number in range(cases):
        split, city = ("train", "aachen") if number < 9 else ("val", "lindau")
        stem = f"{city}_{number:06d}_000019"
        save(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", noise(number))
        labels = folder / annotations / split / city
        save(labels / f"{stem}_{annotations}_labelIds.png", drawn(number, list(range(34))))
        save(labels / f"{stem}_{annotations}_instanceIds.png", drawn(number, [0]).astype(np.uint16))
    save(folder / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", noise(99))
    return folder


def make_ade20k(folder: Path, cases: int = 12) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    for number in range(cases):
        split, word = ("training", "train") if number < 9 else ("validation", "val")
        name = f"ADE_{word}_{number:08d}"
        save(folder / "images" / split / f"{name}.jpg", noise(number), quality=95)
        save(folder / "annotations" / split / f"{name}.png", drawn(number, list(range(151))))
    return folder


def make_list_files(folder: Path, cases: int = 12) -> Path:
    lines = ["image,label"]
    for number in range(cases):
        save(folder / f"photos/day{number % 2}/{number:02d}.png", noise(number))
        save(folder / f"drawn/{number:02d}.png", drawn(number, [0, 1, 2, 255]))
        lines.append(f"photos/day{number % 2}/{number:02d}.png,drawn/{number:02d}.png")
    (folder / "pairs.csv").write_text("\r\n".join(lines))
    return folder


def make_object_masks(folder: Path, cases: int = 12) -> Path:
    for number in range(cases):
        name = f"{number:02d}{'ab' * 8}"
        opaque = np.full((*SIZE, 1), 255, np.uint8)
        save(
            folder / "stage1_train" / name / "images" / f"{name}.png",
            np.concatenate([noise(number), opaque], axis=2),
        )
        for which in range(3):
            mask = np.zeros(SIZE, np.uint8)
            mask[2 * which : 2 * which + 1 + number % 2, number % 5 :] = 255
            save(folder / "stage1_train" / name / "masks" / f"{which}{'cd' * 8}.png", mask)
    return folder


def make_class_masks(folder: Path, cases: int = 12) -> Path:
    """Cells with nuclei in them, and debris that overlaps both or neither; not every image has debris."""
    for number in range(cases):
        save(folder / "images" / f"{number:02d}.png", noise(number))
        masks = {name: np.zeros(SIZE, np.uint8) for name in ("cell", "debris", "nucleus")}
        masks["cell"][1:6, 1 : 5 + number % 4] = 255
        masks["nucleus"][2:4, 2:4] = 1
        masks["debris"][3:, 3:7] = 7
        for name, mask in masks.items():
            if name != "debris" or number % 2:
                save(folder / "masks" / name / f"{number:02d}.png", mask)
    return folder


def save_stack(path: Path, pages: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)


def make_tiff_stacks(folder: Path, cases: int = 12) -> Path:
    for number in range(cases):
        rng = np.random.default_rng(number)
        save_stack(folder / f"{number:02d}-volume.tif", rng.integers(0, 256, (4, *SIZE), dtype=np.uint8))
        save_stack(folder / f"{number:02d}-labels.tif", rng.integers(0, 2, (4, *SIZE), dtype=np.uint8))
    return folder


def save_mat(path: Path, **arrays: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, arrays, do_compression=True)


def make_mat_masks(folder: Path, cases: int = 12) -> Path:
    for number in range(cases):
        save(folder / "images" / f"{number:02d}.png", noise(number))
        save_mat(folder / "masks" / f"{number:02d}.mat", labels=drawn(number, [0, 1, 2]))
    return folder


def make_pascal_context(folder: Path, cases: int = 12) -> Path:
    """Categories 1 to 59 are the classes from the last to the first, 60 to 459 others."""
    from workers.sources.pascal_context import NAMES

    names: dict[str, list[str]] = {"train": [], "val": []}
    for number in range(cases):
        name = f"2008_{number:06d}"
        save(folder / "VOC2010/JPEGImages" / f"{name}.jpg", noise(number), quality=95)
        labels = np.random.default_rng(number).integers(0, 460, SIZE).astype(np.uint16)
        save_mat(folder / "trainval" / f"{name}.mat", LabelMap=labels)
        names["train" if number < 9 else "val"].append(name)
    (folder / "VOC2010/ImageSets/Main").mkdir(parents=True)
    for split, listed in names.items():
        (folder / f"VOC2010/ImageSets/Main/{split}.txt").write_text("\n".join(listed))
    categories = [*reversed(NAMES), *(f"other {number}" for number in range(400))]
    (folder / "labels.txt").write_text(
        "".join(f"{n}: {name}\n" for n, name in enumerate(categories, start=1))
    )
    return folder


def save_dicom(path: Path, tags: dict[str, object], pixels: npt.NDArray[np.generic] | bytes) -> None:
    """A little-endian DICOM file with these elements; bytes are the packed bits of a segmentation."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = tags["SOPClassUID"]
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    if not isinstance(pixels, bytes):
        bits, signed = 8 * pixels.dtype.itemsize, int(pixels.dtype.kind == "i")
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = (
            bits,
            bits,
            bits - 1,
            signed,
        )
        data.Rows, data.Columns = pixels.shape[-2:]
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.PixelData = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    data["PixelData"].VR = "OW"
    data.save_as(path, enforce_file_format=True)


def save_series(
    folder: Path, volume: npt.NDArray[np.generic], *, names: str = "slice{:02d}.dcm", **tags: object
) -> None:
    """Slices (Z, Y, X) at -10, -20, 5 mm and up, 0.5 x 0.75 x 2 mm, in an order of names that is not that of positions."""
    for index, pixels in enumerate(volume):
        placed: dict[str, object] = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "SeriesInstanceUID": "1.2.3",
            "Modality": "CT",
            "PatientID": "secret",
            "PatientName": "Doe^Jane",
            "InstanceNumber": index,
            "ImagePositionPatient": [-10, -20, 5 + 2 * index],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.75, 0.5],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
        }
        save_dicom(folder / names.format(7 * index % len(volume)), placed | tags, pixels)


def save_seg(
    path: Path,
    frames: list[tuple[int, int, npt.NDArray[np.bool_]]],
    labels: tuple[str, ...] = ("liver", "tumour"),
    *,
    spacing: tuple[float, float] = (0.75, 0.5),
    **tags: object,
) -> None:
    """A segmentation of such a series: frames of (slice, segment number, mask)."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import pack_bits

    def item(**elements: object) -> Dataset:
        made = Dataset()
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        return made

    masks = np.stack([mask for _, _, mask in frames]).astype(np.uint8)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=list(spacing))],
    )
    placed: dict[str, object] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4",
        "SeriesInstanceUID": "1.2.3.9",
        "Modality": "SEG",
        "SegmentationType": "BINARY",
        "ReferencedSeriesSequence": [item(SeriesInstanceUID="1.2.3")],
        "SegmentSequence": [
            item(SegmentNumber=n, SegmentLabel=label) for n, label in enumerate(labels, start=1)
        ],
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": [
            item(
                PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, 5 + 2 * index])],
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
            )
            for index, number, _ in frames
        ],
        "NumberOfFrames": len(frames),
        "Rows": masks.shape[1],
        "Columns": masks.shape[2],
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelRepresentation": 0,
    }
    save_dicom(path, placed | tags, pack_bits(masks))


def make_dicom_series(folder: Path, cases: int = 12) -> Path:
    """Cases with .dcm files or bare names, their SEG beside the slices or in a folder below."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        case, odd = folder / f"case{number:02d}", number % 2
        volume = rng.integers(0, 3000, (4, *SIZE), dtype=np.uint16)
        save_series(case, volume, names="IM{:04d}" if odd else "slice{:02d}.dcm", PatientID=f"secret{number}")
        drawn_labels = rng.integers(0, 3, (4, *SIZE))
        frames = [
            (index, segment, drawn_labels[index] == segment) for segment in (1, 2) for index in range(4)
        ]
        save_seg(case / ("SEG/1.dcm" if odd else "zseg.dcm"), frames)
    return folder
