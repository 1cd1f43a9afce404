"""The database as it is in life: killed, started again, silent, full. No record is missing, twice or out of order."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from sqlalchemy import Connection, Engine, event, select
from twisted.internet import defer, task
from twisted.internet.defer import Deferred

from hospproxy.clocks import wall
from hospproxy.record.database.access import Access, DatabaseFailed
from hospproxy.record.database.dialects import Target, parsed
from hospproxy.record.database.reading import DatabaseReader
from hospproxy.record.database.schema import LINES, RECORDS, place_of
from hospproxy.record.database.writing import DatabaseWriter, OtherRecordError
from hospproxy.record.reading.filters import Filters
from hospproxy.record.trail.encoding import encode_record
from hospproxy.record.trail.following import Batch, Follower, Position
from hospproxy.record.trail.keeper import Keeper, Plan
from hospproxy.record.trail.linking import NOTHING, hash_of, link_of
from hospproxy.record.trail.signing import PublicKeys, Signer
from hospproxy.record.trail.verify import verify

from .freezing import Freezer
from .postgresql import PostgreSQL

RECORDS_MADE = 3000
BATCH = 100
WAIT_S = 120.0

# What a carrier does, in a process that can be killed: it says each position that it would save.
CHILD = """
import sys
from pathlib import Path
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from integration.test_database import access_for, batches
from hospproxy.record.database.writing import DatabaseWriter
async def main(reactor):
    writer = DatabaseWriter(access_for(sys.argv[2], Path(sys.argv[1])))
    for batch in batches(Path(sys.argv[3])):
        await writer.write(batch)
        print(batch.position.seq, flush=True)
task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def access_for(url: str, file: Path, *, read_only: bool = False, timeout_s: float = 20.0) -> Access:
    """A thread to a database."""
    target = Target(url=parsed(url) if url else None, file=file, connect_timeout_s=2.0, timeout_s=timeout_s)
    return Access(_reactor(), target, "test", read_only)


def batches(folder: Path, since: Position | None = None) -> list[Batch]:
    """All that a journal holds after a position."""
    follower = Follower(folder, max_records=BATCH)
    end = Position("w0", 1, next(folder.glob("audit-w0-*.jsonl")).stat().st_size)
    at, found = since or Position("w0"), []
    while (batch := follower.read(at, end)) is not None:
        found.append(Batch(batch.lines, batch.head, batch.position, "t1"))
        at = batch.position
    return found


@define
class Place:
    """A database, and a journal to carry into it.

    :param server: None for SQLite.
    :param port: of a relay before the server, 0 for none.
    """

    folder: Path
    server: PostgreSQL | None
    signer: Signer
    port: int = 0
    failures: int = 0

    @property
    def url(self) -> str:
        return self.server.url(self.port) if self.server else ""

    @property
    def file(self) -> Path:
        return self.folder / "index" / "audit.sqlite"

    def access(self, **kinds: Any) -> Access:
        return access_for(self.url, self.file, **kinds)

    def journal(self) -> None:
        """Records of all sorts, in one file."""
        keeper = Keeper(self.folder / "audit", wall, signer=self.signer, plan=Plan(rotate_bytes=1 << 30))
        keeper.keep([_record(number) for number in range(RECORDS_MADE)])
        keeper.close()

    def batches(self, since: Position | None = None) -> list[Batch]:
        return batches(self.folder / "audit", since)

    async def carry(
        self, writer: DatabaseWriter, each: Callable[[int], object] = lambda _: None, trail: str = "t1"
    ) -> None:
        """Write all, and again what failed, until it is there.

        :param each: called before each batch, with its place among them.
        """
        clock = _reactor()
        latest = clock.seconds() + WAIT_S
        for number, batch in enumerate(self.batches()):
            each(number)
            while True:
                try:
                    await writer.write(evolve(batch, trail=trail))
                except DatabaseFailed:
                    self.failures += 1
                    assert clock.seconds() < latest
                    await task.deferLater(clock, 0.05, lambda: None)
                else:
                    break

    async def check(self, writer: DatabaseWriter) -> None:
        """Each record is there once, as it stands in the journal, and in its place."""
        expected = [line for batch in self.batches() for line in batch.lines]
        access = self.access(read_only=True)
        lines = await access.run(
            lambda c: [
                (place_of(n)[1], bytes(line))
                for n, line in c.execute(select(LINES.c.id, LINES.c.line).order_by(LINES.c.id))
            ]
        )
        assert [seq for seq, _ in lines] == list(range(1, len(expected) + 1))
        assert [line for _, line in lines] == expected
        prev = NOTHING
        for line in expected:
            link = link_of(line)
            assert link is not None and link.prev == prev
            prev = hash_of(line)
        count = await access.run(lambda c: len(c.execute(select(RECORDS.c.id)).all()))
        assert count == len(expected)
        reader = DatabaseReader(access, self.access(read_only=True))
        assert len([row async for row in reader.rows(Filters(patient="7", own=True))]) == RECORDS_MADE // 10
        assert (await reader.summary(0)).requests == RECORDS_MADE
        await reader.close()
        [anchor] = await writer.anchors()
        assert anchor.head.encode() == prev
        assert (
            verify(self.folder / "audit", PublicKeys.of([self.signer.public_pem]), [anchor.head]).count == 0
        )


