"""Interfaces that have, or will have, more than one implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from .exchange.exchange import Call, Exchange, Identified
from .http.errors import ProxyError
from .http.late_responses import LateResponses
from .http.messages import Client, Priority, Request, Response
from .http.repeat import Repeat, Told

if TYPE_CHECKING:
    from .record.disclosures import Disclosure
    from .record.search.filters import Filters
    from .record.search.rows import IndexRow, RowKey, RowName, RowPage, Summary
    from .record.trail.follower import Batch, ClosedFile

Stage = TypeVar("Stage", bound=Exchange)
_Takes = TypeVar("_Takes", bound=Exchange, contravariant=True)
_Gives = TypeVar("_Gives", bound=Exchange, covariant=True)

ProceedTo = Callable[[Stage], Awaitable[Response]]
"""A processor calls it to let the rest of the chain respond: once, several times, or not at all. The part behind
it takes this stage."""
Proceed = ProceedTo[Identified]
"""The one that most processors get."""


class Ask(Protocol):
    """Sends a request of the proxy's own (``OwnRequests.ask``)."""

    def __call__(
        self,
        call: Call,
        *,
        on_behalf_of: Identified,
        own: str,
        priority: Priority | None = None,
        deadline: float | None = None,
        past_cache: bool = False,
        reference: str | None = None,
        look_first: bool = False,
        aftermath: LateResponses | None = None,
    ) -> Awaitable[Response]:
        """Return HOSP's response, or one from memory.

        :param on_behalf_of: the client's request that needs it; the call carries that client's credentials.
        :param own: the reason, for the audit record.
        :param priority: in the queue for HOSP; by default that of the client's request.
        :param deadline: monotonic seconds; by default that of the client's request.
        :param past_cache: do not answer from memory (a look).
        :param reference: of the write, if this request has one.
        :param look_first: this write may have been sent before.
        :param aftermath: learns from a response that arrives when nobody waits for it any more. Default: nothing
            learns.
        :raise ProxyError: HOSP gave no response, or its response could not be recorded (`OwnNotRecorded`).
        """


class IProcessor(Interface):
    """One processor of the chain: it sees each request on its way in and each response on its way out.

    ``Processor`` adds the stages, which a zope interface cannot express.
    """

    def process(exchange: Any, proceed: Any) -> Awaitable[Response]:
        """Return a response, or call ``proceed`` and perhaps change what it returns.

        A coroutine: it is turned into a Deferred once, where the chain meets Twisted.

        :raise ProxyError: a failure; only chain.py turns it into a response.
        """


class Processor(Protocol[_Takes, _Gives]):
    """An IProcessor by its stages: the one that it takes, and the one that it passes on.

    ``Chain`` takes its processors as such, so mypy shows that none is asked before the stage that it needs.
    """

    async def process(self, exchange: _Takes, proceed: ProceedTo[_Gives]) -> Response: ...


class AnyStage(Protocol):
    """An IProcessor for requests of every stage, which it passes on as they are: the audit record."""

    async def process(self, exchange: Stage, proceed: ProceedTo[Stage]) -> Response: ...


class IHandler(Interface):
    """Takes requests from arrival."""

    def handle(request: Request) -> Deferred[Response]:
        """Return the response to a complete request.

        Cancel the Deferred when the client has left; a write goes on nevertheless. A failure means that no audit
        record could be kept, so no response may be sent: close the connection.
        """

    def refuse(request: Request, error: ProxyError) -> Deferred[Response]:
        """Make and record the response to a request that arrival refuses.

        :param request: as much of it as is known.
        """

    def body_limit(method: str, path: bytes) -> int:
        """Return the maximum bytes of content for this target."""


@runtime_checkable
class Repeats(Protocol):
    """A processor that can say what its decision depends on. Without this method, a processor prevents shortcuts."""

    def repeat(self, exchange: Exchange, response: Response, /) -> Repeat | None:
        """Return how the decision applies to an equal request; None if it applies to this request only.

        :param exchange: a GET that the cache has answered; ``trace`` has its call and its principal.
        :param response: as it goes to the client.
        """


@runtime_checkable
class PassesOn(Protocol):
    """A processor that can tell without waiting that it has nothing to do with a request."""

    def passes(self, exchange: Any, /) -> bool:
        """Return whether ``process`` would only pass the request on. Then the chain does not call it."""


