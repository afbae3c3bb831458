"""Names of candidates: the digest that this version of the code gives each, whichever version wrote the event.

A digest is that of the canonical form, and what that is changes now and then: two ways to write one network become one
candidate. So a journal of before names some candidates as nobody would now, and who compares digests would not know them again.
The candidate itself stands beside its digest; here, where events are read in order to go on or to learn from them, it is named
anew. The events in the journal stay as they are.

Nothing is named anew where the journal says that the same code named it: that takes a third of a millisecond a candidate.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.engine.events import Event
from orchestrator.engine.evidence import duplicate_digest
from search_spaces.errors import SpaceError
from search_spaces.foreign import code_digest
from workers.contract import JSON

SPACES = "search_spaces"
"""The package whose code names candidates; ``versions`` of ``opened`` says which named the evidence of a search."""


def naming_code() -> str:
    """Digest of the code that canonical forms depend on, a user's own entries apart: a search is bound to those anyway."""
    return code_digest(SPACES)


def named_now(written: Iterable[Event], *, all_proposals: bool = False) -> Iterator[Event]:
    """The events of a search from its first, with candidates named as this version does.

    A candidate that this version cannot read keeps its name.

    Args:
        written: As the journal has them.
        all_proposals: Name those that were turned down, too; only of evidence does somebody ask for them by name.
    """
    opened: JSON = {}
    by: str | None = None  # the code that named what follows
    for event in written:
        body = event.body
        match event.kind:
            case "opened":
                opened, by = body, body["versions"].get(SPACES)
            case "leading":
                by = body["spaces"]
            case "rejected" if not (all_proposals or body["source"] == "evidence"):
                pass
            case "asked" | "rejected" | "evidence" if by is None or by != naming_code():
                event = _renamed(event, opened)
        yield event


def own_name(candidate: JSON) -> str | None:
    """The digest of a candidate as a journal or a table holds it; None where this version cannot read it."""
    try:
        return _name(json.dumps(candidate))
    except SpaceError:
        return None


def _renamed(event: Event, opened: Mapping[str, Any]) -> Event:
    body = event.body
    name = own_name(body["candidate"])
    if name is None or name == body["digest"]:
        return event
    changed = {**body, "digest": name}
    if event.kind == "evidence":
        facts = {"data": opened["data_digest"], "protocol": opened["protocol"], "seed": body["seed"]}
        # Of a training under other conditions the digest says nothing to this search.
        if body["duplicate"] == duplicate_digest(body["digest"], **facts):
            changed["duplicate"] = duplicate_digest(name, **facts)
    return replace(event, body=changed)


@functools.lru_cache(maxsize=20_000)
def _name(candidate: str) -> str:
    # Needs torch; few readers of a journal come here.
    from search_spaces.candidate import Candidate, digest, from_json

    return digest(from_json(Candidate, json.loads(candidate)))
