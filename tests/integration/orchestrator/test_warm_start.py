"""Evidence on SQLite and PostgreSQL: it is there with the first event of a search or not at all, whatever kills its driver."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.engine.events import Draft
from orchestrator.errors import WarmStartError
from orchestrator.journal import Journal
from orchestrator.warm_start import Target, gather
from search_spaces.candidate import digest, to_json
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.space import encode, load_space
from workers.contract import EpochResult, LegResult

SPACE = load_space("compact")
JOB = {"objectives": {"maximize": ["dice"]}}
PROTOCOL = {"version": 1, "max_epochs": 2, "plugins": {}}
KILLED = """
import os, signal, sys
import sqlalchemy as sql
from orchestrator.engine import events
from orchestrator.journal import Journal
from orchestrator.warm_start import Target, gather
from search_spaces.space import load_space

url, when, job, protocol = sys.argv[1], sys.argv[2], {"objectives": {"maximize": ["dice"]}}, eval(sys.argv[3])
target = Target(load_space("compact"), {}, "d", protocol, True)
journal = Journal(url)
drafts = [events.opened(job, "d", protocol=protocol, versions={}, seed=0), *gather(journal, ["old"], target)]
if when == "before":

    @sql.event.listens_for(sql.Engine, "after_cursor_execute")
    def die(connection, cursor, statement, *rest):
        if statement.startswith("INSERT INTO events"):
            os.kill(os.getpid(), signal.SIGKILL)

journal.create("new", drafts)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """A journal with the search ``old``: two presets trained to their end, a third to its first epoch."""
    url = f"sqlite:///{tmp_path}/journal.db"
    if request.param == "postgresql":
        import sqlalchemy as sql

        url = request.getfixturevalue("postgres")
        server = sql.create_engine(url)
        with server.begin() as connection:
            connection.execute(sql.text("DROP SCHEMA public CASCADE"))
            connection.execute(sql.text("CREATE SCHEMA public"))
        server.dispose()
    made = Journal(url)
    made.create("old", [events.opened(JOB, "d", protocol=PROTOCOL, versions={}, seed=0)])
    leader = made.lead("old", Driver.current())
    made.append(leader, [events.leading({}, leader.fence), *story()])
    made.release(leader)
    yield made
    made.close()


def story() -> Iterator[Draft]:
    for trial, (name, candidate) in enumerate(preset_candidates(SPACE)):
        last = 2 if trial < 1 else 1
        yield events.asked(
            trial, to_json(candidate), name=name, digest=digest(candidate), trace=encode(SPACE, candidate), seed=0,
            source="preset", purpose="search", to_epoch=2, max_epochs=2, profile={"parameters": 5e5}, share=1.0,
        )  # fmt: skip
        yield events.leg_started(
            trial, trial + 1, first_epoch=0, last_epoch=last, checkpoint=None, micro_batches=1, share=1.0
        )
        for epoch in range(1, last + 1):
            result = EpochResult(
                search="old", trial=trial, fence=trial + 1, epoch=epoch, loss=0.5, metrics={"dice": 0.1 * epoch + trial / 100},
                seconds=1.0, train_seconds=0.8, at=1.0, checkpoint=f"c{trial}-{epoch}",
            )  # fmt: skip
            yield events.epoch(result)
        yield events.leg_ended(
            LegResult(
                search="old",
                trial=trial,
                fence=trial + 1,
                status="completed",
                epoch=last,
                seconds=3.0,
                at=2.0,
            )
        )
        if last == 2:
            yield events.trial_ended(trial, "completed", value=0.2, epoch=2)


def target(**changes: Any) -> Target:
    known: dict[str, Any] = {
        "space": SPACE,
        "constraints": {},
        "data": "d",
        "protocol": PROTOCOL,
        "reuse": False,
    }
    return Target(**(known | changes))


def test_a_source_is_read_and_left_as_it_is(journal: Journal) -> None:
    before = journal.read("old")
    *pieces, note = gather(journal, ["old"], target())
    assert [p.body["relation"] for p in pieces] == ["identical"] * len(preset_candidates(SPACE))
    assert pieces[0].body["verdict"] == "completed" and pieces[1].body["verdict"] is None
    assert [len(p.body["epochs"]) for p in pieces] == [2, *[1] * (len(pieces) - 1)]
    assert pieces[0].body["epochs"][1]["metrics"] == {"dice": 0.2}
    assert note.body["data"]["sources"][0]["kept"] == len(pieces)
    assert journal.read("old") == before
    narrowed = narrow(SPACE, {"context.kind": "none"})
    *pieces, note = gather(journal, ["old"], target(space=narrowed))
    assert note.body["data"]["sources"][0] == {
        "search": "old", "relation": "identical", "kept": len(pieces), "beyond": 0,
        "outside": len(preset_candidates(SPACE)) - len(pieces),
    }  # fmt: skip
    assert 0 < len(pieces) < len(preset_candidates(SPACE))


def test_a_checkpoint_that_is_gone_is_not_promised(journal: Journal) -> None:
    *pieces, _ = gather(journal, ["old"], target(reuse=True))
    assert [piece.body["checkpoint"] for piece in pieces] == [None] * len(pieces)


def test_other_data_gives_an_order_only_and_nothing_to_reuse(journal: Journal) -> None:
    *pieces, note = gather(journal, ["old"], target(data="e"))
    assert {piece.body["relation"] for piece in pieces} == {"transfer"}
    assert note.body["data"]["sources"][0]["relation"] == "transfer"
    with pytest.raises(WarmStartError, match=r"search\.reuse: 'old' ran on other data"):
        gather(journal, ["old"], target(data="e", reuse=True))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_all_of_the_evidence_or_no_search(journal: Journal, when: str) -> None:
    """Killed once all rows are in the transaction, and once it is committed."""
    process = subprocess.run([sys.executable, "-c", KILLED, journal.url, when, repr(PROTOCOL)], timeout=120)
    assert process.returncode == -signal.SIGKILL
    if when == "before":
        assert journal.names() == ("old",)
        first = events.opened(JOB, "d", protocol=PROTOCOL, versions={}, seed=0)
        journal.create("new", [first, *gather(journal, ["old"], target(reuse=True))])
    leader = journal.lead("new", Driver.current())
    journal.append(leader, [events.leading({}, leader.fence)])
    kinds = [event.kind for event in journal.read("new")]
    assert kinds == ["opened", *["evidence"] * len(preset_candidates(SPACE)), "noted", "leading"]
