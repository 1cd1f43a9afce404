"""A request that takes a shortcut gets what the chain would have given it, and leaves the same record.

All tests but those of the table run the whole proxy in virtual time.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.shortcuts import Hit, Key, Shortcuts
from hospproxy.http.errors import RecordFailed
from hospproxy.http.messages import Response
from hospproxy.http.repeat import HitAgain, Shortcut, Told
from hospproxy.watch.metrics import Metrics
from simulation.history import History
from simulation.hosp.behaviour import HospPlan
from simulation.hosp.server import Hosp
from simulation.kernel import Simulation

from ..simulation.worlds import HOSP, OPTIONS, PROXY, WorldTestCase

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
TARGETS = ("/patients/7", "/patients/8", "/notes?patient_id=7", "/hospitals", "/staffs/me", "/notes")
FIELDS = (
    "",
    "Accept: application/json",
    "Cache-Control: max-age=20",
    "Cache-Control: no-cache",
    "If-None-Match: *",
    "Connection: close",
)


class Talk(Protocol):
    """A connection that stays open; ``answer`` is the last whole answer."""

    def connectionMade(self) -> None:
        self.buffer = self.answer = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        size = _LENGTH.search(head + b"\r\n")
        length = 0 if size is None else int(size[1])
        if found and len(body) >= length:
            self.answer = head + b"\r\n\r\n" + body[:length]
            self.buffer = body[length:]

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


class Talks(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Talk] = []

    def buildProtocol(self, _address: Any) -> Talk:
        self.made.append(Talk())
        return self.made[-1]


class Rig:
    """The proxy, HOSP with two users, and a client.

    :param more: further lines of the options; ``first`` stands before all sections.
    """

    def __init__(self, folder: Path, more: str = "", seed: int = 1, first: str = "") -> None:
        self.world = Simulation(seed, folder)
        self.client = self.world.host("client", "10.0.1.1")
        self.hosp = Hosp(
            self.world.host("hosp", HOSP[0]).reactor, History(), HospPlan(mean_s=0.3), address=HOSP[0]
        )
        self.hosp.import_record("hospitals", 1, {"name": "Root"})
        for number, name in enumerate(("ann", "ben"), 1):
            self.hosp.import_record(
                "staffs", number, {"name": name, "hospital_id": 1, "password": f"{name}-first"}
            )
        for number in (7, 8):
            fields = {"name": f"Juno{number}", "hospital_id": 1, "birthdate": "2020-01-01"}
            self.hosp.import_record("patients", number, fields)
        self.hosp.begin()
        self.machine = self.world.machine("one", PROXY[0])
        self.process = self.machine.start(first + OPTIONS + more)
        self.pass_time(5.0)
        self.connection = self.connect()

    def pass_time(self, seconds: float) -> None:
        self.world.run_until(self.world.seconds() + seconds)

    def connect(self) -> Talk:
        talks = Talks()
        self.client.reactor.callLater(0.0, self.client.reactor.connectTCP, *PROXY, talks)
        self.pass_time(0.5)
        return talks.made[0]

    def send(
        self, line: str, who: str = "ann", *fields: str, body: object = None, password: str = "first"
    ) -> bytes:
        """Send a request; return the whole answer."""
        credentials = base64.b64encode(f"{who}:{who}-{password}".encode()).decode()
        lines = [
            f"{line} HTTP/1.1",
            "Host: proxy",
            f"Authorization: Basic {credentials}",
            *filter(None, fields),
        ]
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        if self.connection.lost:
            self.connection = self.connect()
        self.connection.answer = b""
        self.connection.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        until = self.world.seconds() + 60.0
        while not self.connection.answer and not self.connection.lost and self.world.seconds() < until:
            self.pass_time(0.25)
        return self.connection.answer

    def get(
        self, target: str = "/patients/7", who: str = "ann", *fields: str, password: str = "first"
    ) -> str:
        """Read; return the status and what Cache-Status says."""
        answer = self.send(f"GET {target}", who, *fields, password=password)
        said = re.search(rb"\r\ncache-status: hospproxy; ([^\r]*)", answer, re.IGNORECASE)
        return f"{answer[9:12].decode()} {said[1].decode().split(';')[0] if said else ''}".strip()

    def counted(self, event: str = "shortcut") -> int:
        """How often this happened in the cache."""
        value = self.process.service.parts.metrics.value("cache_events_total", event=event)
        return int(value or 0)

    def warm(self, *fields: str) -> None:
        """Read until a shortcut is known: a miss, then a hit."""
        self.get("/patients/7", "ann", *fields)
        self.get("/patients/7", "ann", *fields)

    def records(self) -> list[dict[str, Any]]:
        """The records of the audit trail."""
        found = []
        for path in sorted((Path(self.machine.state_dir) / "audit").glob("*.jsonl*")):
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found += [json.loads(line) for line in raw.split(b"\n") if line.strip(b" \0")]
        return [one for one in found if one.get("kind") in ("request", "disclosure", "own")]


class ShortcutTestCase(WorldTestCase):
    def rig(self, more: str = "", seed: int = 1, first: str = "") -> Rig:
        self._worlds += 1
        made = Rig(self.folder / str(self._worlds), more, seed, first)
        self._open.append(made.world)
        return made

    def finished(self, rig: Rig) -> tuple[list[dict[str, Any]], int]:
        """End a world after its last request; return its records, and how many requests took a shortcut."""
        rig.pass_time(1.0)
        records, used = rig.records(), rig.counted()
        self.assertEqual(rig.world.errors, [])
        self.end()
        return records, used


class SameTests(ShortcutTestCase):
    """Whatever is asked, shortcuts change nothing that a client or an auditor can see."""

    def script(self, seed: int) -> list[tuple[Any, ...]]:
        chance = random.Random(seed)
        steps: list[tuple[Any, ...]] = []
        password = "first"
        for number in range(120):
            roll = chance.random()
            if roll < 0.80:
                fields = chance.choice(FIELDS) if chance.random() < 0.3 else ""
                given = f"X-Request-Id: r{number}" if chance.random() < 0.2 else ""
                who = chance.choice(("ann", "ann", "ben"))
                target = chance.choice(TARGETS[:2] if chance.random() < 0.7 else TARGETS)
                steps.append(("GET", target, who, password if who == "ben" else "first", fields, given))
            elif roll < 0.88:
                steps.append(("wait", chance.choice((1.0, 8.0, 30.0, 61.0))))
            elif roll < 0.93:
                steps.append(("POST", "/notes", {"title": f"t{number}", "body": "b", "patient_id": 7}))
            elif roll < 0.97:
                steps.append(("PATCH", "/patients/7", {"name": f"n{number}"}))
            elif roll < 0.985:
                steps.append(("wrong", "/patients/7"))
            else:
                password = f"p{number}"
                steps.append(("PATCH", "/staffs/2", {"password": f"ben-{password}"}))
        return steps

    def run_script(self, seed: int, shortcuts: int) -> tuple[list[bytes], list[dict[str, Any]], int]:
        rig = self.rig(f"[cache]\nshortcuts = {shortcuts}\n", seed)
        answers = []
        for kind, what, *more in self.script(seed):
            if kind == "wait":
                rig.pass_time(what)
            elif kind == "GET":
                who, password, *fields = more
                answers.append(rig.send(f"GET {what}", who, *fields, password=password))
            elif kind == "wrong":
                answers.append(rig.send(f"GET {what}", "ann", password="wrong"))
            else:
                answers.append(rig.send(f"{kind} {what}", "ann", body=more[0]))
        rig.pass_time(1.0)
        used = rig.counted()
        self.assertEqual(rig.world.errors, [])
        records = rig.records()
        self.end()
        return answers, records, used

    def test_answers_and_records_are_the_same(self) -> None:
        used = 0
        for seed in (1, 2, 3):
            with_them, without = self.run_script(seed, 4096), self.run_script(seed, 0)
            self.assertEqual(without[2], 0)
            used += with_them[2]
            for number, (one, other) in enumerate(zip(with_them[0], without[0], strict=True)):
                self.assertEqual(one, other, f"seed {seed}, answer {number}")
            self.assertEqual(len(with_them[1]), len(without[1]), f"seed {seed}")
            for one, other in zip(with_them[1], without[1], strict=True):
                self.assertEqual(one, other, f"seed {seed}")
        self.assertGreater(used, 60)


class EndTests(ShortcutTestCase):
    """What a shortcut depends on ends it when it changes."""

    def setUp(self) -> None:
        super().setUp()
        self.ward = self.rig()
        self.ward.warm()
        self.assertEqual(self.ward.counted(), 0)
        self.assertEqual(self.ward.get(), "200 hit")
        self.assertEqual(self.ward.counted(), 1)

    def test_a_write_to_the_record(self) -> None:
        self.ward.send("PATCH /patients/7", "ben", body={"name": "other"})
        answer = self.ward.send("GET /patients/7")
        self.assertIn(b'"other"', answer)
        self.assertEqual(self.ward.counted(), 1)

    def test_the_end_of_its_freshness(self) -> None:
        self.ward.pass_time(61.0)
        self.assertIn(b"detail=stale-while-revalidate", self.ward.send("GET /patients/7"))
        self.assertEqual(self.ward.counted(), 1)

    def test_a_new_password(self) -> None:
        self.ward.send("PATCH /staffs/1", "ben", body={"password": "ann-second"})
        self.assertEqual(self.ward.get()[:3], "401")
        self.assertEqual(self.ward.counted(), 1)

    def test_another_client_has_no_part_in_it(self) -> None:
        self.assertEqual(self.ward.get(who="ben"), "200 fwd=uri-miss")
        self.assertEqual(self.ward.counted(), 1)

    def test_the_rate_counts_each_request(self) -> None:
        self.end()
        self.ward = self.rig("[admission]\nrate = 0.01\nburst = 4\n")
        found = [self.ward.get() for _ in range(7)]
        self.assertEqual(found[1:], ["200 hit"] * 4 + ["429"] * 2)
        self.assertEqual(self.ward.counted(), 3)

    def test_other_fields_are_another_request(self) -> None:
        self.assertNotEqual(self.ward.get("/patients/7", "ann", "Cache-Control: no-cache"), "200 hit")
        self.assertEqual(self.ward.counted(), 1)

    def test_a_request_to_close_the_connection(self) -> None:
        for _ in range(3):
            self.assertEqual(self.ward.get("/patients/7", "ann", "Connection: close"), "200 hit")
            self.ward.pass_time(1.0)
            self.assertTrue(self.ward.connection.lost)
        self.assertEqual(self.ward.counted(), 3)

    def test_nothing_after_a_request_to_close_is_answered(self) -> None:
        self.ward.get("/patients/7", "ann", "Connection: close")
        connection = self.ward.connection = self.ward.connect()
        fields = b" HTTP/1.1\r\nHost: proxy\r\nAuthorization: Basic YW5uOmFubi1maXJzdA==\r\n"
        connection.transport.write(b"GET /patients/7" + fields + b"Connection: close\r\n\r\n")
        self.ward.pass_time(0.01)
        connection.transport.write(b"GET /patients/7" + fields + b"\r\n")
        self.ward.pass_time(2.0)
        self.assertTrue(connection.lost)
        self.assertEqual((connection.buffer, self.ward.counted()), (b"", 2))

    def test_a_request_that_follows_at_once_takes_the_chain(self) -> None:
        """Pipelined requests are answered one after the other, in the chain."""
        request = (
            b"GET /patients/7 HTTP/1.1\r\nHost: proxy\r\nAuthorization: Basic YW5uOmFubi1maXJzdA==\r\n\r\n"
        )
        self.ward.connection.answer = b""
        self.ward.connection.transport.write(request * 2)
        self.ward.pass_time(2.0)
        self.assertEqual(self.ward.counted(), 1)
        self.assertEqual(self.ward.counted("hit"), 4)

    def test_a_response_is_never_learnt_for_another_head(self) -> None:
        """A miss, and while it is in progress a hit: the hit must not become the first one's answer."""
        fields = b" HTTP/1.1\r\nHost: proxy\r\nAuthorization: Basic YW5uOmFubi1maXJzdA==\r\n\r\n"
        self.ward.connection.transport.write(b"GET /patients/8" + fields)
        self.ward.pass_time(0.1)
        self.ward.connection.transport.write(b"GET /patients/7" + fields)
        self.ward.pass_time(5.0)
        for _ in range(3):
            self.assertIn(b'"Juno8"', self.ward.send("GET /patients/8"))
            self.assertIn(b'"Juno7"', self.ward.send("GET /patients/7"))

    def test_every_hit_is_counted_as_one(self) -> None:
        self.assertEqual(self.ward.counted("hit"), 2)
        metrics = self.ward.process.service.parts.metrics
        labels = {"method": "GET", "route": "/patients/{id}", "status_class": "2xx", "cache": "hit"}
        self.assertEqual(metrics.value("requests_total", **labels), 2.0)