def _record(number: int) -> bytes:
    return encode_record(
        {
            "v": 1,
            "kind": "request",
            "time": f"2026-01-01T00:{number // 600 % 60:02d}:{number // 10 % 60:02d}.{number % 10}00Z",
            "request_id": f"r{number}",
            "who": {"id": number % 50, "name": f"Member {number % 50}", "certainty": "verified"},
            "client": {"address": "192.0.2.7"},
            "route": "/patients/{id}",
            "patient_id": str(number % 10),
            "outcome": "success",
            "status": 200,
            "filler": "x" * 300,
        }
    )


@pytest_twisted.async_yield_fixture(params=["sqlite", "postgresql"])
async def place(request: Any, tmp_path: Path) -> AsyncIterator[Place]:
    """Each kind."""
    server = PostgreSQL() if request.param == "postgresql" else None
    if server is not None:
        await server.start()
    made = Place(tmp_path, server, Signer.generate())
    made.journal()
    yield made
    if server is not None:
        server.remove()


@pytest_twisted.async_yield_fixture
async def postgresql(tmp_path: Path) -> AsyncIterator[Place]:
    """PostgreSQL only: what has no like in SQLite."""
    made = Place(tmp_path, PostgreSQL(), Signer.generate())
    assert made.server is not None
    await made.server.start()
    made.journal()
    yield made
    made.server.remove()


@pytest_twisted.ensureDeferred
async def test_all_is_there(place: Place) -> None:
    writer = DatabaseWriter(place.access())
    await place.carry(writer)
    await place.carry(writer)
    await place.check(writer)
    assert place.failures == 0
    await writer.close()


