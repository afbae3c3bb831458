"""What comparisons with other libraries share."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn


@pytest.fixture
def corners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolation with corners not aligned everywhere, as here."""
    original: Callable[..., Tensor] = nn.functional.interpolate
    names = inspect.signature(original)

    def interpolate(*given: Any, **options: Any) -> Tensor:
        bound = names.bind(*given, **options).arguments
        return original(**bound | ({"align_corners": False} if bound.get("align_corners") else {}))

    monkeypatch.setattr(nn.functional, "interpolate", interpolate)