class GatewayTests(ShortcutTestCase):
    """Fields that a gateway makes anew for each request do not make each head another one."""

    def use(self, first: str, *ids: str) -> list[str]:
        ward = self.rig(first=first)
        ward.warm("X-Request-Id: first", "traceparent: 00-1")
        for one in ids:
            ward.get("/patients/7", "ann", f"X-Request-Id: {one}", f"traceparent: 00-{one}")
        self.assertEqual(ward.counted(), len(ids))
        return [record["request_id"] for record in ward.records() if record["kind"] == "request"][-len(ids) :]

    def test_a_trusted_gateways_id_is_recorded(self) -> None:
        self.assertEqual(
            self.use('trusted_proxies = ["10.0.1.1/32"]\n', "second", "third"), ["second", "third"]
        )

    def test_an_id_that_is_no_id_takes_the_chain(self) -> None:
        ward = self.rig()
        ward.warm("X-Request-Id: two words")
        self.assertEqual(ward.get("/patients/7", "ann", "X-Request-Id: two words"), "200 hit")
        self.assertEqual(ward.counted(), 0)

    def test_anybody_elses_is_not(self) -> None:
        ids = self.use("", "second", "third")
        self.assertEqual([len(one) for one in ids], [32, 32])
        self.assertEqual(len(set(ids)), 2)


