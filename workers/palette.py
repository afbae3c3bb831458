"""Colours for classes that bring none."""

import colorsys

# Trubetskoy 2017, "List of 20 simple, distinct colors", without greys; black stands for class 0.
_DISTINCT = (
    (230, 25, 75),
    (60, 180, 75),
    (255, 225, 25),
    (0, 130, 200),
    (245, 130, 48),
    (145, 30, 180),
    (70, 240, 240),
    (240, 50, 230),
    (210, 245, 60),
    (250, 190, 212),
    (0, 128, 128),
    (220, 190, 255),
    (170, 110, 40),
    (255, 250, 200),
    (128, 0, 0),
    (170, 255, 195),
    (128, 128, 0),
    (255, 215, 180),
    (0, 0, 128),
)
_GOLDEN = 0.618033988749895  # steps of the golden ratio around the colour circle never meet


def default_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours, 0..255 each: black, then distinct ones, then steps around the colour circle."""
    more = (_on_circle(step) for step in range(max(0, count - 1 - len(_DISTINCT))))
    return ((0, 0, 0), *_DISTINCT, *more)[:count]


def _on_circle(step: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((step * _GOLDEN) % 1.0, 0.55, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
