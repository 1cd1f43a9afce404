"""TLS as a client: which CAs to trust, and which certificate to present."""

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
    """The certificate files of a TLS client.

    :param ca_file: certificates (PEM) to trust instead of the system's.
    :param certificate_file: our own chain (PEM), for servers that ask for one.
    :param private_key_file: its key (PEM).
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return a value that changes when one of the files is replaced.

        :raise OSError: a file is missing.
        """
        files = (self.ca_file, self.certificate_file, self.private_key_file)
        found = [each.stat() for each in files if each is not None]
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def client(self, host: str) -> Any:
        """Return a TLS context that verifies a server of this name and presents our certificate.

        Source: RFC 9525; for syslog RFC 5425 §5.2.

        :raise OSError: a file cannot be read.
        :raise ValueError: a file does not hold what it should.
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
    """Certificates that are read again when their files change, so that no restart is needed."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._made: tuple[Any, Any] | None = None

    def of(self, host: str) -> Any:
        """Return a TLS context that verifies a server.

        The first ``host`` counts until the files change: use one object per host.

        :raise OSError: a file cannot be read.
        :raise ValueError: a file does not hold what it should.
        """
        # Made once per set of files: reading the system's certificates alone takes milliseconds.
        stamp = self._certificates.stamp()
        if self._made is None or stamp != self._made[0]:
            self._made = (stamp, self._certificates.client(host))
        return self._made[1]
