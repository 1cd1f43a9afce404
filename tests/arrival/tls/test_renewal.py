"""Certificates replaced while the proxy runs: used if they are valid, reported once if not."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival import listeners as module
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.listeners import Listener, Listeners
from hospproxy.arrival.tls.certificates import CertificateError
from hospproxy.arrival.tls.listener_tls import TICKET_KEYS_S
from hospproxy.options.arrival_section import ArrivalSettings
from hospproxy.options.listeners_section import CertificateSettings
from hospproxy.watch.metrics import Metrics
from tests.arrival.certificates import Issued, TestAuthority, now
from tests.arrival.memory_transport import Recorder

EVERY_S = 5.0
_P256 = bytes.fromhex("06082a8648ce3d030107")


def _damage(file: Path, old: bytes, changed: bytes) -> None:
    """Change bytes of a certificate's DER."""
    whole = ssl.PEM_cert_to_DER_cert(file.read_text())
    assert old in whole
    file.write_text(ssl.DER_cert_to_PEM_cert(whole.replace(old, changed)))


class AtOnce:
    """A worker without a thread."""

    def __init__(self, *_: Any) -> None:
        self.held: list[tuple[Any, Deferred[Any]]] = []
        self.hold = self.stopped = False

    def run(self, task: Any) -> Deferred[Any]:
        if self.hold:
            later: Deferred[Any] = Deferred()
            self.held.append((task(), later))
            return later
        return maybeDeferred(task)

    def stop(self) -> None:
        self.stopped = True


class RenewalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.folder = Path(self.mktemp())
        self.authority = TestAuthority()
        self.metrics = Metrics(strict=True)
        self.worker = AtOnce()
        self.patch(module, "TaskThread", lambda *_: self.worker)
        self.wall = now().timestamp()
        self.context = ListenerContext(
            handler=Recorder(),
            clock=self.reactor,
            wall=lambda: self.wall + self.reactor.seconds(),
            meter=self.metrics,
            limits=ArrivalSettings(certificate_check_s=EVERY_S),
        )
        self.said: list[tuple[Any, str]] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, Any]) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            self.said.append((event["log_level"], event["log_format"].format(**event)))

    def write(self, name: str, **more: Any) -> Issued:
        issued = self.authority.issue(f"{name}.example", **more)
        issued.write(self.folder, name)
        return issued

    def pair(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def open(self, **more: Any) -> Any:
        """A listener with the certificates a and b; its doorway."""
        second = CertificateSettings(certificate_file=self.pair("b")[0], private_key_file=self.pair("b")[1])
        listener = Listener("https://127.0.0.1:1", *self.pair("a"), certificates=(second,), **more)
        self.listeners = Listeners([listener], self.context, self.folder)
        self.listeners.listen(self.reactor)
        return self.reactor.tcpServers[0][1].doorway

    def shown(self, doorway: Any) -> list[Any]:
        return [doorway.contexts.pick(f"{name}.example").certificate for name in ("a", "b")]

    def wait(self, looks: int = 1) -> None:
        for _ in range(looks):
            self.reactor.advance(EVERY_S)

    def reloads(self, result: str) -> float | None:
        return self.metrics.value("certificate_reloads_total", result=result)

    def test_new_ones_are_taken(self) -> None:
        a, b = self.write("a"), self.write("b")
        doorway = self.open()
        self.wait(3)
        self.assertEqual(
            (self.shown(doorway), self.reloads("renewed")), ([a.certificate, b.certificate], None)
        )
        new = self.write("b")
        self.reactor.advance(EVERY_S - 0.1)
        self.assertEqual(self.shown(doorway), [a.certificate, b.certificate])
        self.reactor.advance(0.1)
        self.assertEqual(
            (self.shown(doorway), self.reloads("renewed")), ([a.certificate, new.certificate], 1)
        )
        self.assertEqual(self.said, [])

    def test_bad_ones_are_told_once_and_hold_up_nobody(self) -> None:
        a, _ = self.write("a"), self.write("b")
        doorway = self.open()
        self.pair("a")[0].write_text("nonsense")
        new = self.write("b")
        self.wait(5)
        self.assertEqual(self.shown(doorway), [a.certificate, new.certificate])
        self.assertEqual((len(self.said), self.reloads("failed")), (1, 1))
        self.assertIn("a.pem: holds no certificate", self.said[0][1])
        self.pair("a")[0].unlink()
        self.wait(5)
        self.assertEqual((len(self.said), self.shown(doorway)[0]), (2, a.certificate))
        better = self.write("a")
        self.wait()
        self.assertEqual(self.shown(doorway)[0], better.certificate)

    def test_damaged_ones_hold_up_nobody(self) -> None:
        """They look like certificates until somebody wants to use what stands in them."""
        self.write("a")
        self.write("b")
        ca = TestAuthority("Wards").write(self.folder / "ca.pem")
        doorway = self.open(client_ca_file=ca, client_certificates="optional")
        for file, old, changed in (
            (self.pair("a")[0], b"\x03\x42\x00\x04", b"\x03\x42\x00\x05"),  # no point of a curve
            (self.pair("a")[0], _P256, _P256[:-1] + b"\x77"),
            (self.pair("a")[0], b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),  # version
            (ca, b"Wards", b"\xff\xffrds"),
        ):
            whole = file.read_bytes()
            _damage(file, old, changed)
            self.said.clear()
            new = self.write("b")
            self.wait(3)
            self.assertEqual(self.shown(doorway)[1], new.certificate)
            self.assertEqual([level for level, _ in self.said], [LogLevel.error], self.said)
            new = self.write("b")
            self.assertIn(file.name, str(self.assertRaises(CertificateError, self.listeners.reload)))
            self.assertEqual(self.shown(doorway)[1], new.certificate)
            file.write_bytes(whole)
            self.listeners.reload()

    def test_a_pair_that_is_half_written_is_waited_for(self) -> None:
        self.write("a")
        self.write("b")
        doorway = self.open()
        new = self.authority.issue("a.example")
        certificate, key = new.write(self.folder / "new", "a")
        shutil.copy(certificate, self.pair("a")[0])
        self.wait()
        shutil.copy(key, self.pair("a")[1])
        self.wait()
        self.assertEqual((self.shown(doorway)[0], self.said), (new.certificate, []))

    def test_one_that_is_not_valid_now_takes_no_place(self) -> None:
        a, _ = self.write("a"), self.write("b")
        doorway = self.open()
        for more in ({"since": 1}, {"since": -9, "days": 8}):
            self.said.clear()
            self.write("a", **more)
            self.wait(3)
            self.assertEqual((len(self.said), self.shown(doorway)[0]), (1, a.certificate))
            self.assertIn("the certificate is not valid now", self.said[0][1])

    def test_asked_for(self) -> None:
        a, _ = self.write("a"), self.write("b")
        doorway = self.open()
        before = doorway.contexts
        self.pair("a")[1].write_text("nonsense")
        new = self.write("b")
        error = self.assertRaises(CertificateError, self.listeners.reload)
        self.assertIn("a.key: holds no private key", str(error))
        self.assertEqual(self.shown(doorway), [a.certificate, new.certificate])
        self.assertIsNot(doorway.contexts.first, before.first)
        self.wait(3)
        self.assertEqual(self.said, [], "it was told")

    def test_a_look_that_was_overtaken(self) -> None:
        self.write("a")
        self.write("b")
        doorway = self.open()
        self.worker.hold = True
        self.write("a")
        self.wait()
        newest = self.write("a")
        self.listeners.reload()
        ((result, later),) = self.worker.held
        later.callback(result)
        self.assertEqual(self.shown(doorway)[0], newest.certificate)

    def test_authorities(self) -> None:
        self.write("a")
        self.write("b")
        file = TestAuthority("One").write(self.folder / "ca.pem")
        doorway = self.open(client_ca_file=file, client_certificates="optional")
        before = doorway.contexts
        file.write_text("")
        self.wait(3)
        self.assertEqual((doorway.contexts, len(self.said)), (before, 1))
        TestAuthority("Two").write(file)
        self.wait()
        self.assertIsNot(doorway.contexts, before)

    def test_ticket_keys_grow_old(self) -> None:
        self.write("a", days=900)
        self.write("b", days=900)
        doorway = self.open()
        before = doorway.contexts
        self.reactor.advance(TICKET_KEYS_S - EVERY_S)
        self.assertIs(doorway.contexts, before)
        self.reactor.advance(EVERY_S)
        self.assertIsNot(doorway.contexts, before)

    def test_the_end_is_near(self) -> None:
        self.write("a", days=15.5 + 1)
        self.write("b")
        self.open()
        self.assertEqual(self.said, [])
        left = self.metrics.value("certificate_expiry_seconds", file=str(self.pair("a")[0]))
        assert left is not None
        self.assertAlmostEqual(left / 86400, 15.5, 2)
        self.reactor.advance(86400)
        self.reactor.advance(86400)
        self.assertEqual(len(self.said), 1)
        self.assertIn("a.pem: the certificate expires at", self.said[0][1])
        self.reactor.advance(86399)
        self.assertEqual(len(self.said), 1)
        self.reactor.advance(EVERY_S)
        self.assertEqual(len(self.said), 2)

    def test_stop(self) -> None:
        self.write("a")
        self.write("b")
        self.open()
        self.listeners.stop(0)
        self.assertTrue(self.worker.stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
