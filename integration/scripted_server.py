"""A small server that sends whatever bytes a test wants, on a real loopback socket."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

Step = bytes | str
"""Bytes to write, or "close", "reset", or a text that begins with "endless ", whose rest is written for ever."""


class Misbehaving(Factory):
    """Plays the n-th script for the n-th request, and the last one for all later requests."""

    noisy = False

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections: list[Connection] = []
        self.lost: list[Deferred[None]] = []

    def buildProtocol(self, addr: Any) -> Connection:
        connection = Connection(self)
        self.connections.append(connection)
        self.lost.append(Deferred())
        return connection

    def script(self) -> Sequence[Step]:
        return self.scripts[min(len(self.requests), len(self.scripts)) - 1]


class Connection(Protocol):
    """Collects whole requests and plays the script for each."""

    def __init__(self, server: Misbehaving) -> None:
        self.server = server
        self.buffer = b""
        self.endless: bytes | None = None

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            match = re.search(rb"\r\nContent-Length: (\d+)", head)
            length = int(match[1]) if match else 0
            if not end or len(rest) < length:
                return
            self.server.requests.append(head + end + rest[:length])
            self.buffer = rest[length:]
            self.play(self.server.script())

    def play(self, script: Sequence[Step]) -> None:
        transport: Any = self.transport
        for step in script:
            if isinstance(step, bytes):
                transport.write(step)
            elif step == "close":
                transport.loseConnection()
            elif step == "reset":
                # Let written bytes leave first, or the reset overtakes them.
                transport.reactor.callLater(0.05, transport.abortConnection)
            else:
                self.endless = step.removeprefix("endless ").encode().decode("unicode_escape").encode() * 1000
                transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        assert self.endless is not None
        self.transport.write(self.endless)  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        self.endless = None

    def connectionLost(self, reason: Any = None) -> None:
        self.server.lost[self.server.connections.index(self)].callback(None)


def certificate(folder: Path, name: str, *, issuer: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """A certificate for a host name or address, signed by an issuer or by itself.

    :return: the certificate and its key; ``NAME.pem`` in the folder holds the certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing_key = issuer or (None, key)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signing_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made, key


def server_tls(pair: tuple[Any, Any]) -> CertificateOptions:
    """TLS options for a server with this certificate."""
    encoding = serialization.Encoding.PEM
    private = pair[1].private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PrivateCertificate.loadPEM(pair[0].public_bytes(encoding) + private).options()
