"""The journal: one append-only SQL table of events, the only truth of all searches. The one door for SQL,
with ``database`` behind it.

SQLite serves one machine, PostgreSQL a cluster. A search has one leader at a time, known by a fence that grows with
each take-over. Every write of a leader names its fence within the writing transaction, so a driver that was replaced
without noticing writes nothing. Time of the lease is the database's, never a driver's.

What survives: SQLite runs in WAL mode with ``synchronous=FULL``, so a committed append survives the end of the
process and of the machine's power; PostgreSQL's default (``synchronous_commit=on``) gives the same.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from orchestrator.collector import unhurried_collector
from orchestrator.database import (
    CURSORS,
    EVENTS,
    INBOX,
    SEARCHES,
    open_database,
    translated,
    without_password,
)
from orchestrator.driver import Driver
from orchestrator.engine.events import Draft, Event, upcast
from orchestrator.errors import (
    LedError,
    SearchExistsError,
    StaleLeaderError,
    UnknownSearchError,
)
from orchestrator.places import is_missing
from search_spaces.register import unknown_name
from workers.contract import JSON

LEASE_S = 30.0
_CLOCKS = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}


@dataclass(frozen=True, slots=True)
class Leadership:
    """The right to append to a search, as long as nobody took it over."""

    search: str
    fence: int


@dataclass(frozen=True, slots=True)
class Message:
    """A request to the driver of a search, posted by another process."""

    id: int
    verb: str
    body: JSON


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a consumer has read, and what it must remember (for instance run ids of a tracker)."""

    position: int = 0
    data: JSON = field(default_factory=dict)


