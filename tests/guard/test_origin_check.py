"""Whether a request came through the gateway, and by HTTPS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.build_guard import entrance_for
from hospproxy.guard.origin_check import OriginCheck
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.keys import origin_secrets as origin
from hospproxy.keys.origin_secrets import (
    OriginSecrets,
    SecretError,
    read_secrets,
    secret_of_file,
    secret_of_variable,
)
from hospproxy.options.front_section import FrontSettings, OriginSettings
from hospproxy.options.sections import Settings, UpstreamSettings
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.service.chain import Chain
from hospproxy.watch.metrics import Metrics
from tests.rig import Rig
from tests.stages import by_stage

OLD, NEW = b"the-old-secret-of-it", b"the new secret of it"
FIELD = b"x-origin-verify"


@implementer(IProcessor)
class Inside:
    """Keeps the requests that get this far."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def process(self, exchange: Exchange, _proceed: Proceed) -> Response:
        self.seen.append(exchange.request)
        return Response(200)


class Journal:
    """Keeps records in memory."""

    full = False

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    async def append(self, record: dict[str, Any], *_more: Any) -> None:
        self.records.append(record)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.valid: tuple[bytes, ...] = (OLD, NEW)
        self.meter = Metrics(strict=True)
        self.inside = Inside()
        self.journal = Journal()

    def build(self, *, secrets: bool = True, https: str = "off", hosts: tuple[str, ...] = ()) -> Chain:
        rig = Rig()
        read = lambda: OriginSecrets.of(self.valid, b"k" * 32)  # noqa: E731
        self.entrance = OriginCheck(FIELD, read if secrets else None, https, hosts, self.meter)
        audit = Audit(self.journal, Describer(b"d" * 32), rig.clock)  # type: ignore[arg-type]
        return Chain(
            by_stage(
                {"record.audit": audit, "guard.entrance": self.entrance, "guard.validation": self.inside}
            ),
            answers=rig.answers,
            clock=rig.clock,
            wall=lambda: 0.0,
            deadline_s=28,
            limit=lambda _method, _path: 7,
            meter=rig.meter,
        )

    def ask(
        self, chain: Chain, *given: bytes, method: str = "GET", scheme: str = "https", host: str = "h"
    ) -> Response:
        fields = Headers((*((FIELD, value) for value in given), (b"accept", b"application/json")))
        client = Client("192.0.2.1", "192.0.2.1", (), scheme, host, "r")
        request = Request(method, b"/notes/%31", b"a=b", (1, 1), fields, None, client)
        return self.successResultOf(chain.handle(request))

    def hits(self) -> list[list[str]]:
        return [record["rule_hits"] for record in self.journal.records]


class OriginTests(Case):
    def test_either_secret_lets_in_and_goes_no_further(self) -> None:
        chain = self.build()
        verifyObject(IProcessor, self.entrance)
        for secret in (OLD, NEW):
            self.assertEqual(self.ask(chain, secret).status, 200)
        self.assertEqual([request.headers.all(FIELD) for request in self.inside.seen], [[], []])
        self.assertEqual(
            [request.headers.get(b"accept") for request in self.inside.seen], [b"application/json"] * 2
        )

    def test_missing_and_wrong(self) -> None:
        chain = self.build()
        for given, rule in (
            ((), "origin:missing"),
            ((b"",), "origin:wrong"),
            ((OLD[:-1],), "origin:wrong"),
            ((OLD + b"!",), "origin:wrong"),
            ((OLD.upper(),), "origin:wrong"),
            ((OLD, OLD), "origin:wrong"),
            ((OLD + b"," + NEW,), "origin:wrong"),
        ):
            answer = self.ask(chain, *given)
            self.assertEqual((answer.status, self.journal.records[-1]["rule_hits"]), (403, [rule]), given)
        self.assertEqual(self.inside.seen, [])
        self.assertEqual(self.meter.value("entrance_refused_total", rule="origin:wrong"), 6)
        told = json.dumps([self.journal.records, self.ask(chain, OLD[:-1]).body.decode()])
        self.assertNotIn(OLD[:-1].decode(), told)
        self.assertEqual({record["outcome"] for record in self.journal.records}, {"refused"})

    def test_it_is_exchanged_while_running(self) -> None:
        chain = self.build()
        self.valid = (NEW,)
        self.assertEqual(self.ask(chain, OLD).status, 200)
        self.entrance.reload()
        self.assertEqual((self.ask(chain, OLD).status, self.ask(chain, NEW).status), (403, 200))

    def test_secrets_that_cannot_be_read_change_nothing(self) -> None:
        def fails() -> OriginSecrets:
            raise SecretError

        chain = self.build()
        self.patch(self.entrance, "_read", fails)
        self.assertRaises(SecretError, self.entrance.reload)
        self.assertEqual(self.ask(chain, OLD).status, 200)

    def test_none_is_asked_for(self) -> None:
        chain = self.build(secrets=False)
        self.entrance.reload()
        self.assertEqual(self.ask(chain).status, 200)

    def test_every_secret_is_compared(self) -> None:
        """The time must not reveal which secret matched, or how much of it."""
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return one == other

        secrets = OriginSecrets.of((OLD, NEW), b"k" * 32)
        self.patch(origin.hmac, "compare_digest", compare)
        for given in (OLD, NEW, b"", b"x" * 5000):
            del compared[:]
            self.assertEqual(secrets.know(given), given in (OLD, NEW))
            self.assertEqual(len(compared), 2)
            self.assertEqual({len(each) for pair in compared for each in pair}, {32})
        self.assertNotIn("secret-of", repr(secrets))


