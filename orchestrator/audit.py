"""Whether a search is whole: nothing lost, nothing twice, and what its journal points to is there. Holds after every fault."""

from collections import Counter
from collections.abc import Iterable, Iterator

from orchestrator.engine.events import NOT_PROMOTED, SEARCH_ENDED, Event
from orchestrator.engine.evidence import duplicate_digest
from orchestrator.engine.naming import named_now
from workers.checkpoint import load_checkpoint
from workers.contract import JSON
from workers.errors import WorkerError


def faults(written: Iterable[Event], *, files: bool = True) -> list[str]:
    """What is wrong with a search, a sentence each; empty where it is whole.

    - Each trial has one verdict once the search is over, and never two.
    - The epochs of a trial are 1, 2, 3, ... without a gap or a repetition; each came from the leg that had the trial then.
    - The numbers of legs grow, and a trial has one leg at a time.
    - Who begins with the weights of another trial has them from a checkpoint that this one had; it had not diverged.
    - Evidence of other searches stands before the first trial, each piece once; a trial that was not trained has evidence of
      the very same training, whole, and says what that says.
    - The newest checkpoint of a trial whose weights may still be wanted is whole: its manifest lists files that are there.

    Args:
        written: All events of the search.
        files: Look at checkpoints, too; needs the storage.
    """
    events = list(written)
    wrong_evidence = list(_evidence(events))
    if wrong_evidence:  # or drivers of several versions, which name one candidate otherwise
        wrong_evidence = list(_evidence(list(named_now(events))))
    found = [
        *_numbers(events),
        *_verdicts(events),
        *_epochs(events),
        *_legs(events),
        *wrong_evidence,
        *_parents(events),
    ]
    return found + list(_checkpoints(events)) if files else found


def _numbers(events: list[Event]) -> Iterator[str]:
    for place, event in enumerate(events, start=1):
        if event.seq != place:
            yield f"event {event.seq} stands in place {place}."
            return


def _verdicts(events: list[Event]) -> Iterator[str]:
    ended: Counter[int] = Counter()
    left: set[int] = set()  # trials that go on where the search is extended
    over = False
    for event in events:
        match event.kind:
            case "trial_ended":
                ended[event.body["trial"]] += 1
                if event.body["message"] in (NOT_PROMOTED, SEARCH_ENDED):
                    left.add(event.body["trial"])
            case "finished":
                over = True
            case "extended" if over:
                over = False
                ended.subtract(left)
                left.clear()
    for event in events:
        if event.kind == "asked":
            count, who = ended[event.body["trial"]], f"trial {event.body['trial']}"
            if count > 1:
                yield f"{who} has {count} verdicts."
            if count == 0 and over and event.body["purpose"] == "search":
                yield f"{who} has no verdict although the search is over."


def _epochs(events: list[Event]) -> Iterator[str]:
    last: Counter[int] = Counter()
    for event in events:
        if event.kind == "epoch":
            trial, epoch = event.body["trial"], event.body["epoch"]
            if epoch != last[trial] + 1:
                yield f"trial {trial} reports epoch {epoch} after epoch {last[trial]}."
            last[trial] = epoch
        elif event.kind == "reused":
            last[event.body["trial"]] = event.body["epochs"][-1]["epoch"]


def _legs(events: list[Event]) -> Iterator[str]:
    running: dict[int, int] = {}
    newest = 0
    for event in events:
        body = event.body
        match event.kind:
            case "leading":
                running.clear()  # legs of the driver before are lost
            case "leg_started":
                if body["trial"] in running:
                    yield f"trial {body['trial']} got leg {body['fence']} while leg {running[body['trial']]} had it."
                if body["fence"] <= newest:
                    yield f"leg {body['fence']} was handed out after leg {newest}."
                newest = max(newest, body["fence"])
                running[body["trial"]] = body["fence"]
            case "epoch" | "leg_ended":
                if running.get(body["trial"]) != body["fence"]:
                    yield f"event {event.seq}: leg {body['fence']} reports on trial {body['trial']}, which it did not have."
                if event.kind == "leg_ended":
                    running.pop(body["trial"], None)


def _evidence(events: list[Event]) -> Iterator[str]:
    known: dict[tuple[str, int], JSON] = {}
    asked: dict[int, JSON] = {}
    for event in events:
        body = event.body
        match event.kind:
            case "asked":
                asked[body["trial"]] = body
            case "evidence":
                who = f"evidence of trial {body['trial']} of {body['search']}"
                if asked:
                    yield f"event {event.seq}: {who} was written after the first trial was asked."
                if (body["search"], body["trial"]) in known:
                    yield f"event {event.seq}: {who} stands there twice."
                if _duplicate(events[0], body) == body["duplicate"] and body["relation"] != "identical":
                    yield f"event {event.seq}: {who} counts as {body['relation']} although it is the same training."
                known[body["search"], body["trial"]] = body
            case "reused":
                where = f"trial {body['source']} of {body['search']}"
                source, trial = known.get((body["search"], body["source"])), asked[body["trial"]]
                if source is None:
                    yield f"trial {body['trial']} reuses {where}, of which there is no evidence."
                elif source["duplicate"] != _duplicate(events[0], trial):
                    yield f"trial {body['trial']} reuses {where}, which is another training."
                elif source["epochs"] != body["epochs"] or len(body["epochs"]) != trial["max_epochs"]:
                    yield f"trial {body['trial']} reuses {where}, but not all of its epochs as the evidence has them."


def _parents(events: list[Event]) -> Iterator[str]:
    committed: dict[tuple[int, int], str | None] = {}
    barred: set[int] = set()
    for event in events:
        body = event.body
        match event.kind:
            case "epoch":
                committed[body["trial"], body["epoch"]] = body["checkpoint"]
            case "reused":
                committed[body["trial"], body["epochs"][-1]["epoch"]] = body["checkpoint"]
            case "halted" if body["violation"]:
                barred.add(body["trial"])
            case "trial_ended" if body["verdict"] == "diverged":
                barred.add(body["trial"])
            case "asked" if parent := body["parent"]:
                who = f"trial {body['trial']} begins with the weights of trial {parent['trial']}"
                if committed.get((parent["trial"], parent["epoch"])) != parent["checkpoint"]:
                    yield f"{who}, which had no such checkpoint."
                elif parent["trial"] in barred:
                    yield f"{who}, which diverged or was beyond a limit."


def _duplicate(opened: Event, trial: JSON) -> str:
    """The digest of the training that a search would do of a candidate."""
    data, protocol = opened.body["data_digest"], opened.body["protocol"]
    return duplicate_digest(trial["digest"], data=data, protocol=protocol, seed=trial["seed"])


def _checkpoints(events: list[Event]) -> Iterator[str]:
    reported = (event.body for event in events if event.kind in ("epoch", "reused"))
    newest = {body["trial"]: body["checkpoint"] for body in reported if body["checkpoint"] is not None}
    for trial, location in sorted(newest.items()):
        try:
            load_checkpoint(location)
        except WorkerError as error:
            yield f"trial {trial}: {error}"
