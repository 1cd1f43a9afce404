"""What --check reports on a listener's TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.checks import check
from hospproxy.config import structure
from tests.arrival.certificates import TestAuthority


class TlsFiles(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.authority = TestAuthority()

    def pair(self, file: str, *names: str, **more: Any) -> dict[str, str]:
        certificate, key = self.authority.issue(*names, **more).write(self.folder, file)
        return {"certificate_file": str(certificate), "private_key_file": str(key)}

    def find(self, url: str = "https://127.0.0.1:8443", **listener: Any) -> tuple[list[str], list[str]]:
        settings = structure(
            {
                "state_dir": str(self.folder),
                "upstream": {"url": "http://127.0.0.1:3000"},
                "listeners": [{"url": url, **listener}],
            }
        )
        found = check(settings)
        errors, warnings = found.errors, found.warnings
        return list(errors), [each for each in warnings if each.startswith("listeners[")]

    def test_good(self) -> None:
        ca = self.authority.write(self.folder / "ca.pem")
        found = self.find(
            **self.pair("a", "a.example"),
            certificates=[self.pair("b", "b.example", "*.b.example")],
            client_ca_file=str(ca),
            client_certificates="required",
            hsts_s=300,
        )
        self.assertEqual(found, ([], []))

    def test_names(self) -> None:
        first, second = self.pair("a", "a.example"), self.pair("b", "B.example", "A.example")
        _, warnings = self.find(**first, certificates=[second])
        self.assertEqual(
            warnings,
            [
                "listeners[0].certificates[0].certificate_file: a.example is also in listeners[0].certificate_file, "
                "which is used for it"
            ],
        )

    def test_files_that_cannot_be_used(self) -> None:
        one, other = self.pair("a", "a.example"), self.pair("b", "b.example")
        crossed = {**one, "private_key_file": other["private_key_file"]}
        gone = {**one, "certificate_file": str(self.folder / "gone.pem")}
        errors, _ = self.find(certificates=[crossed, gone, {}], client_ca_file=other["private_key_file"])
        said = "\n".join(errors)
        self.assertIn("listeners[0].certificates[0]: ", said)
        self.assertIn("b.key: this is not the key of the certificate in", said)
        self.assertIn("listeners[0].certificates[1]: ", said)
        self.assertIn("gone.pem: cannot be read", said)
        self.assertIn("listeners[0].certificates[2].certificate_file: it is required", said)
        self.assertIn("listeners[0].certificates[2].private_key_file: it is required", said)
        self.assertIn("listeners[0].client_ca_file: ", said)
        self.assertIn('listeners[0].client_certificates: it is "off", so client_ca_file', said)

    def test_times_and_modes(self) -> None:
        ended, soon = self.pair("a", "a.example", since=-9, days=8), self.pair("b", "b.example", days=14)
        fine = self.pair("c", "c.example", days=16)
        Path(fine["private_key_file"]).chmod(0o644)
        errors, warnings = self.find(certificates=[ended, soon, fine])
        self.assertEqual((errors, len(warnings)), ([], 3))
        for place, words in (
            (0, "it is valid from"),
            (1, "it is valid from"),
            (2, "everyone on this machine"),
        ):
            self.assertIn(f"certificates[{place}]", warnings[place])
            self.assertIn(words, warnings[place])

    def test_for_tls_only(self) -> None:
        errors, _ = self.find(
            "http://127.0.0.1:1", certificates=[{}], client_certificates="optional", hsts_s=1
        )
        self.assertEqual(
            errors,
            [
                "listeners[0].certificates: it is for https:// listeners only",
                "listeners[0].hsts_s: it is for https:// listeners only",
                "listeners[0].client_certificates: it is for https:// listeners only",
            ],
        )

    def test_asked_without_an_authority(self) -> None:
        errors, _ = self.find(client_certificates="required")
        self.assertEqual(errors, ['listeners[0].client_ca_file: client_certificates = "required" needs it'])
