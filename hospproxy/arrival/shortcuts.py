"""Answer a request whose head was seen before from memory, without parsing it and without the chain.

The key is a keyed hash of the head's bytes, since the head holds a password, and of the way by which it came. What a
response depends on besides is asked each time (``repeat.py``). Whenever anything differs, the request takes the chain.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import IMeter
from ..messages import Response
from ..repeat import Shortcut
from .front.trust import believed_id

_log = Logger()

_GIVEN = re.compile(
    rb"\r\n(x-request-id|traceparent|tracestate|x-amzn-trace-id):[ \t]*([^\r]*)(?=\r\n)", re.IGNORECASE
)
"""Fields that differ in each request of a client, or of a gateway, and change nothing but the request's id."""
_PLAIN = re.compile(rb"[!-~]{1,200}")
"""A value of those fields that cannot be a reason to refuse the request."""
_VARYING = re.compile(
    rb"\r\nAge: (\d+)\r\n(.*\r\n)?Cache-Status: hospproxy; hit; ttl=(\d+)\r\n(.*\r\n)?X-Request-Id: ([!-~]+)\r\n",
    re.DOTALL,
)
"""The fields that differ between two answers, in the order in which they are sent."""
_OF_THIS_ANSWER = re.compile(rb"\r\n(?:date|connection): ")
"""Fields that ``answer.py`` adds for one answer: when it is sent, and what follows it (to HTTP/1.0 clients)."""


def _named(found: re.Match[bytes], given: list[bytes]) -> bytes:
    """The name of a field without its value, if that changes nothing else; note a request id, b"" for an odd one."""
    value = found[2].rstrip(b" \t")
    plain = _PLAIN.fullmatch(value) is not None
    if found[1].lower() == b"x-request-id":
        given.append(value if plain else b"")
    return b"\r\n" + found[1] + b":" if plain else found[0]


@frozen(slots=True, eq=False)
class Ready:
    """An answer, ready to be sent.

    :param head: without the empty line that ends it.
    """

    head: bytes
    body: bytes

    def pieces(self, *, close: bool) -> list[bytes]:
        """Its bytes.

        :param close: the connection closes after it.
        """
        head = self.head + (b"connection: close\r\n\r\n" if close else b"\r\n")
        return [head, self.body] if self.body else [head]


@frozen(slots=True, eq=False)
class _Form:
    """The head of an answer, with gaps for what differs."""

    before: bytes
    to_status: bytes
    to_id: bytes
    after: bytes

    @classmethod
    def of(cls, head: bytes) -> tuple[_Form, tuple[int, int, bytes]] | None:
        """Read a head that was sent; return its form and what filled it; None if it has another form."""
        found = _VARYING.search(head)
        if found is None or not head.endswith(b"\r\n\r\n") or _OF_THIS_ANSWER.search(head) is not None:
            return None
        form = cls(
            head[: found.start(1)],
            head[found.end(1) : found.start(3)],
            head[found.end(3) : found.start(5)],
            head[found.end(5) : -2],
        )
        return form, (int(found[1]), int(found[3]), found[5])

    def filled(self, age_s: int, ttl_s: int, request_id: bytes) -> bytes:
        return b"%b%d%b%d%b%b%b" % (
            self.before, age_s, self.to_status, ttl_s, self.to_id, request_id, self.after,
        )  # fmt: skip


@frozen(slots=True, eq=False)
class Key:
    """The key of a head.

    :param given: the request ids in the head, which are no part of the key.
    """

    digest: bytes
    given: list[bytes]


@frozen(slots=True, eq=False)
class _Known:
    shortcut: Shortcut
    form: _Form
    status: int