class HttpsTests(Case):
    def location(self, answer: Response) -> bytes | None:
        return answer.headers.get(b"location")

    def test_https_passes(self) -> None:
        for https in ("off", "reject", "redirect"):
            self.assertEqual(self.ask(self.build(secrets=False, https=https)).status, 200)
        self.assertEqual(self.ask(self.build(secrets=False), scheme="http").status, 200)

    def test_reject(self) -> None:
        answer = self.ask(self.build(secrets=False, https="reject"), scheme="http")
        self.assertEqual(
            (answer.status, self.location(answer), self.hits()), (403, None, [["https:required"]])
        )

    def test_redirect(self) -> None:
        chain = self.build(secrets=False, https="redirect")
        for method, status in (("GET", 308), ("HEAD", 308), ("POST", 403), ("DELETE", 403), ("OPTIONS", 403)):
            answer = self.ask(chain, method=method, scheme="http", host="h.example:80")
            self.assertEqual(answer.status, status, method)
            expected = b"https://h.example/notes/%31?a=b" if status == 308 else None
            self.assertEqual(self.location(answer), expected)
        self.assertEqual(self.ask(chain, scheme="http", host="").status, 403)
        self.assertEqual(self.inside.seen, [])

    def test_redirect_to_the_public_address(self) -> None:
        for hosts, expected in (
            (("h.example:8443",), b"h.example:8443"),
            (("h.example",), b"h.example"),
            (("h.example", "h.example:8443"), b"h.example:8443"),
            (("h.example:1", "h.example:2"), b"h.example"),
            (("other.example:8443",), b"h.example"),
        ):
            answer = self.ask(
                self.build(secrets=False, https="redirect", hosts=hosts), scheme="http", host="h.example"
            )
            self.assertEqual(self.location(answer), b"https://" + expected + b"/notes/%31?a=b")
        answer = self.ask(self.build(secrets=False, https="redirect"), scheme="http", host="[2001:db8::1]:80")
        self.assertEqual(self.location(answer), b"https://[2001:db8::1]/notes/%31?a=b")

    def test_the_secret_goes_first(self) -> None:
        """A client without the secret learns nothing about the other requirements."""
        chain = self.build(https="redirect")
        self.assertEqual(self.ask(chain, scheme="http").status, 403)
        self.assertEqual(self.ask(chain, NEW, scheme="http").status, 308)
        self.assertEqual(self.hits(), [["origin:missing"], ["https:required"]])


class SecretsTests(SynchronousTestCase):
    def file(self, content: bytes, mode: int = 0o600) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def test_files_and_variables(self) -> None:
        self.assertEqual(read_secrets([self.file(OLD + b"\n")], ["A"], {"A": NEW.decode()}), (OLD, NEW))
        self.assertEqual(read_secrets([], [], {}), ())

    def test_useless_ones(self) -> None:
        for content in (b"short", b" " + OLD, OLD + b" ", OLD + b"\nmore", OLD + b"\xff", b"x" * 4097):
            self.assertRaises(SecretError, secret_of_file, self.file(content))
            text = content.decode("utf-8", "surrogateescape")
            error = self.assertRaises(SecretError, secret_of_variable, "A", {"A": text})
            self.assertNotIn(text, str(error))
        self.assertRaises(SecretError, secret_of_file, self.file(OLD, 0o644))
        self.assertRaises(SecretError, secret_of_file, Path(self.mktemp()))
        self.assertRaises(SecretError, secret_of_variable, "A", {})

    def test_from_the_settings(self) -> None:
        settings = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:3000"))
        meter = Metrics(strict=True)
        self.assertIsNone(entrance_for(settings, meter))
        self.assertIsNotNone(
            entrance_for(evolve(settings, front=FrontSettings(require_https="reject")), meter)
        )
        good = OriginSettings(secret_files=(self.file(OLD),))
        built = entrance_for(evolve(settings, origin=good), meter)
        assert built is not None and built._secrets is not None
        self.assertTrue(built._secrets.know(OLD))
        lost = OriginSettings(secret_files=(Path("nowhere"),))
        self.assertRaises(SecretError, entrance_for, evolve(settings, origin=lost), meter)
