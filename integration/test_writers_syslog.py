"""The trail in a real rsyslogd that is killed, stopped and restarted; and in receivers that behave worse."""

from __future__ import annotations

import select
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.options.syslog_section import SyslogSettings
from hospproxy.record.sinks.syslog import SyslogSink, writer_for
from hospproxy.record.sinks.syslog_connection import NotConfirmed
from hospproxy.record.trail.follower import Cursor

from .freezing_relay import Freezer
from .ports import free_port
from .processes import Processes
from .rsyslog import Message, Rsyslog, taken_apart
from .sink_carrier import Carrying, Trail, clock, until

START = Cursor("w0")


def settings(**options: Any) -> Settings:
    section = SyslogSettings(enabled=True, hostname="proxy.example", **options)
    return Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), audit_syslog=section)


def writer(**options: Any) -> SyslogSink:
    made = writer_for(settings(**options), clock)
    assert isinstance(made, SyslogSink)
    return made


@pytest.fixture(params=["tcp", "tls"])
def place(request: Any, processes: Processes, tmp_path: Path) -> Rsyslog:
    """A receiver that is not started yet."""
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    return Rsyslog(processes, folder, secure=request.param == "tls")


def of(place: Rsyslog, **options: Any) -> SyslogSink:
    folder = place.output.parent
    if place.url.startswith("tls"):
        names = (
            ("ca_file", "authority.pem"),
            ("certificate_file", "client.pem"),
            ("private_key_file", "client.key"),
        )
        options.update({key: folder / name for key, name in names})
    return writer(**{"url": place.url, **options})


def complete(messages: list[Message], trail: Trail) -> int:
    """Check messages against a trail; see `all_there`."""
    return all_there(messages, trail.name, trail.lines())


def all_there(messages: list[Message], trail: str, lines: list[bytes]) -> int:
    """Check that every record is there, first copies in order; return the number of copies (same seq and hash)."""
    first: dict[int, bytes] = {}
    for message in messages:
        seq = int(message.data["seq"])
        assert message.data["hash"] == sha256(message.text).hexdigest()
        assert (message.data["trail"], message.data["journal"]) == (trail, "w0")
        if seq in first:
            assert first[seq] == message.text
        else:
            assert seq == len(first) + 1, f"{len(first)} came, then {seq}"
            first[seq] = message.text
    assert [first[seq] for seq in sorted(first)] == lines
    return len(messages) - len(first)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


@pytest_twisted.ensureDeferred
async def test_every_record_comes_once_and_as_it_was(place: Rsyslog, trail: Trail) -> None:
    await place.start()
    for _ in range(2):  # the second continues where the first was stopped
        trail.keep(1000)
        carrying = trail.carrying(of(place))
        await carrying.carry()
        assert carrying.troubles == []
    messages = place.received()
    assert complete(messages, trail) == 0
    assert messages[0].kind == "begin"
    assert {message.priority for message in messages} == {13 * 8 + 5, 13 * 8 + 6}
    of_one = messages[1]
    assert (of_one.host, of_one.app, of_one.kind) == ("proxy.example", "hospproxy", "request")
    assert of_one.time == "2026-11-24T13:15:36.123Z"


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_is_killed_again_and_again(place: Rsyslog, trail: Trail) -> None:
    await place.start()
    carrying = trail.carrying(of(place))
    carrying.start()
    for _ in range(4):
        trail.keep(4000)
        taken = carrying.taken
        await until(lambda taken=taken: carrying.taken > taken, "a batch")  # type: ignore[misc]
        await place.kill()
        await place.start()
    await carrying.arrive()
    # It is killed again after all was confirmed: everything that it had is there.
    await place.kill()
    await carrying.stop()
    assert complete(place.received(), trail) > 0, "what was in doubt came again"


@pytest_twisted.ensureDeferred
async def test_a_receiver_at_the_end_of_a_long_line(place: Rsyslog, trail: Trail) -> None:
    await place.start()
    line = Freezer(place.port, delay_s=0.1)
    url = place.url.rpartition(":")[0] + f":{line.start()}"
    trail.keep(2000)
    carrying = trail.carrying(of(place, url=url))
    await carrying.carry()
    await line.stop()
    assert (complete(place.received(), trail), carrying.troubles) == (0, [])


@pytest_twisted.ensureDeferred
async def test_a_receiver_whose_disk_was_full_is_filled_again(place: Rsyslog, trail: Trail) -> None:
    """rsyslogd keeps reading and drops what does not fit. No sender can know; docs/writers.md says what to do."""
    await place.start()
    place.limit(100_000)
    trail.keep(1000)
    await trail.carrying(of(place)).carry()
    assert place.output.stat().st_size == 100_000
    place.limit(None)
    kept = len(place.received())
    assert kept < 1000
    trail.forget()
    await trail.carrying(of(place)).carry()
    assert complete(place.received()[kept:], trail) == 0


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_stands_still_for_longer_than_the_time_out(
    place: Rsyslog, trail: Trail
) -> None:
    await place.start()
    trail.keep(400)
    carrying = trail.carrying(of(place, timeout_s=0.5))
    carrying.start()
    await carrying.arrive()
    taken, troubles = carrying.taken, len(carrying.troubles)
    await place.stand_still()
    trail.keep(1500)
    await until(lambda: len(carrying.troubles) >= troubles + 2, "time-outs")
    assert carrying.taken == taken
    place.go_on()
    await carrying.arrive()
    await carrying.stop()
    complete(place.received(), trail)


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_nobody_has_vouched_for_gets_nothing(
    processes: Processes, trail: Trail, tmp_path: Path
) -> None:
    place = Rsyslog(processes, tmp_path, secure=True)
    await place.start()
    trail.keep(10)
    wrong_name = of(place, url=f"tls://127.0.0.1:{place.port}")
    unknown = writer(url=place.url, ca_file=tmp_path / "client.pem")
    without_certificate = writer(url=place.url, ca_file=tmp_path / "authority.pem")
    for made in (wrong_name, unknown, without_certificate):
        with pytest.raises(Exception, match=r".*"):
            await made.write(trail.batches(START)[0])
        await made.close()
    assert place.received() == []


