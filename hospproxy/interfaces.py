"""The seams: where there is, or will be, more than one implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from .errors import ProxyError
from .messages import Call, Client, Exchange, Request, Response

if TYPE_CHECKING:
    from .record.disclosing import Disclosure
    from .record.reading.filters import Filters
    from .record.reading.rows import Key, Page, Row, RowName, Summary
    from .record.trail.following import Batch, ClosedFile

Proceed = Callable[[Exchange], Awaitable[Response]]
"""What a processor calls to let the rest of the chain answer: once, several times, or not at all."""


class IProcessor(Interface):
    """One station on the path of a request."""

    def process(exchange: Exchange, proceed: Proceed) -> Awaitable[Response]:
        """Answer, or let the rest answer and perhaps change what comes back.

        A coroutine: it becomes a Deferred once, at the chain's edge.

        :raise ProxyError: a failure; chain.py alone turns it into an answer.
        """


class IHandler(Interface):
    """What arrival hands requests to."""

    def handle(request: Request) -> Deferred[Response]:
        """Answer a whole request.

        Cancelling the Deferred says that the client is gone; a write goes on all the same.
        A failure means that nothing may be answered (no record could be kept): close the connection.
        """

    def refuse(request: Request, error: ProxyError) -> Deferred[Response]:
        """Make and record the answer that arrival itself gives.

        :param request: as much of it as is known.
        """

    def body_limit(method: str, path: bytes) -> int:
        """The most bytes of content that this target takes."""


class IUpstream(Interface):
    """The one way to HOSP."""

    def send(
        call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Awaitable[Response]:
        """One attempt.

        :param call: what to send.
        :param client: for whom: Host, X-Forwarded-For, X-Forwarded-Proto and X-Request-Id are made from it.
        :param timeout_s: seconds until the whole answer must be in.
        :param on_sent: called when there is a connection, as the first byte is about to be written.
        :raise NotSent: no byte was sent.
        :raise FailedAfterSending: bytes were sent, no whole answer came.
        :raise BadAnswer: a whole answer came that may not be used.
        """


class ICacheStore(Interface):
    """Where answers are kept, bounded in bytes."""

    def get(key: bytes) -> Any:
        """The entry under a key, or None; one that was marked counts as none."""

    def kept(key: bytes) -> Any:
        """The entry under a key and its mark, whatever that is, or None."""

    def put(key: bytes, entry: Any, size: int, tags: tuple[str, ...], mark: Any = ...) -> None:
        """Keep an entry, dropping others to stay within the bound.

        :param size: bytes that the entry takes.
        :param tags: what makes it stale.
        """

    def mark_tag(tag: str, mark: Any) -> None:
        """Mark every entry that carries a tag."""

    def mark(key: bytes, mark: Any) -> None:
        """Mark one entry."""

    def tagged(tag: str) -> Any:
        """Every entry that carries a tag: key, entry, tags, mark."""

    def drop_tag(tag: str) -> int:
        """Forget every entry that carries a tag; how many there were."""


class IJournal(Interface):
    """The audit trail's local file."""

    full: bool = Attribute("The disk is full: no intent is taken, the rest goes to a reserve.")

    def append(record: Mapping[str, Any], disclosure: Disclosure | None = None) -> Deferred[None]:
        """Keep a record; fires when it is on disk.

        :param disclosure: the set that the record names; it stands in the same file before it.
        :raise RecordFailed: it could not be kept.
        """


class IAuditWriter(Interface):
    """Carries records of the journal elsewhere.

    A carrier (record.writers.carrying) follows the journal for each writer.
    """

    name: str = Attribute("Names it in the options, in metrics and in its saved position.")

    def open() -> Awaitable[None]:
        """Make ready. A failure is tried again, like one of ``write``."""

    def write(batch: Batch) -> Awaitable[None]:
        """Carry a batch on; done when it is kept there for good.

        The same batch, or one that begins with its records, comes again if this fails, or if the process dies before
        the position is saved: at least once, in order. A record is known by (trail, journal, seq), and by its hash.
        """

    def close() -> Awaitable[None]:
        """Let go of connections; what is under way may be given up."""


class IAuditFileWriter(Interface):
    """The same for whole files, each once it is closed."""

    name: str = Attribute("As of IAuditWriter.")

    def open() -> Awaitable[None]:
        """As of IAuditWriter."""

    def write_file(file: ClosedFile) -> Awaitable[None]:
        """Carry a file on; at least once, in order."""

    def close() -> Awaitable[None]:
        """As of IAuditWriter."""


class IAuditWriterMaker(IPlugin):
    """A Twisted plugin (in a folder ``hospproxy_plugins``) that makes writers of a kind of its own."""

    kind: str = Attribute("What ``[[audit_plugins]]`` says under ``kind``.")

    def make(name: str, options: Mapping[str, Any], reactor: Any) -> Any:
        """A writer (IAuditWriter or IAuditFileWriter).

        :param options: the table ``options`` of its entry, as TOML has it.
        :raise ValueError: the options cannot be used; its words are shown to the operator.
        """


class ITrailReader(Interface):
    """Answers questions about the trail from an index of it.

    Whatever is asked may raise ``record.reading.rows.IndexAway``.
    """

    def page(filters: Filters, after: Key | None, limit: int) -> Awaitable[Page]:
        """The next rows, newest first.

        :param after: the last row that was shown.
        """

    def row(name: RowName) -> Awaitable[Row | None]:
        """One record, by its name."""

    def rows(filters: Filters) -> AsyncIterator[Row]:
        """All rows, newest first, read as they are asked for; memory is bounded."""

    def members(disclosed: str, most: int) -> Awaitable[Sequence[str] | None]:
        """The patients of a disclosure set, if it is a small one.

        :param disclosed: its hash.
        :return: None for a set of more than ``most``, and for one that is not known.
        """

    def summary(since: float) -> Awaitable[Summary]:
        """What happened since a time, at a glance.

        :param since: seconds since the epoch.
        """

    def close() -> Awaitable[None]:
        """Let go of it; nothing may be asked any more."""


class IMeter(Interface):
    """Where parts of the house count what happens. Names are Prometheus names without the ``hospproxy_`` prefix."""

    def count(name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""

    def observe(name: str, seconds: float, **labels: str) -> None:
        """Note a duration."""

    def gauge(name: str, read: Callable[[], float], **labels: str) -> None:
        """Offer a value that is read whenever somebody looks."""
