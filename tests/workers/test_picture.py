"""Overlays by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from workers.picture import OPACITY, overlay, palette, png


def test_labels_lie_over_the_image_and_class_0_and_ignored_pixels_stay_clear() -> None:
    image = np.array([[[0, 100, 100, 0]]], np.int16)
    labels = np.array([[0, 1, 255, 2]], np.uint8)
    found = overlay(image, labels, palette([(9, 9, 9), (200, 0, 0), (0, 0, 40)]))
    assert found.dtype == np.uint8 and found.shape == (1, 4, 3)
    red = [int((1 - OPACITY) * 255 + OPACITY * 200), int((1 - OPACITY) * 255), int((1 - OPACITY) * 255)]
    np.testing.assert_array_equal(found[0], [[0, 0, 0], red, [255, 255, 255], [0, 0, int(OPACITY * 40)]])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_and_a_constant_image(channels: int) -> None:
    found = overlay(np.full((channels, 4, 6), 7.5), np.zeros((4, 6), np.uint8), palette([(0, 0, 0)]))
    assert found.shape == (4, 6, 3) and (found == 0).all()


def test_png_round_trip() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(values)))), values)
