"""The TLS of one listener: its certificate files, and the contexts that are made from them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import define, field
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from .certificates import CertificateError, CertificatePair, parse_certificates, parse_credentials
from .contexts import ClientAuthorities, TlsConnectionCreator, TlsContexts, intermediate, vouching
from .renewal import SOON_S, WatchedFiles

_log = Logger()
TICKET_KEYS_S: Final = 12 * 3600.0
"""Seconds for which a set of ticket keys is used.

An attacker who steals the keys cannot read older TLS 1.2 sessions.
"""

DAY_S: Final = 86400.0


class PairLike(Protocol):
    """The files of a certificate and its key."""

    @property
    def certificate_file(self) -> Path | None: ...
    @property
    def private_key_file(self) -> Path | None: ...


def kept_pair(
    certificate_file: Path, private_key_file: Path, wall: Callable[[], float]
) -> WatchedFiles[CertificatePair]:
    """Load a certificate and its key. A certificate that replaces another one must be valid at that time.

    :raise CertificateError: they are not usable.
    """

    def parse(certificates: bytes, private_key: bytes) -> CertificatePair:
        credentials = parse_credentials(certificate_file, private_key_file, certificates, private_key)
        try:
            intermediate(credentials)
        except (SSL.Error, crypto.Error) as error:
            raise CertificateError(
                f"{certificate_file}: OpenSSL rejects it as a server certificate: {_reason(error)}"
            ) from error
        return credentials

    def judge(credentials: CertificatePair) -> None:
        own, now = credentials.chain[0], datetime.datetime.fromtimestamp(wall(), datetime.UTC)
        if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
            raise CertificateError(
                f"{certificate_file}: the certificate is not valid now, only from "
                f"{own.not_valid_before_utc:%Y-%m-%d %H:%M} to {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            )

    return WatchedFiles((certificate_file, private_key_file), parse, judge)


def kept_authorities(file: Path) -> WatchedFiles[tuple[x509.Certificate, ...]]:
    """:raise CertificateError: the file is not usable."""

    def parse(data: bytes) -> tuple[x509.Certificate, ...]:
        certificates = parse_certificates(file, data)
        try:
            vouching(certificates)
        except (SSL.Error, crypto.Error) as error:
            raise CertificateError(f"{file}: OpenSSL rejects it as a client CA: {_reason(error)}") from error
        return certificates

    return WatchedFiles((file,), parse)


def _reason(error: Exception) -> str:
    """Return OpenSSL's last error message."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else "OpenSSL gives no reason"


@define(slots=True, eq=False)
class ListenerTls:
    """The TLS of one listener: its certificates and client CAs, and the contexts for new connections.

    :param pairs: certificates with keys; the first is used if none has the server name.
    :param files: the name of each pair, for metrics and messages.
    :param authorities: CAs that issue client certificates; None to ask for no certificates.
    :param required: refuse clients without a certificate.
    """

    pairs: Sequence[WatchedFiles[CertificatePair]]
    files: Sequence[Path]
    authorities: WatchedFiles[tuple[x509.Certificate, ...]] | None = None
    required: bool = False
    doorway: TlsConnectionCreator = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.doorway = TlsConnectionCreator(self._contexts())

    @property
    def kept(self) -> list[WatchedFiles[Any]]:
        """Everything that is read from files."""
        return [*self.pairs, *([] if self.authorities is None else [self.authorities])]

    def renew(self) -> None:
        """Make new contexts with new ticket keys; open connections keep theirs."""
        self.doorway.contexts = self._contexts()

    def ends(self) -> list[tuple[Path, float]]:
        """Return when each certificate expires, in seconds since the epoch."""
        return [
            (file, pair.value.chain[0].not_valid_after_utc.timestamp())
            for file, pair in zip(self.files, self.pairs, strict=True)
        ]

    def _contexts(self) -> TlsContexts:
        trusted = (
            None if self.authorities is None else ClientAuthorities(self.authorities.value, self.required)
        )
        return TlsContexts.of([each.value for each in self.pairs], trusted)


@define(slots=True)
class TlsMaintenance:
    """What is due on a timer: new ticket keys, and warnings about certificates that expire soon.

    :param now: monotonic seconds at the start.
    """

    entrances: Sequence[ListenerTls]
    now: float
    _keys_at: float = field(init=False)
    _warned_at: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._keys_at = self.now

    def due(self, now: float, wall: float) -> None:
        """Renew the ticket keys and warn about certificates, if due. Call it after each check of the files.

        :param now: monotonic seconds.
        :param wall: seconds since the epoch.
        """
        if now - self._keys_at >= TICKET_KEYS_S:
            self._keys_at = now
            for each in self.entrances:
                each.renew()
        if self._warned_at is None or now - self._warned_at >= DAY_S:
            self._warned_at = now
            self._warn(wall)

    def _warn(self, wall: float) -> None:
        for file, end in dict(pair for each in self.entrances for pair in each.ends()).items():
            if end - wall < SOON_S:
                when = datetime.datetime.fromtimestamp(end, datetime.UTC)
                _log.warn(
                    "{file}: the certificate expires at {when:%Y-%m-%d %H:%M} UTC; renew it",
                    file=file,
                    when=when,
                )