class Journal:
    """A journal in a database.

    Nothing is opened before the first use. What writes makes folders and tables; a file that is not there reads as empty.

    Args:
        url: ``sqlite:///path/to/journal.db`` or ``postgresql+psycopg://user@host/database``.
        lease_s: Seconds after its last append or ``renew`` that a leader is trusted to live.

    Raises:
        JournalError: From any method: the database is out of reach, or was written by a newer version.
    """

    def __init__(self, url: str, *, lease_s: float = LEASE_S) -> None:
        self.url = url
        self.lease_s = lease_s

    def create(self, search: str, drafts: Sequence[Draft] = (), *, at: float | None = None) -> None:
        """Begin a search with its first events.

        Raises:
            SearchExistsError: The name is taken.
        """
        written = time.time() if at is None else at
        row = {"name": search, "created": written, "last_seq": len(drafts), "fence": 0, "lease_until": 0.0}
        with self._write() as connection:
            try:
                connection.execute(SEARCHES.insert().values(**row, driver=""))
            except IntegrityError:
                message = f"search {search!r} exists already; resume it, or give the new one another name."
                raise SearchExistsError(message) from None
            _insert(connection, search, drafts, last=len(drafts), fence=0, at=written)

    def names(self) -> tuple[str, ...]:
        """All searches, oldest first."""
        with self._read() as connection:
            statement = sql.select(SEARCHES.c.name).order_by(SEARCHES.c.created, SEARCHES.c.name)
            return tuple(connection.scalars(statement))

    def lead(self, search: str, driver: Driver) -> Leadership:
        """Become the one leader of a search; every older leader is shut out from here on.

        Raises:
            UnknownSearchError: There is no such search.
            LedError: Another driver leads it and may live: its lease runs, and it is not known to be dead.
        """
        with self._write() as connection:
            now = self._now(connection)
            row = self._row(connection, search, lock=True)
            holder = Driver.from_json(json.loads(row.driver)) if row.driver else None
            if holder is not None and holder != driver and row.lease_until > now and not holder.is_dead():
                who = f"process {holder.pid} on {holder.host} since {holder.since_text()}"
                wait = f"wait {row.lease_until - now:.0f} s after its end"
                raise LedError(f"search {search!r} is led by {who}; stop that driver first, or {wait}.")
            changes = {"fence": row.fence + 1, "lease_until": now + self.lease_s}
            changes["driver"] = json.dumps(driver.to_json())
            connection.execute(SEARCHES.update().where(SEARCHES.c.name == search).values(changes))
            return Leadership(search, row.fence + 1)

    def append(
        self,
        leadership: Leadership,
        drafts: Sequence[Draft],
        *,
        at: float | None = None,
        answered: Sequence[Message] = (),
    ) -> list[Event]:
        """Write events in one transaction: all of them or none; renews the lease.

        Args:
            leadership: From ``lead``.
            drafts: What to write, in order.
            at: Time of the events; now by default.
            answered: Messages that these events answer; they leave the inbox in the same transaction.

        Raises:
            StaleLeaderError: Another driver took over; nothing was written.
        """
        written = time.time() if at is None else at
        with self._write() as connection:
            last = self._touch(connection, leadership, grow=len(drafts))
            ids = [message.id for message in answered]
            if ids:
                connection.execute(INBOX.delete().where(INBOX.c.id.in_(ids)))
            return _insert(
                connection, leadership.search, drafts, last=last, fence=leadership.fence, at=written
            )

    def renew(self, leadership: Leadership) -> None:
        """Say that the leader lives.

        Raises:
            StaleLeaderError: Another driver took over.
        """
        with self._write() as connection:
            self._touch(connection, leadership, grow=0)

    def release(self, leadership: Leadership) -> None:
        """Give the search back, so that another driver may lead it at once; no effect where one already does."""
        with self._write() as connection:
            connection.execute(_led_by(leadership).values(driver="", lease_until=0.0))

    def leader(self, search: str) -> Driver | None:
        """The driver that leads a search now, None where none does or its end is certain."""
        with self._read() as connection:
            row = self._row(connection, search)
            holder = Driver.from_json(json.loads(row.driver)) if row.driver else None
            alive = row.lease_until > self._now(connection)
        return holder if holder is not None and alive and not holder.is_dead() else None

    def read(self, search: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Events of a search with numbers above ``after``, in order, lifted to the newest versions.

        Raises:
            UnknownSearchError: There is no such search.
        """
        columns = (EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.version, EVENTS.c.at, EVENTS.c.body)
        chosen = (EVENTS.c.search == search) & (EVENTS.c.seq > after)
        statement = sql.select(*columns).where(chosen).order_by(EVENTS.c.seq).limit(limit)
        with self._read() as connection, unhurried_collector():
            self._row(connection, search)
            rows = connection.execute(statement).all()
            return [upcast(Event(n, kind, v, at, orjson.loads(body))) for n, kind, v, at, body in rows]

    def post(self, search: str, verb: str, body: JSON | None = None) -> int:
        """Put a request into the inbox of a search, for its leader; its id.

        Raises:
            UnknownSearchError: There is no such search.
        """
        with self._write() as connection:
            self._row(connection, search)
            row = {"search": search, "verb": verb, "posted": time.time(), "body": json.dumps(body or {})}
            return int(connection.execute(INBOX.insert().values(**row).returning(INBOX.c.id)).scalar_one())

    def inbox(self, search: str) -> list[Message]:
        """Requests that wait, oldest first; they stay until ``append`` names them as answered."""
        statement = sql.select(INBOX.c.id, INBOX.c.verb, INBOX.c.body).where(INBOX.c.search == search)
        with self._read() as connection:
            rows = connection.execute(statement.order_by(INBOX.c.id)).all()
        return [Message(number, verb, json.loads(body)) for number, verb, body in rows]

    def cursor(self, search: str, consumer: str) -> Cursor:
        """Where a consumer of a search's events stands; the beginning where it never said."""
        at = (CURSORS.c.search == search) & (CURSORS.c.consumer == consumer)
        with self._read() as connection:
            row = connection.execute(sql.select(CURSORS.c.position, CURSORS.c.data).where(at)).first()
        return Cursor() if row is None else Cursor(row.position, json.loads(row.data))

    def move(self, search: str, consumer: str, cursor: Cursor) -> None:
        """Remember where a consumer stands."""
        at = (CURSORS.c.search == search) & (CURSORS.c.consumer == consumer)
        values = {"position": cursor.position, "data": json.dumps(cursor.data)}
        with self._write() as connection:
            if connection.execute(CURSORS.update().where(at).values(**values)).rowcount == 0:
                connection.execute(CURSORS.insert().values(search=search, consumer=consumer, **values))

    def close(self) -> None:
        """Give the connections back; the next use opens new ones."""
        engine = self.__dict__.pop("_engine", None)
        if engine is not None:
            engine.dispose()

    def _touch(self, connection: sql.Connection, leadership: Leadership, *, grow: int) -> int:
        """Check the fence, renew the lease and reserve numbers; the last number reserved."""
        until = self._now(connection) + self.lease_s
        changes = {"last_seq": SEARCHES.c.last_seq + grow, "lease_until": until}
        statement = _led_by(leadership).values(changes).returning(SEARCHES.c.last_seq)
        last = connection.execute(statement).scalar()
        if last is None:
            who = f"search {leadership.search!r}: another driver took over"
            raise StaleLeaderError(f"{who}; this one (fence {leadership.fence}) wrote nothing and must end.")
        return int(last)

    def _row(self, connection: sql.Connection, search: str, *, lock: bool = False) -> sql.Row[Any]:
        statement = sql.select(SEARCHES).where(SEARCHES.c.name == search)
        row = connection.execute(statement.with_for_update() if lock else statement).first()
        if row is None:
            unknown = unknown_name("search", search, connection.scalars(sql.select(SEARCHES.c.name)))
            raise UnknownSearchError(f"{unknown} The journal is {without_password(self.url)}.")
        return row

    def _now(self, connection: sql.Connection) -> float:
        """Seconds since 1970 by the database's clock."""
        clock = _CLOCKS[connection.dialect.name]
        return float(connection.execute(sql.text(f"SELECT {clock}")).scalar_one())

    @contextmanager
    def _write(self) -> Iterator[sql.Connection]:
        with translated(self.url), self._engine.connect() as connection:
            connection = connection.execution_options(segsearch_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _read(self) -> Iterator[sql.Connection]:
        asked = Journal("sqlite://") if is_missing(self.url) else self  # asking leaves no file behind
        with translated(self.url), asked._engine.begin() as connection:
            yield connection

    @cached_property
    def _engine(self) -> sql.Engine:
        return open_database(self.url)


def _led_by(leadership: Leadership) -> sql.Update:
    mine = (SEARCHES.c.name == leadership.search) & (SEARCHES.c.fence == leadership.fence)
    return SEARCHES.update().where(mine)


def _insert(
    connection: sql.Connection, search: str, drafts: Sequence[Draft], *, last: int, fence: int, at: float
) -> list[Event]:
    events, rows = [], []
    for seq, draft in enumerate(drafts, start=last - len(drafts) + 1):
        text = json.dumps(draft.body, separators=(",", ":"), allow_nan=False)
        head = {"search": search, "seq": seq, "kind": draft.kind, "version": draft.version}
        rows.append({**head, "at": at, "fence": fence, "body": text})
        # The body comes back as a reader would get it, so that a driver and a replay fold equal values.
        events.append(Event(seq, draft.kind, draft.version, at, orjson.loads(text)))
    if rows:
        connection.execute(EVENTS.insert(), rows)
    return events
