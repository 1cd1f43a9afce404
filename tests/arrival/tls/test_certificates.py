"""Certificates: read with clear error messages, or created."""

from __future__ import annotations

import datetime
import ipaddress
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.tls.certificates import (
    CERTIFICATE_NAME,
    KEY_NAME,
    CertificateError,
    load_credentials,
    self_signed,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class SelfSignedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "state"

    def test_made(self) -> None:
        made = self_signed(self.folder, ["hosp.example", "192.0.2.1", "LOCALHOST"], NOW)
        names = made.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost", "hosp.example"])
        self.assertEqual(
            names.get_values_for_type(x509.IPAddress),
            [ipaddress.ip_address(text) for text in ("127.0.0.1", "::1", "192.0.2.1")],
        )
        assert isinstance(made.key, ec.EllipticCurvePrivateKey)
        self.assertEqual(made.key.curve.name, "secp256r1")
        self.assertEqual(made.chain[0].not_valid_after_utc - NOW, datetime.timedelta(days=397))

    def test_modes(self) -> None:
        self_signed(self.folder, [], NOW)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(sorted(each.name for each in self.folder.iterdir()), [CERTIFICATE_NAME, KEY_NAME])
        for each in self.folder.iterdir():
            self.assertEqual(stat.S_IMODE(each.stat().st_mode), 0o600)

    def serial(self, *hosts: str, now: datetime.datetime = NOW) -> int:
        return self_signed(self.folder, hosts, now).chain[0].serial_number

    def test_kept(self) -> None:
        """Clients that were told to trust it go on doing so."""
        first = self.serial("a.example", "b.example")
        self.assertEqual(self.serial("a.example", now=NOW + datetime.timedelta(days=396)), first)

    def test_made_anew_when_it_no_longer_serves(self) -> None:
        first = self.serial("a.example")
        self.assertNotEqual(self.serial("c.example"), first)
        second = self.serial("c.example")
        self.assertNotEqual(self.serial("c.example", now=NOW + datetime.timedelta(days=398)), second)

    def test_made_anew_when_it_is_broken(self) -> None:
        first = self.serial()
        (self.folder / KEY_NAME).write_bytes(b"")
        self.assertNotEqual(self.serial(), first)

    def test_a_folder_that_cannot_be(self) -> None:
        self.folder.parent.mkdir()
        self.folder.write_bytes(b"")
        error = self.assertRaises(CertificateError, self_signed, self.folder, [], NOW)
        self.assertIn(str(self.folder), str(error))


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.made = self_signed(self.folder, [], NOW)
        self.certificate, self.key = self.folder / CERTIFICATE_NAME, self.folder / KEY_NAME

    def refusal(self) -> str:
        return str(self.assertRaises(CertificateError, load_credentials, self.certificate, self.key))

    def test_loads_a_chain(self) -> None:
        other = self_signed(self.folder / "other", [], NOW)
        pem = self.certificate.read_bytes() + (self.folder / "other" / CERTIFICATE_NAME).read_bytes()
        self.certificate.write_bytes(pem)
        loaded = load_credentials(self.certificate, self.key)
        self.assertEqual(loaded.chain, (self.made.chain[0], other.chain[0]))

    def test_the_key_is_not_shown(self) -> None:
        self.assertNotIn("key", repr(self.made).replace("PublicKey", ""))

    def test_missing(self) -> None:
        for path in (self.certificate, self.key):
            aside = path.rename(path.with_suffix(".aside"))
            self.assertIn(f"{path}: cannot be read", self.refusal())
            aside.rename(path)

    def test_not_pem(self) -> None:
        for path, words in ((self.certificate, "no certificate"), (self.key, "no private key")):
            before = path.read_bytes()
            for content in (
                b"",
                b"nonsense",
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ):
                path.write_bytes(content)
                self.assertIn(f"{path}: holds {words}", self.refusal())
            path.write_bytes(before)

    def test_exchanged(self) -> None:
        self.certificate, self.key = self.key, self.certificate
        self.assertIn(f"{self.certificate}: holds no certificate", self.refusal())

    def test_another_key(self) -> None:
        self_signed(self.folder / "other", [], NOW)
        self.key = self.folder / "other" / KEY_NAME
        self.assertIn(
            f"{self.key}: this is not the key of the certificate in {self.certificate}", self.refusal()
        )

    def test_encrypted(self) -> None:
        self.key.write_bytes(
            self.made.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        self.assertIn(f"{self.key}: the private key is encrypted", self.refusal())
