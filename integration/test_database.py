"""The audit database killed, restarted, silent and full: no record is missing, doubled or out of order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from sqlalchemy import select
from twisted.internet import defer, task
from twisted.internet.defer import Deferred

from hospproxy.keys.signing_key import PublicKeys, Signer
from hospproxy.options.database_url import parsed
from hospproxy.process.clocks import wall
from hospproxy.record.database.access import TransactionThread
from hospproxy.record.database.connect import DatabaseTarget
from hospproxy.record.database.reader import DatabaseReader
from hospproxy.record.database.schema import LINES, RECORDS, place_of
from hospproxy.record.database.sink import DatabaseSink, OtherRecordError
from hospproxy.record.search.filters import Filters
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.follower import Batch, Cursor, Follower
from hospproxy.record.trail.hash_chain import NOTHING, hash_of, link_of
from hospproxy.record.trail.identity import trail_id
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.verify import verify

from .freezing_relay import Freezer
from .postgresql import PostgreSQL
from .sink_carrier import Carrying, forget, until

RECORDS_MADE = 6000

# A carrier in a process that can be killed: it prints how many batches were taken.
CHILD = """
import sys
from pathlib import Path
from twisted.internet import task
from twisted.internet.defer import Deferred
from integration.sink_carrier import Carrying
from integration.test_database import access_for, end_of
from hospproxy.record.database.sink import DatabaseSink
folder = Path(sys.argv[2])
async def main():
    writer = DatabaseSink(access_for(sys.argv[1]))
    await Carrying(writer, folder, lambda: end_of(folder), lambda taken: print(taken, flush=True)).carry()
task.react(lambda reactor: Deferred.fromCoroutine(main()))
"""


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def access_for(url: str, *, read_only: bool = False, timeout_s: float = 20.0) -> TransactionThread:
    """Access to a database, in a thread of its own."""
    target = DatabaseTarget(url=parsed(url), connect_timeout_s=2.0, timeout_s=timeout_s)
    return TransactionThread(_reactor(), target, "test", read_only)


def end_of(folder: Path) -> Cursor:
    """End position of a journal that has one file."""
    [file] = folder.glob("audit-w0-*.jsonl")
    content = file.read_bytes()
    return Cursor("w0", 1, len(content), content.count(b"\n"))


@define
class Rig:
    """A database, and a journal to deliver to it.

    :param port: of a relay in front of the server, 0 for none.
    """

    folder: Path
    server: PostgreSQL
    signer: Signer
    port: int = 0

    @property
    def url(self) -> str:
        return self.server.url(self.port)

    def access(self, **kinds: Any) -> TransactionThread:
        return access_for(self.url, **kinds)

    def journal(self) -> None:
        """Write records of all kinds into one file."""
        keeper = TrailKeeper(self.audit, wall, signer=self.signer, plan=RotationPlan(rotate_bytes=1 << 30))
        keeper.keep([_record(number) for number in range(RECORDS_MADE)])
        keeper.close()

    @property
    def audit(self) -> Path:
        """The journal's folder."""
        return self.folder / "audit"

    def batches(self) -> list[Batch]:
        """Every record of the journal, in batches."""
        follower, at, found = Follower(self.audit), Cursor("w0"), []
        while (batch := follower.read(at, end_of(self.audit))) is not None:
            found.append(evolve(batch, trail=trail_id(self.audit)))
            at = batch.position
        return found

    def writer(self, **kinds: Any) -> DatabaseSink:
        return DatabaseSink(self.access(**kinds))

    async def carry(self, before: Callable[[int], object] = lambda _: None, **kinds: Any) -> Carrying:
        """Carry all records, from the saved position of the carrier before."""
        carrying = Carrying(self.writer(**kinds), self.audit, lambda: end_of(self.audit), before)
        await carrying.carry()
        return carrying

    async def check(self) -> None:
        """Check that each record is there once, unchanged, and in its place."""
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
        writer = self.writer()
        [anchor] = await writer.anchors()
        await writer.close()
        assert anchor.head.encode() == prev
        assert verify(self.audit, PublicKeys.of([self.signer.public_pem]), [anchor.head]).count == 0


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


@pytest_twisted.async_yield_fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, PostgreSQL(), Signer.generate())
    await made.server.start()
    made.journal()
    yield made
    made.server.remove()


@pytest_twisted.ensureDeferred
async def test_all_is_there(rig: Rig) -> None:
    """All records are there once, even if all are delivered a second time."""
    for _ in range(2):
        carrying = await rig.carry()
        assert (carrying.taken, carrying.troubles) == (len(rig.batches()), [])
        await rig.check()
        forget(rig.audit)


