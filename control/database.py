"""Database: one engine, read transactions and write transactions; SQLite (WAL) and PostgreSQL alike."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

BUSY_MILLISECONDS = 20_000
"""How long SQLite waits for another process's write before it gives up."""
MOST_COLLISIONS = 5


Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or has no schema; the text says what to do."""


def after_collision(deed: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Do it again where another transaction wrote the same new row first: now it is there to be found.

    Only PostgreSQL comes to that: a row that is not committed cannot be seen, and not be locked. Each
    collision means that somebody else got through; IntegrityError after MOST_COLLISIONS.
    """

    @wraps(deed)
    def run(*arguments: Given.args, **options: Given.kwargs) -> Answer:
        for _ in range(MOST_COLLISIONS):
            with suppress(IntegrityError):
                return deed(*arguments, **options)
        return deed(*arguments, **options)

    return run


class Database:
    """The truth. `reading()` and `writing()` each give a Session in one transaction.

    Writers are serialised on SQLite (BEGIN IMMEDIATE, and a turn that threads and processes queue
    for); on PostgreSQL rows are locked by those who change them.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as problem:
            raise DatabaseUnavailable(f"DATABASE_URL cannot be read: {problem}") from problem
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._sqlite() if self.is_sqlite else self._server()
        # One snapshot on SQLite; on PostgreSQL a transaction gives a reader none (READ COMMITTED) and
        # costs it two round trips.
        alone = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reads = self.engine.execution_options(**alone)
        self._writes = {
            lasting: self.engine.execution_options(writes="FULL" if lasting else "NORMAL")
            for lasting in (True, False)
        }
        self._writer: Any = _Turn(self.url.database) if self.is_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that writes nothing; what it loaded stays usable afterwards."""
        with Session(self._reads, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[Session]:
        """A session that commits at the end, or rolls back when the block raises.

        With `lasting` off SQLite does not wait for the disk: a power cut may take such a commit back, whole,
        until a lasting one follows. For what a worker finds out again: leases, what edges were given.
        """
        with (
            self._writer,
            Session(self._writes[lasting], expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def check(self) -> None:
        """Raise DatabaseUnavailable when it does not answer or has not been migrated."""
        try:
            with self.engine.connect() as connection:
                migrated = inspect(connection).has_table("virtual_hosts")
        except OperationalError as problem:
            first = (str(problem.orig).splitlines() or [""])[0]
            raise DatabaseUnavailable(
                f"the database at {self.url.render_as_string()} does not answer ({first}): "
                "check DATABASE_URL and that the server runs"
            ) from problem
        if not migrated:
            raise DatabaseUnavailable(
                f"the database at {self.url.render_as_string()} has no schema: run `edgectl migrate`"
            )

    def alive(self) -> None:
        """Ask it for one row."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def _server(self) -> Engine:
        return create_engine(
            self.url, pool_size=20, max_overflow=60, pool_pre_ping=True, pool_timeout=15
        )

    def _sqlite(self) -> Engine:
        if self.url.database and self.url.database != ":memory:":
            path = Path(self.url.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(str(path), owner_of=str(path.parent))
        engine = create_engine(self.url, pool_size=20, max_overflow=100, pool_timeout=15)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine


class _Turn:
    """One writer at a time, of this process's threads and of all processes, who queue in the kernel.

    SQLite alone would let them poll, with pauses of up to a tenth of a second: who writes seldom would
    wait long for one who writes all the time. Whoever waits for the turn holds the place in front of it
    meanwhile, so that nobody who has just written comes first again. Whoever comes without a turn is
    still held off by SQLite.
    """

    def __init__(self, database: str | None) -> None:
        self._threads = threading.Lock()
        in_memory = not database or database == ":memory:"
        self._paths = () if in_memory else (f"{database}-next", f"{database}-turn")
        self._files: list[int] = []

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if len(self._files) < len(self._paths):
                self._files = [_beside(path) for path in self._paths]
            for file in self._files:
                fcntl.flock(file, fcntl.LOCK_EX)
            for place in self._files[:1]:
                fcntl.flock(place, fcntl.LOCK_UN)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            for file in self._files:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            self._threads.release()


def _beside(path: str) -> int:
    """Open `<database>-next` or `-turn`; one that root makes belongs to the database's owner, as SQLite's own do."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    _give(file, path.rpartition("-")[0])
    return file


def _make(path: str, *, owner_of: str) -> None:
    """The database's empty file; one that root makes belongs to its folder's owner, the service."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return
    _give(file, owner_of)
    os.close(file)


def _give(file: int, owner_of: str) -> None:
    """Hand a file that root has open to whoever owns the other path."""
    if os.geteuid() == 0:
        owner = os.stat(owner_of)
        os.fchown(file, owner.st_uid, owner.st_gid)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leave BEGIN to us, and choose WAL; `synchronous=FULL` because keys and orders must survive."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    synchronous = connection.get_execution_options().get("writes")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
