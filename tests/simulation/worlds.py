"""Small worlds for tests of the simulation: a small HOSP, and a client that sends one request."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.trial.unittest import TestCase

from simulation.kernel import Host, Machine, Simulation

HOSP = ("10.0.0.9", 3000)
PROXY = ("10.0.0.1", 8080)
OPTIONS = """
[upstream]
url = "http://10.0.0.9:3000"
[[listeners]]
url = "http://10.0.0.1:8080"
plain = "serve"
[admin]
enabled = false
"""
STAFF1 = "Basic c3RhZmYxOnBhc3N3b3JkMQ=="


def record(kind: str, number: int, **fields: object) -> dict[str, object]:
    """A record of HOSP."""
    at = "2021-03-27T17:33:14.049Z"
    url = f"http://{HOSP[0]}:{HOSP[1]}/{kind}/{number}.json"
    return {"id": number, **fields, "created_at": at, "updated_at": at, "url": url}


ME = record("staffs", 1, name="staff1", hospital_id=1)
HOSPITAL = record("hospitals", 1, name="Root")
PATIENT = record("patients", 7, name="Juno", hospital_id=1, birthdate=None)


class SmallHosp(Protocol):
    """Knows one hospital and one member of staff, and takes notes."""

    factory: Any

    def connectionMade(self) -> None:
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if found and len(body) >= length:
            self._buffer = b""
            self.factory.asked(self, head.split(b"\r\n")[0].decode(), body)


class Hosp(Factory):
    """:ivar requests: the first lines of all requests."""

    protocol = SmallHosp
    noisy = False

    def __init__(self, host: Host, takes_s: float = 1.0) -> None:
        self.reactor = host.reactor
        self.requests: list[str] = []
        self.takes_s = takes_s
        self._notes = 0
        host.reactor.listenTCP(HOSP[1], self)

    def asked(self, connection: SmallHosp, line: str, body: bytes) -> None:
        self.requests.append(line)
        document: Any = [HOSPITAL]
        status = "200 OK"
        if "/staffs/me" in line:
            document = ME
        elif line.startswith("POST /notes"):
            self._notes += 1
            status, document = "201 Created", record("notes", self._notes, **json.loads(body))
        elif line.startswith("GET /patients/"):
            document = PATIENT
        elif "/notes" in line:
            document = []
        content = json.dumps(document)
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}"
        )
        self.reactor.callLater(self.takes_s, connection.transport.write, answer.encode())


class Asking(Protocol):
    """Sends one request, and keeps all that comes back."""

    factory: Any

    def connectionMade(self) -> None:
        self.transport.write(self.factory.request)

    def dataReceived(self, data: bytes) -> None:
        self.factory.answer += data

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.ended = type(reason.value).__name__


class Question(ClientFactory):
    """A request sent at a given moment.

    :ivar answer: the bytes that came.
    :ivar ended: how the connection ended: the name of an exception.
    """

    protocol = Asking
    noisy = False

    def __init__(self, line: str, body: str = "", close: bool = True, key: str = "") -> None:
        fields = [line, "Host: proxy", f"Authorization: {STAFF1}"]
        if key:
            fields.append(f"Idempotency-Key: {key}")
        if close:
            fields.append("Connection: close")
        if body:
            fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.request = ("\r\n".join(fields) + "\r\n\r\n" + body).encode()
        self.answer = b""
        self.ended = ""

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.ended = type(reason.value).__name__

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ")[1]) if self.answer else 0


def note(title: str, key: str = "") -> Question:
    """A request that writes a note."""
    body = json.dumps({"title": title, "body": "b", "patient_id": 7, "staff_id": 1})
    return Question("POST /notes HTTP/1.1", body, key=key)


class Small:
    """HOSP, a client and a machine.

    :ivar world: the simulation.
    """

    def __init__(self, seed: int, folder: Path, takes_s: float = 1.0) -> None:
        self.world = Simulation(seed, folder)
        self.client = self.world.host("client", "10.0.1.1")
        self.hosp = Hosp(self.world.host("hosp", HOSP[0]), takes_s)
        self.machine: Machine = self.world.machine("one", PROXY[0])

    def ask(self, at: float, question: Question, to: tuple[str, int] = PROXY) -> Question:
        """Send a request at a given moment."""
        self.client.reactor.callLater(
            at - self.world.seconds(), self.client.reactor.connectTCP, *to, question
        )
        return question


def folder() -> Path:
    """Make a new folder, on a tmpfs if there is one."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="hospital-", dir=shm if shm.is_dir() else None))


class WorldTestCase(TestCase):
    """A test with worlds of its own."""

    def setUp(self) -> None:
        self.folder = folder()
        self.addCleanup(shutil.rmtree, self.folder)
        self._open: list[Simulation] = []
        self._worlds = 0

    def small(self, seed: int = 1, **more: Any) -> Small:
        """Make a new small world; the one before is closed."""
        self.end()
        self._worlds += 1
        made = Small(seed, self.folder / str(self._worlds), **more)
        self._open.append(made.world)
        return made

    def bare(self, seed: int = 1) -> Simulation:
        """A world with nothing in it."""
        self.end()
        self._worlds += 1
        made = Simulation(seed, self.folder / str(self._worlds))
        self._open.append(made)
        return made

    def end(self) -> None:
        """Close the world."""
        while self._open:
            self._open.pop().close()

    def tearDown(self) -> None:
        self.end()
