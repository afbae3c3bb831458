"""Marks by folder, and threads that suit small machines."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from beside import pytest_addoption, pytest_configure  # noqa: F401  # pytest finds its hooks here
from PIL import Image
from small_sets import copy_hippocampus

import workers  # noqa: F401  # sets how OpenMP waits, before torch is imported
from workers.data.ingest import ingest

FOLDERS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``integration`` and ``e2e`` come from the folder."""
    for item in items:
        top = item.path.relative_to(FOLDERS).parts[0]
        if top in ("integration", "e2e"):
            item.add_marker(top)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of the user who runs the tests stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hippocampus volumes in Decathlon layout."""
    folder = tmp_path_factory.mktemp("raw") / "raw"
    copy_hippocampus(folder, {"train": 5, "validation": 2, "test": 3})
    return folder


@pytest.fixture(scope="session")
def small_dataset(small_raw: Path) -> Path:
    """The ten volumes as a data set."""
    dest = small_raw.parent / "dataset"
    ingest(small_raw, str(dest))
    return dest


@pytest.fixture(scope="session")
def red_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks of 18 x 24 pixels: RGB noise with a red part, a few pixels ignored."""
    folder = tmp_path_factory.mktemp("red")
    for place in ("images", "masks"):
        (folder / place).mkdir()
    for number in range(12):
        rng = np.random.default_rng(number)
        mask = np.zeros((18, 24), np.uint8)
        mask[:, : int(rng.integers(6, 18))] = 1
        image = rng.integers(0, 90, (18, 24, 3), dtype=np.uint8)
        image[..., 0] += 120 * mask
        mask[0, :5] = 255
        Image.fromarray(image).save(folder / "images" / f"shot{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"shot{number:02d}.png")
    return folder
