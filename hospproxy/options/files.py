"""Checks the files and folders that the options name. It creates and changes nothing."""

from __future__ import annotations

import os
import warnings as python_warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ..keys.secrets import KeyFileError, MasterKey, read_secret
from ..keys.signing_key import Signer
from .admin_section import AdminSettings
from .listeners_section import ListenerSettings
from .sections import Settings
from .traces_section import read_headers

if TYPE_CHECKING:
    from ..contract.contract import Contract

Finding = tuple[str, str]
SOON = timedelta(days=14)


class UnusableError(Exception):
    """A file cannot be used; the text says why."""


def errors(settings: Settings) -> Iterator[Finding]:
    """Find files and folders that cannot be used."""
    for path, folder in (
        ("state_dir", settings.state_dir),
        *((("audit.directory", settings.audit.directory),) if settings.audit.directory else ()),
    ):
        if why := _not_writable(folder):
            yield path, why
    if why := _wrong_key(settings):
        yield "master_key_file", why
    if why := _wrong_signing_key(settings):
        yield "audit.signing_key_file", why
    for path, listener in _listeners(settings):
        if listener.address.secure:
            for key, why in wrong_pair(listener.certificate_file, listener.private_key_file):
                yield f"{path}.{key}", why
    for where, ca_file in (
        ("upstream.ca_file", settings.upstream.ca_file),
        ("audit_http.ca_file", settings.audit_http.ca_file),
        ("alerts.webhook_ca_file", settings.alerts.webhook_ca_file),
        ("traces.ca_file", settings.traces.ca_file),
    ):
        if ca_file is not None:
            try:
                certificates(ca_file)
            except UnusableError as error:
                yield where, str(error)
    for where, secret in (
        ("audit_http.secret_file", settings.audit_http.secret_file),
        ("alerts.webhook_secret_file", settings.alerts.webhook_secret_file),
    ):
        if secret is not None:
            try:
                read_secret(secret)
            except KeyFileError as error:
                yield where, str(error)
    if settings.traces.headers_file is not None:
        try:
            read_headers(settings.traces.headers_file)
        except (OSError, ValueError) as error:
            yield "traces.headers_file", str(error)
    database = settings.audit_database
    if database.enabled and database.password_file is not None:
        try:
            _read(database.password_file)
        except UnusableError as error:
            yield "audit_database.password_file", str(error)


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find certificates that expire soon or are not valid yet, and secret files that everyone can read or change."""
    for path, listener in _listeners(settings):
        if listener.certificate_file is not None and listener.address.secure:
            try:
                first = certificates(listener.certificate_file)[0]
            except UnusableError:
                continue
            yield from out_of_date(f"{path}.certificate_file", first)
        yield from exposed(f"{path}.private_key_file", listener.private_key_file)
    yield from exposed("audit_database.password_file", settings.audit_database.password_file)
    yield from exposed("traces.headers_file", settings.traces.headers_file)


def out_of_date(key: str, certificate: x509.Certificate) -> Iterator[Finding]:
    """Find a certificate that expires within ``SOON``, or is not valid yet."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end - SOON:
        yield key, f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"


def exposed(key: str, file: Path | None) -> Iterator[Finding]:
    """Find a secret file that everyone on this machine can read or change."""
    if file is not None and file.is_file() and file.stat().st_mode & 0o007:
        yield key, f"everyone on this machine may read or change {file}"


def _listeners(settings: Settings) -> Iterator[tuple[str, ListenerSettings | AdminSettings]]:
    """Iterate over all listeners, the admin listener included, with their key paths."""
    for index, listener in enumerate(settings.listeners):
        yield f"listeners[{index}]", listener
    if settings.admin.enabled:
        yield "admin", settings.admin


def contract(path: Path | None) -> tuple[Contract | None, list[Finding]]:
    """Load the contract; return it, or None and everything that is wrong with it."""
    from ..contract.document import ContractError, load

    try:
        return load(path), []
    except ContractError as error:
        return None, [("contract_file", words) for words in error.errors]


def _not_writable(folder: Path) -> str:
    """Say why a folder cannot be written, or cannot be created if it does not exist; "" if all is well."""
    here = folder
    try:
        while not os.path.lexists(here) and here != here.parent:
            here = here.parent
        if not here.is_dir():
            return f"{here} is not a folder"
        if not os.access(here, os.W_OK | os.X_OK):
            return f"{here} cannot be written to"
    except OSError as error:
        return f"{here} cannot be accessed: {error.strerror}"
    return ""


def _wrong_signing_key(settings: Settings) -> str:
    path = settings.audit.signing_key_file or settings.signing_key_default
    if (
        not settings.audit.enabled
        or settings.audit.signing_key is not None
        or (settings.audit.signing_key_file is None and not os.path.lexists(path))
    ):
        return ""
    try:
        Signer.load(path)
    except KeyFileError as error:
        return str(error)
    return ""


def _wrong_key(settings: Settings) -> str:
    path = settings.master_key_path
    if settings.master_key is not None:
        return ""
    if settings.master_key_file is None and not os.path.lexists(path):
        return ""
    try:
        MasterKey.load(path)
    except KeyFileError as error:
        return str(error)
    return ""


def wrong_pair(certificate_file: Path | None, private_key_file: Path | None) -> Iterator[Finding]:
    """Find what is wrong with a certificate and its private key; each is checked even if the other is bad."""
    public = {}
    if certificate_file is not None:
        try:
            public["certificate_file"] = certificates(certificate_file)[0].public_key()
        except UnusableError as error:
            yield "certificate_file", str(error)
    if private_key_file is not None:
        try:
            public["private_key_file"] = _private_key(private_key_file).public_key()
        except UnusableError as error:
            yield "private_key_file", str(error)
    spelled = {key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in public.values()}
    if len(spelled) == 2:
        yield "private_key_file", f"it is not the key of {certificate_file}"


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UnusableError(
                f"{path} is not a regular file" if path.exists() else f"{path} does not exist"
            )
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}") from None


def certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates in a PEM file.

    :raise UnusableError: it cannot be read, or holds no certificate.
    """
    content = _read(path)
    try:
        with python_warnings.catch_warnings():
            # cryptography warns of old certificates in a bundle; an operator can do nothing about them.
            python_warnings.simplefilter("ignore")
            found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UnusableError(f"{path} holds no certificate (PEM)") from None
    return found


def _private_key(path: Path):  # type: ignore[no-untyped-def]  # cryptography's own union of key types
    content = _read(path)
    try:
        return load_pem_private_key(content, None)
    except TypeError:
        raise UnusableError(
            f"{path} is encrypted with a passphrase, which the proxy cannot ask for: store the key unencrypted"
        ) from None
    except Exception as error:  # UnsupportedAlgorithm, ValueError
        raise UnusableError(
            f"{path} holds no private key (PEM) that can be used: {type(error).__name__}"
        ) from None
