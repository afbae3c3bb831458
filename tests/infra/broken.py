"""Broken copies of documents, which a rule must refuse."""

from collections.abc import Callable
from typing import Any


def set_at(path: str, value: object) -> Callable[[Any], None]:
    """Put a value at ``a/b/0/c`` of a document of mappings and lists; None removes what stands there."""

    def change(document: Any) -> None:
        *parents, last = (int(part) if part.isdecimal() else part for part in path.split("/"))
        place = document
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change