class IUpstream(Interface):
    """Sends requests to HOSP; nothing else in the proxy does."""

    def send(
        call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Awaitable[Response]:
        """Send a request once, without a retry, and return HOSP's response.

        :param call: what to send.
        :param client: the client; Host, X-Forwarded-For, X-Forwarded-Proto and X-Request-Id are made from it.
        :param timeout_s: seconds until the whole response must have arrived.
        :param on_sent: called when there is a connection, just before the first byte is written.
        :raise NotSent: no byte was sent.
        :raise FailedAfterSending: bytes were sent, and no complete response came.
        :raise BadAnswer: a complete response came that must not be used.
        """


class ICacheStore(Interface):
    """Stores cache entries, bounded in bytes."""

    def get(key: bytes) -> Any:
        """Return the entry under a key; None if there is none, or if it was marked."""

    def kept(key: bytes) -> Any:
        """Return the entry under a key with its mark, marked or not; None if there is none."""

    def put(key: bytes, entry: Any, size: int, tags: tuple[str, ...], mark: Any = ...) -> None:
        """Store an entry; drop others to stay within the bound.

        :param size: bytes that the entry takes.
        :param tags: names by which the entry is invalidated.
        """

    def mark_tag(tag: str, mark: Any) -> None:
        """Mark every entry with this tag."""

    def mark(key: bytes, mark: Any) -> None:
        """Raise the mark of the entry under this key; ``get`` then no longer returns the entry."""

    def tagged(tag: str) -> Any:
        """Return every entry with this tag: key, entry, tags, mark."""

    def drop_tag(tag: str) -> int:
        """Drop every entry with this tag; return how many there were."""


class IJournal(Interface):
    """The local file of the audit trail."""

    full: bool = Attribute("The disk is full: intents are refused, other records use a reserve.")

    def append(record: Mapping[str, Any], disclosure: Disclosure | None = None) -> Deferred[None]:
        """Store a record; fires when it is on disk.

        :param disclosure: the disclosure set that the record names; it is written to the same file before the record.
        :raise RecordFailed: the record could not be stored.
        """


class ILineJournal(IJournal):
    """A journal of a process that answers requests."""

    def append_line(line: bytes, kind: str, told: Told, disclosure: Disclosure | None = None) -> None:
        """Store a record that is encoded already, as ``append`` does.

        :param kind: of the record; not an intent.
        """


class IAuditWriter(Interface):
    """An audit sink: sends records of the journal to another system.

    Each sink has a carrier (record.sinks.carrier) that follows the journal for it.
    """

    name: str = Attribute("Its name in the options, in metrics and in its saved cursor.")

    def open() -> Awaitable[None]:
        """Connect or prepare. A failure is retried, like one of ``write``."""

    def write(batch: Batch) -> Awaitable[None]:
        """Send a batch; return once the other system has stored it durably.

        Delivery is at least once, in order: the same batch, or one that begins with its records, comes again if this
        fails or if the process dies before the cursor is saved. A record is identified by (trail, journal, seq), and
        by its hash.
        """

    def close() -> Awaitable[None]:
        """Close connections; a batch in flight may be abandoned."""


class IAuditFileWriter(Interface):
    """An audit sink for whole files, each sent once it is closed."""

    name: str = Attribute("As for IAuditWriter.")

    def open() -> Awaitable[None]:
        """Connect or prepare, as for IAuditWriter: a failure is retried."""

    def write_file(file: ClosedFile) -> Awaitable[None]:
        """Send a file; at least once, in order."""

    def close() -> Awaitable[None]:
        """Close connections; as for IAuditWriter, a file in flight may be abandoned."""


class IAuditWriterMaker(IPlugin):
    """A Twisted plugin (in a folder ``hospproxy_plugins``) that makes audit sinks of its own kind."""

    kind: str = Attribute("The value of ``kind`` in ``[[audit_plugins]]``.")

    def make(name: str, options: Mapping[str, Any], reactor: Any) -> Any:
        """Return a sink (IAuditWriter or IAuditFileWriter).

        :param options: the table ``options`` of its entry, as parsed from TOML.
        :raise ValueError: the options are not usable; the operator sees its text.
        """


class ITrailReader(Interface):
    """Answers queries about the audit trail from an index.

    Every method may raise ``record.search.rows.IndexAway``.
    """

    def page(filters: Filters, after: RowKey | None, limit: int) -> Awaitable[RowPage]:
        """Return the next rows, newest first.

        :param after: the last row that was shown.
        """

    def row(name: RowName) -> Awaitable[IndexRow | None]:
        """Return one record by its name."""

    def rows(filters: Filters) -> AsyncIterator[IndexRow]:
        """Iterate over all rows, newest first; they are read as needed, in bounded memory."""

    def members(disclosed: str, most: int) -> Awaitable[Sequence[str] | None]:
        """Return the patients of a disclosure set, if it is a small one.

        :param disclosed: its hash.
        :return: None if the set has more than ``most`` members or is not known.
        """

    def summary(since: float) -> Awaitable[Summary]:
        """Return a summary of what happened since a time.

        :param since: seconds since the epoch.
        """

    def close() -> Awaitable[None]:
        """Close the index; no more queries may follow."""


class IMeter(Interface):
    """Metrics. Names are Prometheus names without the ``hospproxy_`` prefix."""

    def count(name: str, amount: float = 1.0, **labels: str) -> None:
        """Add an amount to the counter that has these labels."""

    def observe(name: str, seconds: float, **labels: str) -> None:
        """Record a duration in the histogram that has these labels."""

    def counter(name: str, **labels: str) -> Callable[[], None]:
        """Return a function that adds one to the counter with these labels. Calling it is cheaper than ``count``."""

    def timer(name: str, **labels: str) -> Callable[[float], None]:
        """Return a function that records seconds with these labels. Calling it is cheaper than ``observe``."""

    def gauge(name: str, read: Callable[[], float], **labels: str) -> None:
        """Register a gauge; ``read`` is called at each scrape."""
