"""Read certificates and keys from PEM files, or make a self-signed certificate on first start."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...process.folders import write_whole

LIFETIME_DAYS: Final = 397
"""Browsers refuse certificates that are valid for more than 398 days."""

CERTIFICATE_NAME: Final = "self-signed.crt"
KEY_NAME: Final = "self-signed.key"

_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """A certificate or key file is not usable; the message names the file."""


@frozen(slots=True)
class CertificatePair:
    """The key and certificates of a TLS listener.

    :param chain: the server's own certificate first, then its issuers.
    """

    key: CertificateIssuerPrivateKeyTypes = field(repr=False)
    chain: tuple[x509.Certificate, ...]


def load_credentials(certificate_file: Path, private_key_file: Path) -> CertificatePair:
    """Read a certificate chain and its key.

    :raise CertificateError: a file is missing, unreadable, not PEM or encrypted, or key and certificate do not match.
    """
    return parse_credentials(
        certificate_file, private_key_file, read(certificate_file), read(private_key_file)
    )


def parse_credentials(
    certificate_file: Path, private_key_file: Path, certificates: bytes, private_key: bytes
) -> CertificatePair:
    """Parse a certificate chain and its key that were read already; the paths are for messages.

    :raise CertificateError: as ``load_credentials``.
    """
    chain = parse_certificates(certificate_file, certificates)
    key = _parse_key(private_key_file, private_key)
    try:
        certified = _public_bytes(chain[0].public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{certificate_file}: its key cannot be used: {error}") from error
    if _public_bytes(key.public_key()) != certified:
        raise CertificateError(
            f"{private_key_file}: this is not the key of the certificate in {certificate_file}"
        )
    return CertificatePair(key, chain)


def read(path: Path) -> bytes:
    """Return the content of a file.

    :raise CertificateError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror or error}") from error


def parse_certificates(path: Path, data: bytes) -> tuple[x509.Certificate, ...]:
    """Parse certificates in PEM form.

    :raise CertificateError: there is none, or one cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"{path}: holds no certificate in PEM form") from error


def _parse_key(path: Path, data: bytes) -> CertificateIssuerPrivateKeyTypes:
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError as error:
        raise CertificateError(
            f"{path}: the private key is encrypted; store it without a pass phrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: holds no private key in PEM form") from error
    return key  # type: ignore[return-value] # a key that signs nothing fails the comparison with its certificate


def _alternatives(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    """Return the subject alternative names; none if they are missing or cannot be read."""
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the host names of a server's certificate, lower-cased; the common name does not count (RFC 9525 §2)."""
    return tuple(each.value.lower() for each in _alternatives(certificate) if isinstance(each, x509.DNSName))


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return every alternative name that can be written as text."""
    found = []
    for each in _alternatives(certificate):
        if isinstance(each, x509.DirectoryName):
            found.append(each.value.rfc4514_string())
        elif isinstance(
            each, x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier | x509.IPAddress
        ):
            found.append(str(each.value))
    return tuple(found)


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def self_signed(folder: Path, hosts: Iterable[str], now: datetime.datetime) -> CertificatePair:
    """Return the self-signed certificate of this folder.

    A new one is made if there is none, or if it has expired, cannot be read or lacks a host.

    :param folder: created with mode 0700 if missing. Certificate and key have mode 0600.
    :param hosts: names and addresses to certify besides localhost, 127.0.0.1 and ::1.
    :param now: with its time zone.
    :raise CertificateError: the files cannot be read or written.
    """
    names = tuple(dict.fromkeys((*_ALWAYS, *(host.lower() for host in hosts))))
    certificate_file, key_file = folder / CERTIFICATE_NAME, folder / KEY_NAME
    if certificate_file.exists() and key_file.exists():
        try:
            present = load_credentials(certificate_file, key_file)
        except CertificateError:
            present = None  # a first start was interrupted between the two files: nothing of value is lost
        if present is not None and _serves(present.chain[0], names, now):
            return present
    made = _make(names, now)
    _store(folder, made)
    return made


def _serves(certificate: x509.Certificate, names: Iterable[str], now: datetime.datetime) -> bool:
    present = _alternatives(certificate)
    return now < certificate.not_valid_after_utc and all(_alternative(name) in present for name in names)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make(names: Iterable[str], now: datetime.datetime) -> CertificatePair:
    """Make a self-signed ECDSA P-256 certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospproxy (self-signed)")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=LIFETIME_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificatePair(key, (certificate,))


def _store(folder: Path, made: CertificatePair) -> None:
    key = made.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        write_whole(folder / KEY_NAME, key)
        write_whole(folder / CERTIFICATE_NAME, made.chain[0].public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise CertificateError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error
