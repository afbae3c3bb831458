"""The database of the journal: its tables, and how SQLite and PostgreSQL are opened. Only ``journal`` uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, IntegrityError

from orchestrator.errors import JournalError, NewerJournalError

SCHEMA = 1
BUSY_TIMEOUT_S = 30.0
_CREATION_LOCK = 0x5E65EA  # any number that no other user of the PostgreSQL database takes

_tables = sql.MetaData()
_schema = sql.Table("segsearch_schema", _tables, sql.Column("version", sql.Integer, primary_key=True))
SEARCHES = sql.Table(
    "searches",
    _tables,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("created", sql.Double, nullable=False),
    sql.Column("last_seq", sql.BigInteger, nullable=False),
    sql.Column("fence", sql.BigInteger, nullable=False),
    sql.Column("lease_until", sql.Double, nullable=False),
    sql.Column("driver", sql.Text, nullable=False),  # JSON of the Driver; empty where none leads
)
EVENTS = sql.Table(
    "events",
    _tables,
    sql.Column("search", sql.String(64), sql.ForeignKey("searches.name"), primary_key=True),
    sql.Column("seq", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("kind", sql.String(32), nullable=False),
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("at", sql.Double, nullable=False),
    sql.Column("fence", sql.BigInteger, nullable=False),
    sql.Column("body", sql.Text, nullable=False),
)
INBOX = sql.Table(
    "inbox",
    _tables,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("search", sql.String(64), sql.ForeignKey("searches.name"), nullable=False, index=True),
    sql.Column("verb", sql.String(32), nullable=False),
    sql.Column("posted", sql.Double, nullable=False),
    sql.Column("body", sql.Text, nullable=False),
)
CURSORS = sql.Table(
    "cursors",
    _tables,
    sql.Column("search", sql.String(64), sql.ForeignKey("searches.name"), primary_key=True),
    sql.Column("consumer", sql.String(64), primary_key=True),
    sql.Column("position", sql.BigInteger, nullable=False),
    sql.Column("data", sql.Text, nullable=False),
)


def open_database(url: str) -> sql.Engine:
    """Connect, and make the tables that are missing.

    Raises:
        JournalError: No URL of a database that is served, or one of a newer version.
    """
    engine = _connect(url)
    try:
        _make_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _connect(url: str) -> sql.Engine:
    try:
        address = sql.make_url(url)
    except sql.exc.ArgumentError:
        raise JournalError(
            f"journal: {url!r} is no database URL; write sqlite:///path/to/journal.db or postgresql+psycopg://…"
        ) from None
    backend = address.get_backend_name()
    if backend == "postgresql":
        return sql.create_engine(address, pool_pre_ping=True)
    if backend != "sqlite":
        raise JournalError(f"journal: {backend!r} is not served; use sqlite or postgresql.")
    if address.database:
        Path(address.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(address, connect_args={"timeout": BUSY_TIMEOUT_S})
    sql.event.listen(engine, "connect", _prepare_sqlite)
    sql.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late: see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sql.Connection) -> None:
    # A writer takes the lock at once: one that reads first and then writes may find that another wrote in between.
    write = connection.get_execution_options().get("segsearch_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _make_tables(engine: sql.Engine) -> None:
    """Make what is missing; where nothing is, no lock is waited for."""
    with engine.begin() as connection:
        if sql.inspect(connection).has_table(_schema.name) and _schema_of(connection) is not None:
            return
    with engine.connect() as connection:
        connection = connection.execution_options(segsearch_write=True)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sql.text(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})"))
            _tables.create_all(connection)
            if _schema_of(connection) is None:
                connection.execute(_schema.insert().values(version=SCHEMA))


def _schema_of(connection: sql.Connection) -> int | None:
    found: int | None = connection.scalar(sql.select(sql.func.max(_schema.c.version)))
    if found is not None and found > SCHEMA:
        known = f"this version of segsearch knows {SCHEMA}; install the newer version."
        raise NewerJournalError(f"journal: the database has schema {found}, {known}")
    return found


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What the database says in this context is a ``JournalError`` that names it, without its password."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, IntegrityError):
            raise
        first = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
        message = f"journal {without_password(url)}: {first}; check that the database runs and is writable."
        raise JournalError(message) from error


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return sql.make_url(url).render_as_string(hide_password=True)
