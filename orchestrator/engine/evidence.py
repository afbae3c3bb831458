"""Evidence: what trials of other searches found, and how this search uses it.

``identical`` evidence was trained on the same data under the same protocol. Its scores compare with those of this search, so
samplers see it as they see trials. ``transfer`` evidence is anything else: its scores do not compare, but who was best there
is a good guess here (Feurer et al. 2015, "Initializing Bayesian hyperparameter optimization via meta-learning", AAAI, section
3), so its best members are asked first, after the presets.

Where the job opts in (``search.reuse``), a training that another search did already is not done again. What the same training
is says one digest, ``duplicate_digest``.

Deviations: data sets are not compared by meta-features; the user names the searches.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Relation
from orchestrator.engine.trial import Trial
from search_spaces.codec import text_digest
from workers.contract import JSON

if TYPE_CHECKING:
    from orchestrator.engine.settings import EngineSettings
    from orchestrator.engine.state import State

FIRST = 3  # of the best of other searches that are asked first: as many as there are presets


@dataclass(frozen=True, slots=True)
class Evidence:
    """A trial of another search.

    Attributes:
        search: The other search.
        relation: Whether its scores compare with those of this search.
        duplicate: ``duplicate_digest`` of its training.
        rank: Its place among the trials there, 1 is best; None without a score.
        epochs: What each of its epochs gave.
        trial: The trial, with its number there and the objectives of this search.
    """

    search: str
    relation: Relation
    duplicate: str
    rank: int | None
    epochs: tuple[JSON, ...]
    trial: Trial

    @classmethod
    def of(cls, body: JSON) -> Self:
        """From an ``evidence`` event; the trial is still without scores.

        One that ran out of memory, or had no verdict yet, counts as stopped: that says nothing of the candidate.
        """
        trial = Trial(
            number=body["trial"],
            name=body["name"],
            candidate=body["candidate"],
            digest=body["digest"],
            trace=body["trace"],
            seed=body["seed"],
            source="evidence",
            purpose="search",
            max_epochs=body["max_epochs"],
            profile=body["profile"],
            share=body["share"],
            allowed=0,
            checkpoint=body["checkpoint"],
            verdict=body["verdict"] if body["verdict"] in ("completed", "diverged") else "stopped",
        )
        return cls(
            body["search"], body["relation"], body["duplicate"], body["rank"], tuple(body["epochs"]), trial
        )

    @property
    def title(self) -> str:
        """What a user sees of it."""
        return f"{self.trial.name} of {self.search}"

    @property
    def is_complete(self) -> bool:
        """Whether it is a full training with a score."""
        trial = self.trial
        return trial.verdict == "completed" and trial.epoch == trial.max_epochs and trial.score is not None


@dataclass(slots=True)
class Shelf:
    """All evidence of a search.

    Attributes:
        items: In the order of the journal.
        turned_down: Digests of candidates that were asked first and rejected.
    """

    items: list[Evidence] = field(default_factory=list)
    turned_down: set[str] = field(default_factory=set)
    _data: str = ""
    _protocol: JSON = field(default_factory=dict)
    _complete: dict[str, Evidence] = field(default_factory=dict)
    _first: tuple[int, list[Evidence]] = (0, [])  # of so many items

    def begin(self, opened: JSON) -> None:
        """Take note of what results of this search are bound to."""
        self._data, self._protocol = opened["data_digest"], opened["protocol"]

    def add(self, found: Evidence) -> None:
        """Take in one piece."""
        self.items.append(found)
        if found.is_complete:
            self._complete.setdefault(found.duplicate, found)

    def same_training(self, candidate: str, *, seed: int, limits: Collection[str] = ()) -> Evidence | None:
        """The full training of a candidate, named by its digest, that another search did as this one would.

        Args:
            limits: What this search limits and only epochs tell; a training that does not tell it does not stand.
        """
        if not self._complete:
            return None
        key = duplicate_digest(candidate, data=self._data, protocol=self._protocol, seed=seed)
        found = self._complete.get(key)
        return found if found and set(limits) <= found.epochs[-1]["metrics"].keys() else None

    def first(self, settings: "EngineSettings") -> list[Evidence]:
        """Evidence whose candidates are asked before the sampler is: a few of the best of ``transfer``, by their ranks there.

        Where the search reuses, so are the best of those that it need not train, so that they stand in its leaderboard.
        """
        if self._first[0] != len(self.items):  # all evidence stands before the first question
            ranked = sorted(
                (found for found in self.items if found.rank is not None), key=lambda found: found.rank or 0
            )
            transfer = [found for found in ranked if found.relation == "transfer"]
            free = [found for found in ranked if settings.reuse and self._saves(found, settings)]
            self._first = (len(self.items), [*_few(free), *_few(transfer)])
        return self._first[1]

    def _saves(self, found: Evidence, settings: "EngineSettings") -> bool:
        """Whether a trial of its candidate need not be trained."""
        same = self.same_training(found.trial.digest, seed=settings.seed, limits=settings.limits)
        return found.is_complete and same is found


def duplicate_digest(candidate: str, *, data: str, protocol: Mapping[str, Any], seed: int) -> str:
    """One digest of all that decides what a full training gives: two trainings with the same one are duplicates.

    Args:
        candidate: Canonical digest of the candidate, which covers a user's own code.
        data: Digest of the data set.
        protocol: Evaluator, split, horizon, samples and code semantics, as ``opened`` holds them.
        seed: Seed of the training.
    """
    facts = {"candidate": candidate, "data": data, "protocol": dict(protocol), "seed": seed}
    return text_digest(json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False))


def asked_first(settings: "EngineSettings", state: "State") -> list[Evidence]:
    """What of ``Shelf.first`` was neither asked nor rejected yet."""
    shelf = state.evidence
    return [
        found
        for found in shelf.first(settings)
        if found.trial.digest not in state.digests and found.trial.digest not in shelf.turned_down
    ]


def reuse(settings: "EngineSettings", state: "State", asked: Draft) -> tuple[Draft, ...]:
    """What to write of a trial that is being asked instead of training it; empty where it must be trained, as an heir must."""
    body = asked.body
    is_partial = body["source"] == "repeat" and body["to_epoch"] < body["max_epochs"]
    if not settings.reuse or is_partial or body["parent"] is not None:
        return ()
    found = state.evidence.same_training(body["digest"], seed=body["seed"], limits=settings.limits)
    if found is None:
        return ()
    source, number = found.trial, body["trial"]
    message = f"reused: trial {source.number} of {found.search}"
    return (
        events.reused(
            number,
            search=found.search,
            source=source.number,
            epochs=found.epochs,
            checkpoint=source.checkpoint,
        ),
        events.trial_ended(number, "completed", value=source.value, epoch=source.epoch, message=message),
    )


def _few(ranked: list[Evidence]) -> list[Evidence]:
    """The first few of different candidates."""
    distinct: dict[str, Evidence] = {}
    for found in ranked:
        distinct.setdefault(found.trial.digest, found)
    return list(distinct.values())[:FIRST]
