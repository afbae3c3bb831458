import numpy as np
import pytest

from workers.data.statistics import IntensityMeter, measured, percentiles
from workers.levels import PERCENTILES, channel_counts


def cases(count: int, *, height: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.normal(120, 10 + 20 * number, (3, height, 40 + number)).clip(0, 255).astype(np.uint8)
        for number in range(count)
    ]


def test_counted_statistics_of_pictures_are_those_of_all_pixels() -> None:
    meter = IntensityMeter()
    images = cases(5)
    for image in images:
        meter.add(measured(image, None, num_cases=5))
    pixels = np.concatenate([image.reshape(3, -1) for image in images], axis=1).astype(np.float64)
    found = meter.result()
    assert found.mean == pytest.approx(pixels.mean(axis=1), rel=1e-8)
    assert found.std == pytest.approx(pixels.std(axis=1), rel=1e-8)
    low, high = np.percentile(pixels, PERCENTILES, axis=1)
    assert found.low == pytest.approx(low, rel=1e-8) and found.high == pytest.approx(high, rel=1e-8)


def test_counting_and_measuring_agree() -> None:
    """In any order of memory; float32 takes the way of volumes."""
    for image in cases(3):
        turned = np.ascontiguousarray(image.transpose(1, 2, 0)).transpose(2, 0, 1)
        ways = [measured(each, None, num_cases=3) for each in (image, turned, image.astype(np.float32))]
        levels = [np.bincount(channel, minlength=256) for channel in image.reshape(3, -1)]
        assert np.array_equal(ways[0].values, levels) and np.array_equal(ways[1].values, levels)
        assert np.array_equal(ways[2].values, image.reshape(3, -1))
        for way in ways[1:]:
            assert way.count == ways[0].count
            assert way.mean == pytest.approx(ways[0].mean, rel=1e-12)
            assert way.squares == pytest.approx(ways[0].squares, rel=1e-10)


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 1000])
def test_percentiles_are_interpolated(count: int) -> None:
    values = np.random.default_rng(count).integers(0, 256, (2, count), dtype=np.uint8)
    expected = np.percentile(values.astype(np.float64), PERCENTILES, axis=1)
    parts = [values[:, : count // 2], values[:, count // 2 :]]
    counted = [channel_counts(part) for part in parts]
    assert np.allclose(percentiles(counted), expected, rtol=0, atol=1e-9)
    mixed = [counted[0], parts[1].astype(np.float32)]
    assert np.allclose(percentiles(mixed), expected, rtol=1e-6, atol=0)


def test_a_large_case_is_measured_by_an_even_subsample() -> None:
    image = cases(1, height=300)[0]
    turned = np.ascontiguousarray(image.transpose(1, 2, 0)).transpose(2, 0, 1)
    kept = image.reshape(3, -1)[:, ::47]  # 12,000 pixels in at most 256
    for each in (image, turned):
        found = measured(each, None, num_cases=2**24).values
        assert np.array_equal(found, [np.bincount(channel, minlength=256) for channel in kept])
    assert np.array_equal(measured(turned.astype(np.float32), None, num_cases=2**24).values, kept)


def test_constant_pictures_have_no_deviation() -> None:
    meter = IntensityMeter()
    meter.add(measured(np.full((1, 9, 9), 255, np.uint8), None, num_cases=1))
    assert meter.result().std == (0.0,) and meter.result().mean == (255.0,)
