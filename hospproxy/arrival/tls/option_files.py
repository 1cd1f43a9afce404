"""Checks a listener's TLS files, besides its first certificate: further certificates, and the CAs of clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ...options.files import exposed, out_of_date
from ...options.listeners_section import ListenerSettings
from ...options.sections import Settings
from .certificates import (
    CertificateError,
    host_names,
    load_credentials,
    parse_certificates,
    read,
)

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find files that cannot be used."""
    for path, listener in _secure(settings):
        for index, pair in enumerate(listener.certificates):
            if pair.certificate_file is None or pair.private_key_file is None:
                continue  # another check reports this
            try:
                load_credentials(pair.certificate_file, pair.private_key_file)
            except CertificateError as error:
                yield f"{path}.certificates[{index}]", str(error)
        yield from _wrong_authorities(path, listener.client_ca_file)
    if settings.admin.enabled:
        yield from _wrong_authorities("admin", settings.admin.client_ca_file)


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find certificates that expire soon, are not valid yet or are never used, ended CAs, and unprotected keys."""
    now = datetime.now(UTC)
    for path, listener in _secure(settings):
        for index, pair in enumerate(listener.certificates):
            key = f"{path}.certificates[{index}]"
            own = _own(pair.certificate_file)
            if own is not None:
                yield from out_of_date(f"{key}.certificate_file", own)
            yield from exposed(f"{key}.private_key_file", pair.private_key_file)
        if listener.certificates:
            yield from _names(path, listener)
        yield from _ended_authorities(path, listener.client_ca_file, now)
    if settings.admin.enabled:
        yield from _ended_authorities("admin", settings.admin.client_ca_file, now)


def _secure(settings: Settings) -> Iterator[tuple[str, ListenerSettings]]:
    for index, listener in enumerate(settings.listeners):
        if listener.address.secure:
            yield f"listeners[{index}]", listener


def _own(file: Path | None) -> x509.Certificate | None:
    try:
        return None if file is None else parse_certificates(file, read(file))[0]
    except CertificateError:
        return None


def _names(path: str, listener: ListenerSettings) -> Iterator[Finding]:
    """Find certificates that are never presented, or not for some of their names."""
    pairs: list[tuple[str, Path | None]] = []
    if listener.certificate_file is not None:
        pairs.append((path, listener.certificate_file))
    pairs += [
        (f"{path}.certificates[{index}]", each.certificate_file)
        for index, each in enumerate(listener.certificates)
    ]
    first: dict[str, str] = {}
    for place, (key, file) in enumerate(pairs):
        own = _own(file)
        if own is None:
            continue
        names = host_names(own)
        for name in dict.fromkeys(names):
            if name in first:
                yield f"{key}.certificate_file", f"{name} is also in {first[name]}, which is used for it"
            first.setdefault(name, f"{key}.certificate_file")
        if place and not names:
            yield (
                f"{key}.certificate_file",
                "it has no host names (subject alternative names), so it is never used",
            )


def _wrong_authorities(path: str, file: Path | None) -> Iterator[Finding]:
    try:
        if file is not None:
            parse_certificates(file, read(file))
    except CertificateError as error:
        yield f"{path}.client_ca_file", str(error)


def _ended_authorities(path: str, file: Path | None, now: datetime) -> Iterator[Finding]:
    try:
        found = () if file is None else parse_certificates(file, read(file))
    except CertificateError:
        return
    for each in found:
        if each.not_valid_after_utc < now:
            ended = f"{each.subject.rfc4514_string()} expired on {each.not_valid_after_utc:%Y-%m-%d}"
            yield f"{path}.client_ca_file", ended