class Shortcuts:
    """The shortcuts of one listener.

    :param most: how many are kept; 0: none.
    :param clock: monotonic.
    :param wall: seconds since the epoch, for audit records.
    :param new_id: makes request ids.
    :param secret: key of the hash, up to 64 random bytes.
    """

    def __init__(
        self,
        most: int,
        clock: IReactorTime,
        wall: Callable[[], float],
        new_id: Callable[[], str],
        meter: IMeter,
        secret: bytes,
    ) -> None:
        self._most = most
        self._clock = clock
        self._wall = wall
        self._new_id = new_id
        self._meter = meter
        self._secret = secret
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def used_by(self, way: bytes, *, trusted: bool) -> ConnectionShortcuts:
        """Return what one connection uses.

        :param way: how its requests come: addresses, scheme.
        :param trusted: a trusted proxy sends them, so the request ids in their heads count.
        """
        return ConnectionShortcuts(self, way, trusted)

    def another(self) -> Shortcuts:
        """Return an empty table for another listener."""
        return Shortcuts(self._most, self._clock, self._wall, self._new_id, self._meter, self._secret)

    def key(self, head: bytes, way: bytes) -> Key | None:
        """Return the key of a head; None if such a request never has a shortcut.

        :param way: how it came: addresses, scheme.
        """
        if not self._most or not head.startswith(b"GET "):
            return None
        given: list[bytes] = []
        same = _GIVEN.sub(lambda found: _named(found, given), head)
        if b"" in given:
            return None
        return Key(hashlib.blake2b(way + b"\0" + same, digest_size=24, key=self._secret).digest(), given)

    def learn(self, key: Key, response: Response, sent: list[bytes]) -> None:
        """Remember how a request was answered.

        :param sent: the response, serialised.
        """
        if key.digest in self._known:
            return
        made = _Form.of(sent[0])
        shortcut = response.shortcut() if response.shortcut is not None and made is not None else None
        if shortcut is None or made is None or response.handed_over is not None:
            return
        form, values = made
        if form.filled(*values) + b"\r\n" == sent[0]:
            self._known[key.digest] = _Known(shortcut, form, response.status)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def answer(self, key: Key, *, trusted: bool) -> Deferred[Ready] | None:
        """Answer a request; None if it must take the chain.

        The Deferred fires once the audit record is on disk. Cancelling it says that the client has left. It fails with
        what the journal says if there is no record.

        :param trusted: a trusted proxy sent it, so the request id in its head counts.
        """
        known = self._known.get(key.digest)
        if known is None:
            return None
        now = self._clock.seconds()
        try:
            may = all(holds(now) for holds in known.shortcut.holds)
        except Exception:
            _log.failure("a shortcut failed (a bug); the request takes the chain. Report the traceback")
            self._meter.count("unhandled_errors_total")
            may = False
        if not may:
            del self._known[key.digest]
            return None
        if not all(count(now) for count in known.shortcut.counts):
            return None
        self._known.move_to_end(key.digest)
        request_id = believed_id(key.given) if trusted else None
        return self._begun(known, now, request_id or self._new_id())

    def _begun(self, known: _Known, now: float, request_id: str) -> Deferred[Ready]:
        shortcut, hit = known.shortcut, known.shortcut.hit
        self._meter.count("cache_events_total", event="shortcut")
        head = known.form.filled(hit.age_s(now), hit.ttl_s(now), request_id.encode("latin-1"))
        ready = Ready(head, b"" if known.status == 304 else hit.body())

        def ended(status: int | None) -> None:
            shortcut.counted(status, self._clock.seconds() - now)

        def kept(_: None) -> None:
            if not answer.called:
                ended(known.status)
                answer.callback(ready)

        def failed(failure: Failure) -> None:
            if not answer.called:
                ended(getattr(failure.value, "status", 500))
                answer.errback(failure)

        def left(gone: Deferred[Ready]) -> None:
            ended(None)
            gone.errback(CancelledError())

        answer: Deferred[Ready] = Deferred(left)
        keeping = succeed(None) if shortcut.keep is None else shortcut.keep(self._wall(), request_id)
        keeping.addCallbacks(kept, failed)
        return answer


class ConnectionShortcuts:
    """The shortcuts of a listener, as one connection uses them.

    :param table: None: there are none.
    """

    __slots__ = ("_key", "_table", "_trusted", "_way")

    def __init__(self, table: Shortcuts | None = None, way: bytes = b"", trusted: bool = False) -> None:
        self._table = table
        self._way = way
        self._trusted = trusted
        self._key: Key | None = None

    def answer(self, head: bytes, *, alone: bool) -> Deferred[Ready] | None:
        """Answer a request as ``Shortcuts.answer`` does; None if it must take the chain.

        Call it for every head, so that ``learn`` never takes the response to one for the response to another.

        :param alone: nothing else is going on at the connection; otherwise the request takes the chain.
        """
        table = self._table
        self._key = None
        if table is None or not alone:
            return None
        self._key = key = table.key(head, self._way)
        return None if key is None else table.answer(key, trusted=self._trusted)

    def learn(self, response: Response, sent: list[bytes]) -> None:
        """Remember how the request was answered for which ``answer`` gave None.

        :param sent: the response, serialised.
        """
        key, self._key = self._key, None
        if self._table is not None and key is not None:
            self._table.learn(key, response, sent)
