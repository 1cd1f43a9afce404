"""What a client needs for TLS: whom it trusts, and what it shows of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from OpenSSL import crypto
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)


@frozen(slots=True)
class Certificates:
    """What TLS is made with.

    :param ca_file: certificates (PEM) to trust instead of the system's.
    :param certificate_file: our own chain (PEM), for servers that ask for one.
    :param private_key_file: its key (PEM).
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one when a file is another.

        :raise OSError: one is not there.
        """
        files = (self.ca_file, self.certificate_file, self.private_key_file)
        found = [each.stat() for each in files if each is not None]
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def client(self, host: str) -> Any:
        """What verifies a server of this name (RFC 9525; for syslog RFC 5425 §5.2) and shows our certificate.

        :raise OSError: a file cannot be read.
        :raise ValueError: or does not hold what it should.
        """
        trust = own = None
        if self.ca_file is not None:
            found = x509.load_pem_x509_certificates(self.ca_file.read_bytes())
            trust = trustRootFromCertificates(
                [Certificate(crypto.X509.from_cryptography(each)) for each in found]
            )
        if self.certificate_file is not None and self.private_key_file is not None:
            pem = self.private_key_file.read_bytes() + b"\n" + self.certificate_file.read_bytes()
            own = PrivateCertificate.loadPEM(pem)
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=own)


class Renewed:
    """Certificates whose files are read anew once they are others, so that they need no restart."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._made: tuple[Any, Any] | None = None

    def of(self, host: str) -> Any:
        """What verifies a server of this name; it is always the same one.

        :raise OSError: a file cannot be read.
        :raise ValueError: or does not hold what it should.
        """
        # Made once for each set of files: the system's certificates alone take milliseconds to read.
        stamp = self._certificates.stamp()
        if self._made is None or stamp != self._made[0]:
            self._made = (stamp, self._certificates.client(host))
        return self._made[1]