class Receiver(Factory):
    """A receiver in this process, whose behaviour the test sets.

    :ivar mode: "read"; "deaf": reads nothing; "early": closes before it has read.
    :ivar read: what was read and not written.
    :ivar written: what would survive its death.
    """

    noisy = False

    def __init__(self) -> None:
        self.mode = "read"
        self.read = b""
        self.written = b""
        self.connections: list[Any] = []
        self.port = free_port()
        self._listening: Any = None

    def start(self) -> None:
        self._listening = clock.listenTCP(self.port, self, interface="127.0.0.1")

    async def die(self) -> None:
        """Lose everything that was read. Twisted closes with shutdown(2), so a sender cannot notice unread bytes."""
        await self._listening.stopListening()
        self.read = b""
        for each in self.connections:
            each.transport.loseConnection()
        self.connections.clear()

    def buildProtocol(self, addr: object) -> Protocol:
        return _Connection(self)

    def messages(self) -> list[Message]:
        """The written messages, split by their frames."""
        found, rest = [], self.written
        while rest:
            length, _, rest = rest.partition(b" ")
            found.append(taken_apart(rest[: int(length)]))
            rest = rest[int(length) :]
        return found


class _Connection(Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def connectionMade(self) -> None:
        self._receiver.connections.append(self)
        transport: Any = self.transport
        if self._receiver.mode == "deaf":
            transport.stopReading()
        elif self._receiver.mode == "early":
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._receiver.read += data

    def connectionLost(self, reason: Any = None) -> None:
        if self in self._receiver.connections:
            self._receiver.connections.remove(self)


def to(receiver: Receiver, trail: Trail) -> Carrying:
    return trail.carrying(writer(url=f"tcp://127.0.0.1:{receiver.port}"))


async def arrived(carrying: Carrying, receiver: Receiver, trail: Trail) -> int:
    """Wait until everything has arrived, and stop the receiver; return the number of duplicates."""
    await carrying.arrive()
    await carrying.stop()
    receiver.written = receiver.read
    again = complete(receiver.messages(), trail)
    await receiver.die()
    return again


@pytest_twisted.ensureDeferred
async def test_bytes_that_only_a_kernel_has_taken_are_not_carried_on(trail: Trail) -> None:
    trail.keep(100)
    [batch] = trail.batches(START)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = writer(url=f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        writing = Deferred.fromCoroutine(made.write(batch))
        await until(lambda: bool(select.select([listening], [], [], 0)[0]), "a connection")
        connection, _ = listening.accept()
        with connection:
            connection.setblocking(False)
            await until(lambda: unread(connection) > 20_000, "bytes in the kernel")
            assert not writing.called
    with pytest.raises(NotConfirmed):
        await writing
    await made.close()


def unread(connection: socket.socket) -> int:
    try:
        return len(connection.recv(1 << 20, socket.MSG_PEEK))
    except BlockingIOError:
        return 0


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_says_farewell_without_having_read(trail: Trail) -> None:
    trail.keep(100)
    receiver = Receiver()
    receiver.mode = "deaf"
    receiver.start()
    carrying = to(receiver, trail)
    carrying.start()
    await until(lambda: len(receiver.connections) == 2, "the connection in use and the one that waits")
    handle = receiver.connections[0].transport.getHandle()
    await until(lambda: unread(handle) > 9000, "bytes in the kernel")
    await receiver.die()
    receiver.mode = "read"
    receiver.start()
    trail.keep(1)
    await arrived(carrying, receiver, trail)


@pytest_twisted.ensureDeferred
async def test_what_a_receiver_had_read_when_it_died_is_sent_again(trail: Trail) -> None:
    trail.keep(100)
    receiver = Receiver()
    receiver.start()
    carrying = to(receiver, trail)
    carrying.start()
    await carrying.arrive()
    await until(lambda: len(receiver.connections) == 1, "the connection that waits")
    assert receiver.read
    await receiver.die()
    receiver.start()
    trail.keep(1)
    assert await arrived(carrying, receiver, trail) == 0


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_closes_before_it_has_read_has_confirmed_nothing(trail: Trail) -> None:
    trail.keep(100)
    receiver = Receiver()
    receiver.mode = "early"
    receiver.start()
    carrying = to(receiver, trail)
    carrying.start()
    await until(lambda: len(carrying.troubles) >= 3, "refusals")
    assert carrying.taken == 0
    receiver.mode = "read"
    await arrived(carrying, receiver, trail)
