"""A small data set."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from workers.data.ingest import ingest


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve volumes with a bright box."""
    folder = tmp_path_factory.mktemp("boxes")
    pairs = []
    for number in range(12):
        rng = np.random.default_rng(number)
        labels = np.zeros((16, 14, 2), np.uint8)
        labels[3:9, 4:9] = 1
        image = rng.normal(100, 10, labels.shape) + 60 * labels
        name = f"case_{number:02d}.nii.gz"
        for place, values in (("imagesTr", image.astype(np.float32)), ("labelsTr", labels)):
            (folder / "raw" / place).mkdir(parents=True, exist_ok=True)
            nib.nifti1.Nifti1Image(values, np.eye(4)).to_filename(folder / "raw" / place / name)
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    described = {"labels": {"0": "background", "1": "box"}, "modality": {"0": "MRI"}, "training": pairs}
    (folder / "raw" / "dataset.json").write_text(json.dumps(described))
    ingest(folder / "raw", str(folder / "set"))
    return folder / "set"
