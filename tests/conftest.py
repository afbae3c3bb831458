"""Marks by folder, who runs what side by side, and threads that suit small machines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import workers  # noqa: F401  # sets how OpenMP waits, before torch is imported

FOLDERS = Path(__file__).parent
WITH_SERVERS = ("integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``integration`` and ``e2e`` come from the folder."""
    for item in items:
        top = item.path.relative_to(FOLDERS).parts[0]
        if top in WITH_SERVERS:
            item.add_marker(top)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests are spread over processes, all with servers run in one, which starts each once; others by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "servers" if any(f"tests/{top}/" in file for top in WITH_SERVERS) else file

    config.option.loadscopereorder = False  # the longest come first as they are
    return ByServers(config, log)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of the user who runs the tests stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
