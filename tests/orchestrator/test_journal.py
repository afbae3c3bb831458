"""The journal on SQLite: order, fences, leases, inbox, cursors. The same suite runs on PostgreSQL as an integration test."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.errors import (
    JournalError,
    LedError,
    SearchExistsError,
    StaleLeaderError,
    UnknownSearchError,
)
from orchestrator.journal import Cursor, Journal

ME = Driver.current()
OTHER = Driver(host="far", machine="another machine", pid=1, started="1", since=0.0)


def notes(*texts: str) -> list[events.Draft]:
    return [events.noted(text, {"ä": [1, 0.1]}) for text in texts]


Open = Callable[..., Journal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Open]:
    """Opens journals in a file of this test, and closes them."""
    with ExitStack() as stack:

        def make(**settings: float) -> Journal:
            journal = Journal(f"sqlite:///{tmp_path}/deep/er/journal.db", **settings)
            stack.callback(journal.close)
            return journal

        yield make


@pytest.fixture
def journal(open_journal: Open) -> Journal:
    return open_journal()


def test_asking_a_journal_that_does_not_exist_leaves_no_file(tmp_path: Path, journal: Journal) -> None:
    assert journal.names() == ()
    with pytest.raises(
        UnknownSearchError, match=r"unknown search 's'. Known: none. The journal is sqlite:///.*/journal.db"
    ):
        journal.read("s")
    assert not list(tmp_path.iterdir())
    journal.create("s")  # the same object sees what came later
    assert journal.names() == ("s",)


def test_events_come_back_in_order_and_numbered(journal: Journal) -> None:
    journal.create("s", notes("a"), at=5.0)
    leader = journal.lead("s", ME)
    written = journal.append(leader, notes("b", "c"), at=6.0)
    assert [event.seq for event in written] == [2, 3]
    read = journal.read("s")
    assert read[1:] == written
    assert [(event.body["kind"], event.at) for event in read] == [("a", 5.0), ("b", 6.0), ("c", 6.0)]
    assert journal.read("s", after=1, limit=1) == written[:1]
    assert journal.append(leader, []) == []


def test_searches_do_not_mix(journal: Journal) -> None:
    for name in ("one", "two"):
        journal.create(name, notes(name))
    journal.append(journal.lead("two", ME), notes("more"))
    assert journal.names() == ("one", "two")
    assert len(journal.read("one")) == 1 and len(journal.read("two")) == 2


def test_names_are_taken_once_and_unknown_ones_offer_the_nearest(journal: Journal) -> None:
    journal.create("hippocampus")
    with pytest.raises(SearchExistsError, match="resume it"):
        journal.create("hippocampus")
    for call in (
        journal.read,
        journal.leader,
        lambda name: journal.lead(name, ME),
        lambda n: journal.post(n, "stop"),
    ):
        with pytest.raises(UnknownSearchError, match="did you mean 'hippocampus'"):
            call("hippocampos")


def test_a_second_driver_is_told_who_leads(journal: Journal) -> None:
    journal.create("s")
    journal.lead("s", OTHER)
    with pytest.raises(LedError, match="led by process 1 on far since 1970-01-01 00:00:00 UTC"):
        journal.lead("s", ME)
    assert journal.leader("s") == OTHER


def test_a_lease_that_ran_out_is_taken_over_and_its_leader_shut_out(open_journal: Open) -> None:
    journal = open_journal(lease_s=0.05)
    journal.create("s")
    old = journal.lead("s", OTHER)
    time.sleep(0.1)
    assert journal.leader("s") is None
    new = journal.lead("s", ME)
    assert new.fence > old.fence
    for write in (lambda: journal.append(old, notes("late")), lambda: journal.renew(old)):
        with pytest.raises(StaleLeaderError, match="another driver took over"):
            write()
    journal.release(old)  # no effect
    journal.append(new, notes("mine"))
    assert [event.body["kind"] for event in journal.read("s")] == ["mine"]


def test_a_dead_process_on_this_machine_is_replaced_at_once(journal: Journal) -> None:
    journal.create("s")
    journal.lead("s", replace(ME, started="another start"))  # the number was given to a new process
    journal.lead("s", ME)
    journal.lead("s", ME)  # the same process may lead again


def test_a_released_search_is_free(journal: Journal) -> None:
    journal.create("s")
    journal.release(journal.lead("s", OTHER))
    assert journal.leader("s") is None
    journal.lead("s", ME)


def test_appending_renews_the_lease(open_journal: Open) -> None:
    journal = open_journal(lease_s=0.3)
    journal.create("s")
    leader = journal.lead("s", OTHER)
    for _ in range(5):
        time.sleep(0.1)
        journal.append(leader, notes("alive"))
    with pytest.raises(LedError):
        journal.lead("s", ME)


def test_a_number_that_is_not_finite_writes_nothing(journal: Journal) -> None:
    journal.create("s")
    leader = journal.lead("s", ME)
    with pytest.raises(ValueError, match="JSON"):
        journal.append(leader, [*notes("a"), events.noted("b", {"x": float("nan")})])
    assert journal.read("s") == []
    assert [event.seq for event in journal.append(leader, notes("c"))] == [1]


def test_messages_wait_until_their_answer_is_written(journal: Journal) -> None:
    journal.create("s")
    first = journal.post("s", "stop", {"by": "me"})
    journal.post("s", "note")
    waiting = journal.inbox("s")
    assert [(message.verb, message.body) for message in waiting] == [("stop", {"by": "me"}), ("note", {})]
    leader = journal.lead("s", ME)
    assert journal.inbox("s") == waiting  # reading takes nothing
    journal.append(leader, [events.stop_requested("me")], answered=waiting[:1])
    assert [message.id for message in journal.inbox("s")] == [waiting[1].id] != [first]


def test_cursors_are_kept_by_consumer(journal: Journal) -> None:
    journal.create("s")
    assert journal.cursor("s", "mlflow") == Cursor()
    journal.move("s", "mlflow", Cursor(3, {"run": "abc"}))
    journal.move("s", "mlflow", Cursor(4, {"run": "abc"}))
    assert journal.cursor("s", "mlflow") == Cursor(4, {"run": "abc"})
    assert journal.cursor("s", "report") == Cursor()


def test_asking_does_not_wait_for_a_writer(open_journal: Open, tmp_path: Path) -> None:
    open_journal().create("s")
    with closing(sqlite3.connect(tmp_path / "deep/er/journal.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert open_journal().names() == ("s",)
        assert time.monotonic() - begun < 5


def test_a_newer_schema_is_refused(open_journal: Open, tmp_path: Path) -> None:
    open_journal().create("s")
    with closing(sqlite3.connect(tmp_path / "deep/er/journal.db")) as connection, connection:
        connection.execute("INSERT INTO segsearch_schema VALUES (99)")
    with pytest.raises(JournalError, match="schema 99, this version of segsearch knows 1; install the newer"):
        open_journal().names()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_text("this is no database, but a text that is long enough to be looked at as one. " * 20)
    with pytest.raises(JournalError, match=r"journal sqlite:///.*file is not a database; check"):
        Journal(f"sqlite:///{path}").names()
    with pytest.raises(JournalError, match="'nonsense' is no database URL"):
        Journal("nonsense").names()


def test_a_password_is_never_shown() -> None:
    journal = Journal("postgresql+psycopg://me:secret@127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(JournalError) as caught:
        journal.names()
    assert "secret" not in str(caught.value)


def test_five_thousand_events_a_second_in_batches(journal: Journal) -> None:
    journal.create("s")
    leader = journal.lead("s", ME)
    batch = [events.noted("epoch", {f"dice/{n}": 0.1 * n for n in range(10)})] * 250
    begun = time.perf_counter()
    for _ in range(4):
        journal.append(leader, batch)
    assert 1000 / (time.perf_counter() - begun) > 2000  # 16,000 were measured; a shared machine has room
    assert len(journal.read("s")) == 1000
