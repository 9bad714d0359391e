"""The truth's transactions: who writes to SQLite takes turns, and who reads writes nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from control.database import Database
from control.models import VirtualHost
from tests.control.conftest import House, both_databases

BUSY = """
import sys
from sqlalchemy import text
from control.database import Database
database = Database(sys.argv[1])
while True:
    with database.writing() as session:
        session.execute(text("UPDATE counted SET number = number + 1"))
"""


def number(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(text("SELECT number FROM counted")) or 0)


def test_who_writes_seldom_takes_turns_with_a_process_that_writes_all_the_time(
    tmp_path: Path,
) -> None:
    database = Database(f"sqlite:///{tmp_path}/turns.sqlite3")
    with database.writing() as session:
        session.execute(text("CREATE TABLE counted (number INTEGER)"))
        session.execute(text("INSERT INTO counted VALUES (0)"))
    busy = subprocess.Popen([sys.executable, "-c", BUSY, str(database.url)])
    try:
        while number(database) < 10:
            assert busy.poll() is None
        overtaken = []
        for _ in range(60):
            before = number(database)
            with database.writing() as session:
                overtaken.append(int(session.scalar(text("SELECT number FROM counted"))) - before)
    finally:
        busy.kill()
        busy.wait()
    assert statistics.mean(overtaken) <= 6, overtaken


@both_databases
def test_what_was_read_may_be_changed_and_nothing_of_it_is_written(house: House) -> None:
    house.add()
    with house.plane.database.reading() as session:
        host = session.query(VirtualHost).one()
        host.status = "changed"
        session.query(VirtualHost).filter_by(status="x").all()
    with house.plane.database.reading() as session:
        assert session.query(VirtualHost).one().status == "pending"
