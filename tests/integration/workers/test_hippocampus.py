"""The example data set, real volumes: ingested, verified, and equal to its files."""

from pathlib import Path

import numpy as np

from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.raw import raw_cases
from workers.data.verify import verify_dataset

SOURCE = Path(__file__).parents[3] / "examples" / "data" / "hippocampus"
# The content of the example; another value means that results on it can no longer be compared with earlier ones.
DIGEST = "e2b668ae498a080b9c835f2b9eb90c3d8efbb0293d96202133a5c2ed0884c7dd"


def test_the_example_is_ingested_as_its_readme_says(tmp_path: Path) -> None:
    manifest = ingest(SOURCE, str(tmp_path / "set"))
    assert manifest.digest == DIGEST
    assert {name: split.rows for name, split in manifest.splits.items()} == {
        "train": 40,
        "validation": 8,
        "test": 12,
    }
    assert [info.name for info in manifest.classes] == ["background", "Anterior", "Posterior"]
    assert (manifest.shape_min, manifest.shape_max) == ((31, 44, 28), (42, 57, 44))
    assert manifest.licence == "CC-BY-SA 4.0" and manifest.symmetries == () and manifest.notes == ()
    report = verify_dataset(str(tmp_path / "set"))
    assert report.is_whole and report.cases == 60
    dataset = open_dataset(str(tmp_path / "set"))
    for raw in raw_cases(SOURCE, dataset.ids("test")):
        case = dataset.case(raw.id)
        assert case.image.dtype == raw.image.dtype and np.array_equal(case.image, raw.image)
        assert case.labels is not None and raw.labels is not None and np.array_equal(case.labels, raw.labels)
        assert case.affine is not None and np.array_equal(case.affine, raw.affine)  # type: ignore[arg-type]  # both are there
