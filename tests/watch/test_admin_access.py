"""Who may read the admin listener where `admin.access` is "login"."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
from twisted.internet.defer import Deferred

from hospproxy.config import AdminSettings, AuditPageSettings, Settings, UpstreamSettings
from hospproxy.http.errors import RecordFailed
from hospproxy.http.messages import Client, ClientCertificate, Headers, Request, Response
from hospproxy.keys.origin_secrets import SecretError
from hospproxy.watch.admin import Admin
from hospproxy.watch.audit_page.page import AuditPage
from hospproxy.watch.build_admin import access_for
from hospproxy.watch.health import Health
from hospproxy.watch.merge import Overview, Snapshot
from hospproxy.watch.metrics import Metrics

from .audit_page.page_rig import NAME, PASSWORD, PageCase

TOKEN = "a token of the metrics collector"
UPSTREAM = UpstreamSettings(url="http://127.0.0.1:3000")


def basic(password: str = PASSWORD, name: str = NAME) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


class Access(PageCase):
    """A listener that is reached from another address."""

    def setUp(self) -> None:
        super().setUp()
        self.token = Path(self.mktemp())
        self.write(TOKEN)
        self.health = Health()
        self.admin = self.over_page(self.page)

    def write(self, token: str) -> None:
        self.token.write_text(token + "\n")
        self.token.chmod(0o600)

    def over_page(self, page: AuditPage | None, **more: Any) -> Admin:
        options = AdminSettings(url="https://0.0.0.0:9443", access="login", scrape_token_files=(self.token,))
        settings = Settings(
            upstream=UPSTREAM, admin=options, audit_page=AuditPageSettings(enabled=page is not None)
        )
        self.access = access_for(settings, None if page is None else Mock(page=page))
        return Admin(self.health, Metrics("9.9", strict=True), page, access=self.access, **more)

    def send(
        self,
        path: bytes,
        *authorization: bytes,
        method: str = "GET",
        host: str = "10.0.0.9:9443",
        certificate: ClientCertificate | None = None,
    ) -> Deferred[Response]:
        headers = Headers(tuple((b"authorization", each) for each in authorization))
        client = Client(peer="10.0.0.5", address="10.0.0.5", host=host, certificate=certificate)
        return self.admin.handle(Request(method, path, headers=headers, client=client))

    def status(self, path: bytes, *authorization: bytes, **more: Any) -> int:
        return self.successResultOf(self.send(path, *authorization, **more)).status

    def test_health_checks_say_yes_or_no_to_anybody(self) -> None:
        for path, name in ((b"/live", "live"), (b"/ready", "ready")):
            answer = self.successResultOf(self.send(path))
            self.assertEqual((answer.status, msgspec.json.decode(answer.body)), (200, {name: True}))
        self.health.checks["journal"] = lambda: "full"
        answer = self.successResultOf(self.send(b"/ready"))
        self.assertEqual((answer.status, msgspec.json.decode(answer.body)), (503, {"ready": False}))
        self.assertEqual(self.status(b"/ready", method="POST"), 405)
        self.assertEqual(self.journal.records, [])

    def test_health_checks_of_all_workers_say_no_more(self) -> None:
        async def gather(own: Snapshot) -> Overview:
            return Overview({0: own, 1: Snapshot([], {"journal": "full"})}, {2: "it is being started"})

        self.admin = self.over_page(self.page, gather=gather)
        answer = self.successResultOf(self.send(b"/ready"))
        self.assertEqual((answer.status, msgspec.json.decode(answer.body)), (503, {"ready": False}))
        self.assertEqual(self.status(b"/metrics"), 401)
        self.assertEqual(self.status(b"/metrics", basic()), 200)

    def test_everything_else_needs_a_log_in(self) -> None:
        for path in (b"/", b"/metrics", b"/status", b"/status.json", b"/status.js", b"/audit", b"/none"):
            answer = self.successResultOf(self.send(path))
            self.assertEqual(answer.status, 401, path)
            self.assertIn(b"Basic ", answer.headers.get(b"www-authenticate") or b"", path)
        self.assertEqual(self.journal.records, [])
        for path, status in ((b"/", 200), (b"/metrics", 200), (b"/none", 404), (b"/audit", 200)):
            self.assertEqual(self.status(path, basic()), status, path)
        self.assertEqual([each["route"] for each in self.journal.records], ["/audit"])

    def test_a_wrong_log_in_is_recorded_before_its_response(self) -> None:
        self.journal.at_once = False
        answer = self.send(b"/metrics", basic("guess"))
        self.assertNoResult(answer)
        record = self.journal.records[0]
        self.assertEqual((record["action"], record["status"]), ("log-in failure", 401))
        self.journal.written()
        self.assertEqual(self.successResultOf(answer).status, 401)
        self.clock.advance(60)
        lost = self.send(b"/status", basic("guess"))
        self.clock.advance(60)
        self.journal.failed()
        self.failureResultOf(lost, RecordFailed)

    def test_a_token_reads_figures_and_nothing_else(self) -> None:
        right = b"Bearer " + TOKEN.encode()
        for path in (b"/metrics", b"/ready"):
            self.assertEqual(self.status(path, right), 200, path)
        answer = self.successResultOf(self.send(b"/ready", right))
        self.assertEqual(msgspec.json.decode(answer.body), {"ready": True, "reasons": {}})
        self.assertEqual(self.status(b"/metrics", b"bearer  " + TOKEN.encode()), 200)
        for path in (b"/", b"/status", b"/audit"):
            self.assertEqual(self.status(path, right), 401, path)
        for wrong in ((right + b"x",), (right[:-1],), (b"Bearer ",), (TOKEN.encode(),), (right, right)):
            self.assertEqual(self.status(b"/metrics", *wrong), 401, wrong)
        challenges = self.successResultOf(self.send(b"/metrics")).headers.all(b"www-authenticate")
        self.assertEqual([each.partition(b" ")[0] for each in challenges], [b"Basic", b"Bearer"])

    def test_tokens_are_read_again(self) -> None:
        assert self.access is not None
        self.write(TOKEN + ", the next")
        self.access.reload()
        self.assertEqual(self.status(b"/metrics", b"Bearer " + TOKEN.encode()), 401)
        self.assertEqual(self.status(b"/metrics", b"Bearer " + TOKEN.encode() + b", the next"), 200)
        self.write("short")
        self.assertRaises(SecretError, self.access.reload)
        self.assertEqual(self.status(b"/metrics", b"Bearer " + TOKEN.encode() + b", the next"), 200)

    def test_a_client_certificate_does_as_much_as_a_token(self) -> None:
        certificate = ClientCertificate("CN=prometheus", (), "00")
        self.assertEqual(self.status(b"/metrics", certificate=certificate), 200)
        self.assertEqual(self.status(b"/", certificate=certificate), 401)

    def test_without_the_audit_page_only_programs_get_in(self) -> None:
        self.admin = self.over_page(None)
        self.assertEqual(self.status(b"/metrics", basic()), 403)
        self.assertEqual(self.status(b"/metrics", b"Bearer " + TOKEN.encode()), 200)
        self.assertEqual(self.status(b"/live"), 200)

    def test_any_address_is_accepted_and_no_name(self) -> None:
        for host, status in (("10.0.0.9", 401), ("[2001:db8::1]:1", 401), ("evil.example", 421)):
            self.assertEqual(self.status(b"/metrics", host=host), status, host)

    def test_open_access_needs_nothing(self) -> None:
        self.assertIsNone(access_for(Settings(upstream=UPSTREAM), Mock(page=self.page)))
