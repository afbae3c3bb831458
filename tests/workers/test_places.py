"""Where classes are: all pixels of small ones, an even choice of large ones, however the labels are read."""

import numpy as np
import pytest

from workers import places
from workers.places import MAX_PLACES, places_of_classes


def test_places_of_a_large_class_are_spread_over_it() -> None:
    labels = np.zeros((40, 40, 20), np.uint8)
    labels[:, :20] = 2
    labels[0, 39, 3] = 1
    labels[1, 39] = 255
    found = places_of_classes(labels, ignore_index=255)
    assert found.keys() == {1, 2} and found[1].tolist() == [39 * 20 + 3]
    assert len(found[2]) == MAX_PLACES and (labels.reshape(-1)[found[2]] == 2).all()
    where = np.flatnonzero(labels.reshape(-1) == 2)
    assert found[2][0] == where[0] and found[2][-1] == where[-1] and (np.diff(found[2]) > 0).all()
    image = labels[..., 0]
    assert len(places_of_classes(image, ignore_index=255)[2]) == 800


@pytest.mark.parametrize("part", [1, 13, 10**6])
def test_places_are_found_part_by_part(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (20, 6, 5)).astype(np.uint8)
    labels[3:9] = 0  # parts without any
    monkeypatch.setattr(places, "MAX_PLACES", 17)
    monkeypatch.setattr(places, "_PART", part)
    for index, found in places_of_classes(labels, ignore_index=255).items():
        where = np.flatnonzero(labels == index)
        np.testing.assert_array_equal(found, where[np.linspace(0, len(where) - 1, 17).astype(np.int64)])