def _carry_and_be_killed(rig: Rig) -> None:
    command = [sys.executable, "-c", CHILD, rig.url, str(rig.audit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 4:
                child.kill()
                return
    raise AssertionError("it ended by itself")


@pytest.mark.parametrize("saved", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_carrier_is_killed(rig: Rig, saved: bool) -> None:
    """Another process continues at the position, or starts again; existing records stay unchanged."""
    _carry_and_be_killed(rig)
    if not saved:
        forget(rig.audit)
    carrying = await rig.carry()
    assert carrying.taken == len(rig.batches()) if not saved else carrying.taken <= len(rig.batches()) - 3
    await rig.check()


@pytest_twisted.ensureDeferred
async def test_a_record_that_was_changed_is_not_passed_over(rig: Rig) -> None:
    writer = DatabaseSink(rig.access())
    batch = rig.batches()[0]
    await writer.write(batch)
    changed = Batch(
        (*batch.lines[:5], batch.lines[5].replace(b"Member", b"Nobody"), *batch.lines[6:]),
        batch.head,
        batch.position,
        batch.trail,
    )
    with pytest.raises(OtherRecordError):
        await writer.write(changed)
    await writer.write(Batch(changed.lines, changed.head, changed.position, "another trail"))
    await writer.close()


@pytest_twisted.ensureDeferred
async def test_full(rig: Rig) -> None:
    """Written records stay; the rest follows when there is space."""
    rig.server.kill()
    await rig.server.start(most_bytes=1 << 20)
    carrying = Carrying(rig.writer(), rig.audit, lambda: end_of(rig.audit))
    carrying.start()
    await until(lambda: len(carrying.troubles) >= 2, "no room")
    assert all(re.search("full|too large", str(trouble)) for trouble in carrying.troubles)
    rig.server.kill()
    await rig.server.start()
    await carrying.arrive()
    await carrying.stop()
    await rig.check()


@pytest_twisted.ensureDeferred
async def test_two_machines_write_at_one_time(rig: Rig) -> None:
    """They share words and sets; neither loses a record."""
    other = evolve(rig, folder=rig.folder / "other")
    shutil.copytree(rig.audit, other.audit)
    both = rig, other
    await defer.gatherResults([Deferred.fromCoroutine(each.carry()) for each in both])
    reader = DatabaseReader(rig.access(read_only=True), rig.access(read_only=True))
    names = [row.key.name async for row in reader.rows(Filters(staff="Member 7"))]
    assert sorted((name.trail, name.seq) for name in names) == [
        (batch.trail, seq)
        for one in sorted(both, key=lambda each: trail_id(each.audit))
        for batch in one.batches()
        for seq, line in enumerate(batch.lines, batch.first_seq)
        if b'"Member 7"' in line
    ]
    assert (await reader.summary(0)).requests == 2 * RECORDS_MADE
    await reader.close()


@pytest_twisted.ensureDeferred
async def test_the_server_is_killed_and_started_again(rig: Rig) -> None:
    server = rig.server
    assert server is not None
    starting: list[Any] = []

    def at(number: int) -> None:
        """The database comes back while the sink retries."""
        if number % 4 == 1 and len(starting) == number // 4:
            server.kill()
            starting.append(task.deferLater(_reactor(), 0.2, lambda: Deferred.fromCoroutine(server.start())))

    carrying = await rig.carry(at)
    await defer.gatherResults(starting)
    assert len(starting) == 3
    assert len(carrying.troubles) >= 3
    await rig.check()


@pytest_twisted.ensureDeferred
async def test_the_server_is_at_the_end_of_a_long_line(rig: Rig) -> None:
    assert rig.server is not None
    line = Freezer(rig.server.port, delay_s=0.005)
    rig.port = line.start()
    carrying = await rig.carry()
    assert carrying.troubles == []
    await line.stop()
    rig.port = 0
    await rig.check()


@pytest_twisted.ensureDeferred
async def test_the_answer_to_a_commit_is_lost(rig: Rig) -> None:
    """The network goes silent: the sink drops the connection and sends the batch again; no record is doubled."""
    assert rig.server is not None
    freezer = Freezer(rig.server.port)
    rig.port = freezer.start()

    def at(number: int) -> None:
        if number == 3 and not swallowed:
            freezer.after = b"COMMIT"
            swallowed.append(number)

    swallowed: list[int] = []
    writer = rig.writer(timeout_s=1.0)
    carrying = Carrying(writer, rig.audit, lambda: end_of(rig.audit), at)
    carrying.start()
    await until(lambda: bool(carrying.troubles), "a failure")
    assert freezer.swallow == "answers"
    assert carrying.taken == 3
    freezer.swallow = ""
    await carrying.arrive()
    await carrying.stop()
    await rig.check()
    await freezer.stop()
