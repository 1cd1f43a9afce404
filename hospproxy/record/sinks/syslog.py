"""The syslog sink: delivers records as reliably as a protocol without acknowledgements allows.

RFC 5424 over TCP or TLS has no acknowledgement, and it proves nothing that our kernel has sent the bytes. So:

- **Each batch has its own connection.** We send the batch and close our direction. The batch counts as
delivered only when the receiver has closed in order too, with every byte acknowledged. A receiver closes once
it has read to the end; one that dies with unread bytes in its kernel's buffer resets the connection. So a
confirmed batch was *read by the receiver's process*.

- **After any doubt, recently confirmed batches are sent again.** A receiver that is killed loses what it has
read but not yet written. Before a batch is sent, the connection for the next batch is opened and waits. If the
receiver dies, that connection ends too, and this is how we notice. The batches confirmed last (``overlap_s``)
are then sent again before the next one.

Both rules may send a record twice; its seq and hash identify it. No record is sent before all earlier ones are
confirmed, so the first copies arrive in order. docs/writers.md lists the cases that remain.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ...interfaces import IAuditWriter
from ...options.addresses import parse_address
from ...process.host import REAL, Host
from ..trail.follower import Batch
from .overlap import Overlap
from .syslog_message import SyslogFormat, chunks

if TYPE_CHECKING:
    from ...config import Settings
    from ...options.syslog_section import SyslogSettings

MIN_INTERVAL_S = 0.1
"""Seconds between two small batches: each uses a connection, whose port stays taken for a minute (TIME_WAIT)."""
LARGE = 200
"""A batch of this many records is sent without waiting for MIN_INTERVAL_S."""

_log = Logger()


class DeliveryLike(Protocol):
    """A connection for one delivery (syslog_connection.Delivery)."""

    lost: bool
    on_lost: Callable[[], None] | None

    def deliver(self, chunks: Iterator[bytes]) -> Deferred[None]: ...
    def abort(self) -> None: ...
    def drop(self) -> None: ...


@implementer(IAuditWriter)
class SyslogSink:
    """The sink for one syslog receiver; each batch has a connection of its own.

    :param connect: opens a connection; any exception means that it failed.
    :param clock: for waits.
    :param overlap: the batches to send again after a doubt; in memory only.
    """

    name = "syslog"

    def __init__(
        self, form: SyslogFormat, connect: Callable[[], Awaitable[DeliveryLike]], clock: Any, overlap: Overlap
    ) -> None:
        self._form = form
        self._connect = connect
        self._clock = clock
        self._overlap = overlap
        self._doubt = False
        self._next: DeliveryLike | None = None
        self._closed_at = -MIN_INTERVAL_S

    async def open(self) -> None:
        """Connect, so that a wrong address or certificate is found before the first record."""
        await self._open_next()

    async def write(self, batch: Batch) -> None:
        """Send a batch; returns when the receiver has read it.

        :raise Exception: it is not known whether the receiver has read it; the whole batch must be sent again.
        """
        await self._pause(batch)
        delivery: DeliveryLike | None = None
        again: tuple[Batch, ...] = ()
        confirmed = False
        try:
            delivery = await self._take()
            again, self._doubt = self._again(), False
            await delivery.deliver(chunks(self._form, (*again, batch)))
            confirmed = True
        finally:
            # Cancelled or failed: the receiver may have read all, some or none of it.
            if not confirmed:
                self._doubt = True
                if delivery is not None:
                    delivery.abort()
        now = self._closed_at = self._clock.seconds()
        if again:
            self._overlap.renewed(now)
        self._overlap.confirmed(batch, now)

    async def close(self) -> None:
        """Close the waiting connection, which carries no records."""
        delivery, self._next = self._next, None
        if delivery is not None:
            delivery.drop()

    async def _take(self) -> DeliveryLike:
        """Take the waiting connection and open the next one, which must exist before the first is used."""
        if self._next is None or self._next.lost:
            await self._open_next()
        delivery, self._next = self._next, None
        assert delivery is not None
        delivery.on_lost = None
        try:
            await self._open_next()
        except Exception:
            delivery.abort()
            raise
        return delivery

    async def _open_next(self) -> None:
        delivery = await self._connect()
        delivery.on_lost = self._went
        self._next = delivery

    def _went(self) -> None:
        self._doubt = True

    def _again(self) -> tuple[Batch, ...]:
        again = self._overlap.batches if self._doubt else ()
        if again:
            count = sum(len(each.lines) for each in again)
            _log.info(
                "Syslog receiver closed a waiting connection, or a delivery failed: sending {count} records again",
                count=count,
            )
        return again

    async def _pause(self, batch: Batch) -> None:
        wait = self._closed_at + MIN_INTERVAL_S - self._clock.seconds()
        if len(batch.lines) < LARGE and wait > 0:
            await deferLater(self._clock, wait)


def writer_for(settings: Settings, reactor: Any, _host: Host = REAL) -> IAuditWriter | None:
    """The syslog sink if the settings enable it, else None."""
    section = settings.audit_syslog
    if not section.enabled or section.url is None:  # checks.py refuses the latter
        return None
    from ...process.client_endpoint import Certificates
    from .syslog_connection import SyslogOpener

    files = Certificates(section.ca_file, section.certificate_file, section.private_key_file)
    opener = SyslogOpener(reactor, parse_address(section.url), files, section.timeout_s)
    overlap = Overlap(section.overlap_s, section.overlap_bytes)
    return SyslogSink(_form(section), opener, reactor, overlap)


def _form(section: SyslogSettings) -> SyslogFormat:
    return SyslogFormat(
        facility=section.facility,
        hostname=section.hostname or socket.gethostname(),
        app_name=section.app_name,
        enterprise=section.enterprise_number,
        bom=section.bom,
        max_bytes=section.max_message_bytes,
    )
