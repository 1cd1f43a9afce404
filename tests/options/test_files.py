"""Files and folders that the options name."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from hospproxy.config import AuditSettings, UpstreamSettings

from ..test_checks import Case


class FilesTests(Case):
    def pair(self, name: str, days: int = 365) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, SHA256())
        )
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files[1].chmod(0o600)
        return files

    def with_files(self, certificate: Path | None, key: Path | None) -> dict[str, Any]:
        more = {"certificate_file": certificate, "private_key_file": key}
        return {"listeners": self.listen("https://127.0.0.1:1", **more)}

    def test_a_pair(self) -> None:
        self.assertEqual(self.warned(**self.with_files(*self.pair("a"))), [])

    def test_files_that_are_missing_are_all_named(self) -> None:
        self.assertEqual(
            self.errors(**self.with_files(self.folder / "a", self.folder)),
            [
                "listeners[0].certificate_file: DIR/a does not exist",
                "listeners[0].private_key_file: DIR is not a regular file",
            ],
        )

    def test_the_key_of_another(self) -> None:
        certificate, other = self.pair("a")[0], self.pair("b")[1]
        self.assertEqual(
            self.errors(**self.with_files(certificate, other)),
            ["listeners[0].private_key_file: it is not the key of DIR/a.crt"],
        )

    def test_one_without_the_other(self) -> None:
        certificate, key = self.pair("a")
        self.assertEqual(self.paths(**self.with_files(certificate, None)), ["listeners[0].private_key_file"])
        self.assertEqual(self.paths(**self.with_files(None, key)), ["listeners[0].certificate_file"])

    def test_not_pem(self) -> None:
        certificate, key = self.pair("a")
        self.assertEqual(
            self.errors(**self.with_files(key, certificate)),
            [
                "listeners[0].certificate_file: DIR/a.key holds no certificate (PEM)",
                "listeners[0].private_key_file: DIR/a.crt holds no private key (PEM) that can be used: ValueError",
            ],
        )

    def test_a_key_with_a_passphrase(self) -> None:
        certificate, key = self.pair("a")
        locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        )
        key.write_bytes(locked)
        self.assertIn("passphrase", self.errors(**self.with_files(certificate, key))[0])

    def test_certificates_on_a_plain_listener(self) -> None:
        certificate, key = self.pair("a")
        more = {"certificate_file": certificate, "private_key_file": key}
        self.assertEqual(
            self.paths(listeners=self.listen("http://127.0.0.1:1", **more)), ["listeners[0].certificate_file"]
        )

    def test_a_certificate_that_ends(self) -> None:
        for days, expected in (
            (-1, ["listeners[0].certificate_file"]),
            (13, ["listeners[0].certificate_file"]),
            (15, []),
        ):
            self.assertEqual(self.warned(**self.with_files(*self.pair("a", days))), expected)

    def test_a_private_key_for_everybody(self) -> None:
        certificate, key = self.pair("a")
        key.chmod(0o644)
        self.assertEqual(self.warned(**self.with_files(certificate, key)), ["listeners[0].private_key_file"])

    def test_the_upstreams_authorities(self) -> None:
        certificate, key = self.pair("a")
        for ca_file, expected in (
            (certificate, []),
            (key, ["upstream.ca_file"]),
            (self.folder / "none", ["upstream.ca_file"]),
        ):
            upstream = UpstreamSettings(url="https://hosp.example", ca_file=ca_file)
            self.assertEqual(self.paths(upstream=upstream), expected)
        plain = UpstreamSettings(url="http://127.0.0.1:3000", ca_file=certificate)
        self.assertEqual(self.paths(upstream=plain), ["upstream.ca_file"])

    def test_a_folder_that_cannot_be_used(self) -> None:
        file = self.folder / "file"
        file.touch()
        self.assertEqual(self.errors(state_dir=file / "state"), ["state_dir: DIR/file is not a folder"])
        self.assertEqual(
            self.errors(audit=AuditSettings(directory=file)), ["audit.directory: DIR/file is not a folder"]
        )
        self.patch(os, "access", lambda path, mode: Path(path) != self.folder)
        self.assertEqual(self.errors(), ["state_dir: DIR cannot be written to"])

    def test_a_signing_key_that_cannot_be_used(self) -> None:
        missing = self.folder / "none.key"
        self.assertEqual(
            self.errors(audit=AuditSettings(signing_key_file=missing)),
            ["audit.signing_key_file: DIR/none.key cannot be read: No such file or directory"],
        )

    def test_a_master_key(self) -> None:
        named = self.folder / "named.key"
        self.assertEqual(
            self.errors(master_key_file=named),
            ["master_key_file: DIR/named.key cannot be read: No such file or directory"],
        )
        named.write_bytes(bytes(32))
        named.chmod(0o600)
        self.assertEqual(self.errors(master_key_file=named), [])
        self.good.state_dir.mkdir()
        self.good.master_key_path.write_bytes(b"short")
        self.good.master_key_path.chmod(0o600)
        self.assertEqual(self.paths(), ["master_key_file"])
