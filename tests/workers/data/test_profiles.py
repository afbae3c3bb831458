"""The two profiles of a data set: pictures as their files, or everything as arrays."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.verify import verify_dataset
from workers.errors import DataError


@pytest.mark.parametrize("shape", ["images", "volumes"])
def test_both_profiles_give_the_same_cases(
    shape: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(shape)
    encoded = ingest(source, str(tmp_path / "encoded"))
    decoded = ingest(source, str(tmp_path / "decoded"), profile="decoded")
    assert (encoded.profile, decoded.profile) == ("encoded", "decoded")
    assert (encoded.digest == decoded.digest) == (shape == "volumes"), "a picture's hash is that of its file"
    assert decoded.statistics == encoded.statistics and decoded.splits == encoded.splits
    one, two = open_dataset(str(tmp_path / "encoded")), open_dataset(str(tmp_path / "decoded"))
    for split in encoded.splits:
        for id in one.ids(split):
            first, second = one.case(id), two.case(id)
            assert np.array_equal(first.image, second.image) and first.image.dtype == second.image.dtype
            assert first.labels is not None and second.labels is not None
            assert np.array_equal(first.labels, second.labels)
            assert second.image.flags.writeable and second.labels.flags.writeable
    rows = [row for number in range(len(decoded.shards)) for row in two.rows(number)]
    assert {row.image_codec for row in rows} == {row.mask_codec for row in rows} == {"raw"}
    assert verify_dataset(str(tmp_path / "decoded")).is_whole


def test_a_decoded_case_costs_one_copy(tmp_path: Path) -> None:
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (600, 500, 3), dtype=np.uint8)
    for number in range(3):
        for place, picture in (("images", values), ("masks", (values[..., 0] > 99).astype(np.uint8))):
            (tmp_path / "source" / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "source" / place / f"{number}.png", compress_level=0)
    ingest(tmp_path / "source", str(tmp_path / "set"), profile="decoded")
    dataset = open_dataset(str(tmp_path / "set"))
    id = dataset.ids("train")[0]
    dataset.case(id)  # opens and checks the shard
    for copy, allowed in ((True, 1.05), (False, 0.01)):
        tracemalloc.start()
        case = dataset.case(id, copy=copy)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert case.labels is not None
        assert peak < allowed * (case.image.nbytes + case.labels.nbytes)
        assert case.image.flags.writeable == case.labels.flags.writeable == copy
        assert np.array_equal(case.image, values.transpose(2, 0, 1))


def test_one_content_is_stored_in_one_profile(volumes: Path, images: Path, tmp_path: Path) -> None:
    ingest(volumes, str(tmp_path / "set"))
    with pytest.raises(DataError, match="holds this content in the profile encoded; give another"):
        ingest(volumes, str(tmp_path / "set"), profile="decoded")
    ingest(images, str(tmp_path / "two"))
    ingest(images, str(tmp_path / "two"), profile="decoded")
    assert len(list((tmp_path / "two/manifests").iterdir())) == 2