def _carry_and_be_killed(place: Place) -> None:
    command = [sys.executable, "-c", CHILD, str(place.file), place.url, str(place.folder / "audit")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= RECORDS_MADE // 3:
                child.kill()
                return
    raise AssertionError("it ended by itself")


@pytest_twisted.ensureDeferred
async def test_a_carrier_is_killed_before_it_saved_its_position(place: Place) -> None:
    """Another process begins anew: what is there is left alone."""
    _carry_and_be_killed(place)
    writer = DatabaseWriter(place.access())
    await place.carry(writer)
    await place.check(writer)
    await writer.close()


@pytest_twisted.ensureDeferred
async def test_a_record_that_was_changed_is_not_passed_over(place: Place) -> None:
    writer = DatabaseWriter(place.access())
    batch = place.batches()[0]
    await writer.write(batch)
    changed = Batch(
        (*batch.lines[:5], batch.lines[5].replace(b"Member", b"Nobody"), *batch.lines[6:]),
        batch.head,
        batch.position,
        "t1",
    )
    with pytest.raises(OtherRecordError):
        await writer.write(changed)
    await writer.write(Batch(changed.lines, changed.head, changed.position, "another trail"))
    await writer.close()


async def _write_all(writer: DatabaseWriter, place: Place) -> None:
    for batch in place.batches():
        await writer.write(batch)


@pytest_twisted.ensureDeferred
async def test_full(place: Place) -> None:
    """What was written stays; the rest comes when there is room."""
    writer = DatabaseWriter(place.access())
    most_pages = 300

    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most_pages}")

    async def room() -> None:
        nonlocal most_pages
        most_pages = 1_000_000
        if place.server is not None:
            place.server.kill()
            await place.server.start()

    if place.server is not None:
        place.server.kill()
        await place.server.start(most_bytes=1 << 20)
    else:
        event.listen(Engine, "begin", limit)
    try:
        with pytest.raises(DatabaseFailed, match=r"full|too large"):
            await _write_all(writer, place)
        await room()
        await place.carry(writer)
        await place.check(writer)
    finally:
        if place.server is None:
            event.remove(Engine, "begin", limit)
        await writer.close()


@pytest_twisted.ensureDeferred
async def test_two_machines_write_at_one_time(place: Place) -> None:
    """Words and sets are common to both; neither loses its own."""
    writers = DatabaseWriter(place.access()), DatabaseWriter(place.access())
    both = (place.carry(writer, trail=trail) for writer, trail in zip(writers, ("t1", "t2"), strict=True))
    await defer.gatherResults([Deferred.fromCoroutine(each) for each in both])
    reader = DatabaseReader(place.access(read_only=True), place.access(read_only=True))
    names = [row.key.name async for row in reader.rows(Filters(staff="Member 7"))]
    assert sorted((name.trail, name.seq) for name in names) == [
        (trail, seq)
        for trail in ("t1", "t2")
        for batch in place.batches()
        for seq, line in enumerate(batch.lines, batch.first_seq)
        if b'"Member 7"' in line
    ]
    assert (await reader.summary(0)).requests == 2 * RECORDS_MADE
    for each in (*writers, reader):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_sqlite_is_locked_by_another(tmp_path: Path) -> None:
    """A writer waits for a while, then says so; nothing is lost."""
    place = Place(tmp_path, None, Signer.generate())
    place.journal()
    writer = DatabaseWriter(place.access())
    await writer.open()
    other = sqlite3.connect(place.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseFailed):
        await writer.write(place.batches()[0])
    other.execute("ROLLBACK")
    other.close()
    await place.carry(writer)
    await place.check(writer)
    await writer.close()


@pytest_twisted.ensureDeferred
async def test_the_server_is_killed_and_started_again(postgresql: Place) -> None:
    server = postgresql.server
    assert server is not None
    writer = DatabaseWriter(postgresql.access())

    starting: list[Any] = []

    def at(number: int) -> None:
        """It comes back while the writer tries."""
        if number % 7 == 3:
            server.kill()
            starting.append(task.deferLater(_reactor(), 0.2, lambda: Deferred.fromCoroutine(server.start())))

    await postgresql.carry(writer, at)
    await defer.gatherResults(starting)
    assert postgresql.failures
    await postgresql.check(writer)
    await writer.close()


@pytest_twisted.ensureDeferred
async def test_the_answer_to_a_commit_is_lost(postgresql: Place) -> None:
    """The network falls silent: the connection is given up, the batch comes again, and nothing is there twice."""
    assert postgresql.server is not None
    freezer = Freezer(postgresql.server.port)
    postgresql.port = freezer.start()
    writer = DatabaseWriter(postgresql.access(timeout_s=1.0))
    batch = postgresql.batches()[0]
    await writer.open()
    freezer.after = b"COMMIT"
    with pytest.raises(DatabaseFailed):
        await writer.write(batch)
    assert freezer.swallow == "answers"
    freezer.swallow = ""
    await postgresql.carry(writer)
    await postgresql.check(writer)
    await writer.close()
    await freezer.stop()