HEAD = b"GET /patients/7 HTTP/1.1\r\nHost: proxy\r\n\r\n"
SENT = b"HTTP/1.1 200 OK\r\nAge: 3\r\nCache-Status: hospproxy; hit; ttl=57\r\nX-Request-Id: abc\r\n\r\n"


class TableTests(SynchronousTestCase):
    """The table by itself, with a shortcut made by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = Metrics("test", strict=True)
        self.kept: list[Told] = []
        self.sent: list[bytes] = []
        self.failed: list[Failure] = []
        self.statuses: list[int | None] = []
        self.ids = iter("defghijk")
        self.table = Shortcuts(2, self.clock, lambda: 0.0, lambda: next(self.ids), self.meter, b"secret")

    def keep(self, _wall: float, _request_id: str, told: Told) -> None:
        self.kept.append(told)

    def begin(self, *, close: bool = False) -> Hit:
        hit = self.table.answer(self.learn(), trusted=False)
        assert hit is not None
        hit.begin(lambda one: self.sent.append(one.content(close=close)), self.failed.append)
        return hit

    def learn(self, head: bytes = HEAD, sent: bytes = SENT, holds: Any = lambda _now: True) -> Key:
        hit = HitAgain(content=lambda now: (3 + int(now), 57 - int(now), b"{}"))
        shortcut = Shortcut(
            (holds,), (), hit, self.keep, lambda status, _seconds: self.statuses.append(status)
        )
        key = self.table.key(head, b"")
        assert key is not None
        self.table.learn(key, Response(200, shortcut=lambda: shortcut), [sent])
        return key

    def test_while_it_is_paused_no_listener_is_answered(self) -> None:
        other = self.table.another()
        key = self.learn()
        self.table.pause()
        self.assertIsNone(self.table.answer(key, trusted=False))
        for table in (self.table, other, self.table.another()):
            table.pause()
            self.assertIsNone(table.key(HEAD, b""))
        self.table.resume()
        self.assertIsNotNone(other.key(HEAD, b""))
        self.begin()

    def test_what_differs_is_filled_in(self) -> None:
        self.begin()
        self.assertEqual(self.sent, [])
        self.kept[0](None)
        self.assertEqual(self.sent, [SENT.replace(b"abc", b"d") + b"{}"])
        self.assertEqual(self.statuses, [200])

    def test_a_close_is_announced(self) -> None:
        self.begin(close=True)
        self.kept[0](None)
        self.assertTrue(self.sent[0].endswith(b"\r\nconnection: close\r\n\r\n{}"))

    def test_without_a_record_there_is_no_answer(self) -> None:
        self.begin()
        self.kept[0](RecordFailed("no"))
        self.assertEqual((self.sent, self.statuses), ([], [500]))
        self.failed[0].trap(RecordFailed)

    def test_a_client_that_left_is_counted_as_such(self) -> None:
        self.begin().cancel()
        self.kept[0](None)
        self.assertEqual((self.sent, self.failed, self.statuses), ([], [], [None]))

    def test_an_answer_that_cannot_be_sent_fails(self) -> None:
        hit = self.table.answer(self.learn(), trusted=False)
        assert hit is not None

        def send(_hit: Hit) -> None:
            raise ZeroDivisionError

        hit.begin(send, self.failed.append)
        self.kept[0](None)
        self.failed[0].trap(ZeroDivisionError)

    def test_what_no_longer_holds_is_forgotten(self) -> None:
        key = self.learn(holds=lambda _now: False)
        self.assertIsNone(self.table.answer(key, trusted=False))
        self.assertEqual(len(self.table), 0)

    def test_a_bug_sends_the_request_to_the_chain(self) -> None:
        def broken(_now: float) -> bool:
            raise ZeroDivisionError

        key = self.learn(holds=broken)
        self.assertIsNone(self.table.answer(key, trusted=False))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.meter.value("unhandled_errors_total"), 1.0)

    def test_the_number_is_bounded_and_the_one_used_longest_ago_goes(self) -> None:
        keys = [self.learn(HEAD.replace(b"7", b"%d" % number)) for number in range(3)]
        self.assertEqual(len(self.table), 2)
        self.assertIsNone(self.table.answer(keys[0], trusted=False))

    def test_an_answer_after_which_the_connection_closes(self) -> None:
        key = self.learn(sent=SENT.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        hit = self.table.answer(key, trusted=False)
        assert hit is not None
        self.assertTrue(hit.closes)
        again = hit.content(close=True).removesuffix(b"{}")
        self.assertEqual(again.replace(b"connection: close\r\n", b""), SENT.replace(b"abc", b"d"))

    def test_fields_of_one_answer_prevent_it(self) -> None:
        for field in (b"date: now", b"connection: keep-alive"):
            self.learn(sent=SENT.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n"))
            self.assertEqual(len(self.table), 0, field)

    def test_the_way_and_every_byte_of_the_head_count(self) -> None:
        heads = (HEAD, HEAD.replace(b"proxy", b"proxY"), HEAD.replace(b"Host", b"host"))
        keys = {self.table.key(head, way).digest for head in heads for way in (b"", b"10.0.0.1")}  # type: ignore[union-attr]
        self.assertEqual(len(keys), 6)

    def test_other_methods_have_none(self) -> None:
        for method in (b"HEAD", b"POST", b"GETS"):
            self.assertIsNone(self.table.key(HEAD.replace(b"GET", method), b""))
