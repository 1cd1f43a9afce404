"""A certificate authority for tests, and the client side of TLS in memory."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    """The time of this machine, because OpenSSL has no other clock."""
    return datetime.datetime.now(datetime.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@frozen
class Issued:
    """A certificate and its key, in PEM form."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both as files; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        pair = folder / f"{name}.pem", folder / f"{name}.key"
        pair[0].write_bytes(self.certificate.public_bytes(Encoding.PEM))
        pair[1].write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pair[1].chmod(0o600)
        return pair


@frozen
class TestAuthority:
    """Signs every certificate that a test asks for."""

    __test__ = False
    name: str = "Test CA"
    key: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    issuer: TestAuthority | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate, valid for ten years."""
        by = self.issuer or self
        return (
            _begin(self.name, by.name, self.key, now() - DAY, now() + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(by.key, hashes.SHA256())
        )

    def write(self, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return file

    def issue(self, *names: str, client: bool = False, since: float = -1, days: float = 90) -> Issued:
        """A certificate.

        :param names: host names; the first is its common name too.
        :param since: from when it is valid, in days from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        alternatives: Iterable[x509.GeneralName] = [x509.DNSName(each) for each in names]
        begin = now() + since * DAY
        certificate = (
            _begin(names[0], self.name, key, begin, begin + days * DAY)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        return Issued(certificate, key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)


def _begin(
    common: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    since: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


class Wire(StringTransport):
    """TCP in memory."""

    def __init__(self, host: str = "192.0.2.7") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 4711))
        self.protocol: Any = None
        self.half_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        super().abortConnection()
        self.protocol.connectionLost(Failure(ConnectionDone()))


class TlsClient:
    """A client of a factory, in memory.

    :param context: its side of TLS.
    :param name: the host name that it asks for (SNI); None for none.
    """

    def __init__(
        self,
        factory: Any,
        context: ssl.SSLContext,
        name: str | None,
        session: Any = None,
        clock: Clock | None = None,
    ) -> None:
        self.wire = Wire()
        self.clock = clock or factory._clock
        self.server = self.wire.protocol = factory.buildProtocol(self.wire.getPeer())
        self.server.makeConnection(self.wire)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name, session=session)

    def pump(self) -> None:
        """Carry bytes both ways."""
        if (data := self._out.read()) and not self.wire.disconnected:
            self.server.dataReceived(data)
        self.clock.advance(0)
        self._in.write(self.wire.value())
        self.wire.clear()

    def shake(self) -> TlsClient:
        """Finish the handshake.

        :raise ssl.SSLError: it fails.
        """
        for _ in range(10):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.pump()
            else:
                self.pump()
                return self
        raise AssertionError("the handshake never ended")

    def ask(self, request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") -> bytes:
        """What comes back.

        :raise ssl.SSLError: the server has ended it.
        """
        self.tls.write(request)
        self.pump()
        return self.tls.read(65536)

    @property
    def shown(self) -> x509.Certificate:
        """The server's certificate."""
        data = self.tls.getpeercert(True)
        assert data is not None
        return x509.load_der_x509_certificate(data)


def trusting(authority: TestAuthority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client that trusts an authority and does not check names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.certificate.public_bytes(Encoding.PEM).decode())
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    return context
