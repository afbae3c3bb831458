"""Lengths of time as a job file and commands write them."""

import re

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``2h`` or ``1.5d``.

    Raises:
        ValueError: Another form, or zero.
    """
    match = _FORM.fullmatch(text)
    if not match or float(match[1]) == 0:
        raise ValueError(f"expected a time such as 90s, 10m, 2h or 1d, got {text!r}.")
    return float(match[1]) * _SECONDS[match[2]]
