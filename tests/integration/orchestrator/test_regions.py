"""A search over regions of real volumes, from the job file to predictions of its proved export."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest

from orchestrator import verbs
from orchestrator.lead import Place
from orchestrator.reading import leaderboard_of
from workers.export import verify
from workers.network_file import load_description
from workers.predict import predict

JOB = """\
name: hippocampus-regions
dataset: {data}
raw: {raw}
data:
  size: [48, 64]
  batch: 16
  epoch_samples: 64
  regions: {{anterior: [Anterior], whole: [Anterior, Posterior]}}
space: compact
fix: {{recipe.optimiser: adamw, recipe.precision: fp32}}
constraints: {{parameters: 6.0e5}}
objectives: {{maximize: [dice/whole], minimize: [hd95/anterior]}}
search: {{scheduler: {{kind: asha, max_epochs: 2, min_epochs: 1, reduction: 2}}}}
budget: {{trials: 2}}
retrain: {{top: 1, epochs: 3, seeds: 1, against: small_unet}}
resources: {{cpus: 1}}
storage: {folder}/runs
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_raw: Path, small_dataset: Path) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    (folder / "job.yaml").write_text(JOB.format(folder=folder, data=small_dataset, raw=small_raw))
    return folder


def test_a_search_over_regions_ends_with_a_proved_network_that_draws_masks(
    folder: Path, small_raw: Path, tmp_path: Path
) -> None:
    result = verbs.run(folder / "job.yaml", place=Place(in_process=True, track=False))
    tested = result["best"]["export"]
    assert set(result["winner"]["test"]) == {"whole", "anterior", "mean"}
    for name, row in result["winner"]["test"].items():
        assert name == "mean" or 0 <= row["low"] <= row["dice"] <= row["high"] <= 1
    assert {"hd95/whole", "boundary_f1/anterior", "ece", "miou"} <= result["winner"]["metrics"].keys()
    rows = leaderboard_of("hippocampus-regions", storage=str(folder / "runs")).rows
    assert {row.purpose for row in rows} == {"search", "retrain", "baseline"}

    export = Path(tested)
    description = load_description(export)
    assert description.names == ("whole", "anterior")
    (output,) = onnx.load(export / "model.onnx").graph.output
    assert output.type.tensor_type.shape.dim[1].dim_value == 2
    assert "whole = Anterior, Posterior; anterior = Anterior" in (export / "model_card.md").read_text()
    proof = verify(export)
    assert np.array(next(iter(proof["cases"].values()))).shape == (2, 2, 2)
    assert "hd95/anterior" in proof["recorded"] and "dice/whole" in proof["measured"]["onnxruntime"]

    first = sorted(proof["cases"])[0]
    scan = small_raw / "imagesTr" / f"{first}.nii.gz"
    for engine in ("torch", "onnx"):
        (done,) = predict(export, [scan], tmp_path / engine, engine=engine)
        assert [path.name for path in done.files.values()] == [
            f"{first}_whole.nii.gz",
            f"{first}_anterior.nii.gz",
        ]
        assert done.overlay.is_file() and list(done.shares) == ["whole", "anterior"]
    truth = np.asanyarray(nib.nifti1.Nifti1Image.from_filename(small_raw / "labelsTr" / scan.name).dataobj)
    (done,) = predict(export, [scan], tmp_path / "again")
    for number, (inside, path) in enumerate(zip((truth > 0, truth == 1), done.files.values(), strict=True)):
        mask = np.asanyarray(nib.nifti1.Nifti1Image.from_filename(path).dataobj)
        assert set(np.unique(mask)) <= {0, 1} and done.shares[description.names[number]] == mask.mean()
        counts = [[int(((inside == t) & (mask == p)).sum()) for p in (0, 1)] for t in (0, 1)]
        assert counts == proof["cases"][first][number]


def test_an_export_of_regions_is_refused_by_what_reads_older_formats(folder: Path) -> None:
    exports = sorted((folder / "runs/hippocampus-regions/exports").iterdir())
    for export in exports:
        described = json.loads((export / "candidate.json").read_text())
        assert described["format"] == 2
        assert described["regions"][0] == {"name": "whole", "classes": ["Anterior", "Posterior"]}


def test_after_an_extension_the_known_network_is_trained_for_the_larger_cost(folder: Path) -> None:
    place, storage = Place(in_process=True, track=False), str(folder / "runs")
    before = leaderboard_of("hippocampus-regions", storage=storage).result
    assert before is not None
    verbs.extend("hippocampus-regions", trials=2, storage=storage)
    after = verbs.resume("hippocampus-regions", storage=storage, place=place)
    assert after["search_worker_seconds"] > before["search_worker_seconds"]
    assert after["preset"]["trial"] > before["preset"]["trial"]
    assert after["preset"]["epochs"] > before["preset"]["epochs"]
    rows = leaderboard_of("hippocampus-regions", storage=storage).rows
    verbs.resume("hippocampus-regions", storage=storage, place=place)  # which asks for nothing more
    assert len(leaderboard_of("hippocampus-regions", storage=storage).rows) == len(rows)
