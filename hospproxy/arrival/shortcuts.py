"""Answer a request whose head was seen before from memory, without parsing it and without the chain.

The key is a keyed hash of the head's bytes, since the head holds a password, and of the way by which it came. What a
response depends on besides is asked each time (``http/repeat.py``). Whenever anything differs, the request takes the
chain.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..http.messages import Response
from ..http.repeat import Shortcut
from ..interfaces import IMeter
from .front.trust import believed_id

_log = Logger()

_GIVEN = re.compile(
    rb"\r\n(x-request-id|traceparent|tracestate|x-amzn-trace-id):[ \t]*([^\r]*)(?=\r\n)", re.IGNORECASE
)
"""Fields that differ in each request of a client, or of a gateway, and change nothing but the request's id."""
_MAY_BE_GIVEN = re.compile(rb"\r\n(?:[Xx]-[RrAa]|[Tt][Rr][Aa][Cc][Ee])")
"""Found in every head that has such a field, and in few others; quicker to look for."""
_MOST_WAYS = 1000
_PLAIN = re.compile(rb"[!-~]{1,200}")
"""A value of those fields that cannot be a reason to refuse the request."""
_VARYING = re.compile(
    rb"\r\nAge: (\d+)\r\n(.*\r\n)?Cache-Status: hospproxy; hit; ttl=(\d+)\r\n(.*\r\n)?X-Request-Id: ([!-~]+)\r\n"
    rb"(?:RateLimit: ([^\r]+)\r\n)?",
    re.DOTALL,
)
"""The fields that differ between two answers, in the order in which they are sent."""
_CLOSE = b"connection: close\r\n\r\n"
_LIMIT = b"\r\nRateLimit: "
_OF_THIS_ANSWER = re.compile(rb"\r\n(?:date|connection): ")
"""Fields that ``answer.py`` adds for one answer: when it is sent, and what follows it (to HTTP/1.0 clients)."""


def _named(found: re.Match[bytes], given: list[bytes]) -> bytes:
    """The name of a field without its value, if that changes nothing else; note a request id, b"" for an odd one."""
    value = found[2].rstrip(b" \t")
    plain = _PLAIN.fullmatch(value) is not None
    if found[1].lower() == b"x-request-id":
        given.append(value if plain else b"")
    return b"\r\n" + found[1] + b":" if plain else found[0]


def _limit(standing: bytes | None) -> bytes | None:
    """The name of the limit in a value of RateLimit."""
    return standing and standing.partition(b";")[0]


@frozen(slots=True, eq=False)
class _Form:
    """The head of an answer, with gaps for what differs."""

    before: bytes
    to_status: bytes
    to_id: bytes
    after: bytes

    @classmethod
    def of(cls, head: bytes) -> tuple[_Form, tuple[int, int, bytes]] | None:
        """Read a head that was sent; return its form and what filled it; None if it has another form.

        What fills the place of the request id may have a RateLimit field behind the id.
        """
        found = _VARYING.search(head)
        if found is None or not head.endswith(b"\r\n\r\n") or _OF_THIS_ANSWER.search(head) is not None:
            return None
        end = found.end(5 if found[6] is None else 6)
        form = cls(
            head[: found.start(1)],
            head[found.end(1) : found.start(3)],
            head[found.end(3) : found.start(5)],
            head[end:-2],
        )
        return form, (int(found[1]), int(found[3]), head[found.start(5) : end])

    def filled(self, age_s: int, ttl_s: int, request_id: bytes, rest: bytes, body: bytes = b"") -> bytes:
        """Fill the age, the time left and the request id into the prepared response.

        :param rest: the end of the head.
        """
        return b"%b%d%b%d%b%b%b%b%b" % (
            self.before, age_s, self.to_status, ttl_s, self.to_id, request_id, self.after, rest, body,
        )  # fmt: skip


@define(slots=True, eq=False)  # not frozen: each request makes one, and that would cost three times as much
class Key:
    """Identifies equal request heads; ids that differ in each request are left out.

    :param given: the request ids in the head, which are no part of the key.
    """

    digest: bytes
    given: list[bytes]


@frozen(slots=True, eq=False)
class _Known:
    shortcut: Shortcut
    form: _Form
    status: int
    closes: bool
    kind: type[Hit]


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
        self._given = self._most = most
        self._paused = False
        self.clock = clock
        self.wall = wall
        self._new_id = new_id
        self._meter = meter
        self._count = meter.counter("cache_events_total", event="shortcut")
        self._secret = secret
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._ways: dict[bytes, Any] = {}
        self._others: list[Shortcuts] = []

    def __len__(self) -> int:
        return len(self._known)

    def reload(self, most: int) -> None:
        """Apply changed options: forget every answer, since rules may have changed.

        :param most: how many are kept from now on.
        """
        self._given = most
        self._most = 0 if self._paused else most
        self._known.clear()

    def used_by(self, way: bytes, *, trusted: bool) -> ConnectionShortcuts:
        """Return what one connection uses.

        :param way: how its requests come: addresses, scheme.
        :param trusted: a trusted proxy sends them, so the request ids in their heads count.
        """
        return ConnectionShortcuts(self, way, trusted)

    def another(self) -> Shortcuts:
        """Return an empty table for another listener."""
        made = Shortcuts(self._given, self.clock, self.wall, self._new_id, self._meter, self._secret)
        self._others.append(made)
        return made

    def pause(self) -> None:
        """Answer nothing, in the tables of all listeners, because another process is about to take over."""
        self._paused = True
        self._most = 0
        self._known.clear()
        for each in self._others:
            each.pause()

    def resume(self) -> None:
        """Answer again: no other process has taken over."""
        self._paused = False
        self._most = self._given
        for each in self._others:
            each.resume()

    def key(self, head: bytes, way: bytes) -> Key | None:
        """Return the key of a head; None if such a request never has a shortcut.

        :param way: how it came: addresses, scheme.
        """
        if not self._most or not head.startswith(b"GET "):
            return None
        given: list[bytes] = []
        same = head
        if _MAY_BE_GIVEN.search(head) is not None:
            same = _GIVEN.sub(lambda found: _named(found, given), head)
            if b"" in given:
                return None
        begun = self._ways.get(way)
        if begun is None:
            begun = self._begin(way)
        hashed = begun.copy()
        hashed.update(same)
        return Key(hashed.digest(), given)

    def _begin(self, way: bytes) -> Any:
        """Hash a way, the same for many requests, once."""
        if len(self._ways) >= _MOST_WAYS:
            self._ways.clear()
        begun = self._ways[way] = hashlib.blake2b(way + b"\0", digest_size=24, key=self._secret)
        return begun

    def learn(self, key: Key, response: Response, sent: list[bytes]) -> None:
        """Remember how a request was answered.

        :param sent: the response, serialised.
        """
        if key.digest in self._known:
            return
        closes = sent[0].endswith(b"\r\n" + _CLOSE)
        head = sent[0].removesuffix(_CLOSE) + b"\r\n" if closes else sent[0]
        made = _Form.of(head)
        shortcut = response.shortcut() if response.shortcut is not None and made is not None else None
        if shortcut is None or made is None or response.handed_over is not None:
            return
        form, values = made
        told, standing = values[2].partition(_LIMIT)[2], shortcut.standing
        tells = None if standing is None else standing(self.clock.seconds())
        # A request with new credentials counts against another limit, and RateLimit-Policy in its head names that one.
        if (_limit(told) == _limit(tells) if told else tells is None) and form.filled(
            *values, b"\r\n"
        ) == head:
            kind = HitOfLimit if told else Hit
            self._known[key.digest] = _Known(shortcut, form, response.status, closes, kind)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def answer(self, key: Key, *, trusted: bool) -> Hit | None:
        """Return the answer to a request, which its ``begin`` gives; None if the request must take the chain.

        :param trusted: a trusted proxy sent it, so the request id in its head counts.
        """
        known = self._known.get(key.digest)
        if known is None:
            return None
        now = self.clock.seconds()
        shortcut = known.shortcut
        try:
            for holds in shortcut.holds:
                if not holds(now):
                    del self._known[key.digest]
                    return None
        except Exception:
            _log.failure("a shortcut failed (a bug); the request takes the chain. Report the traceback")
            self._meter.count("unhandled_errors_total")
            del self._known[key.digest]
            return None
        for count in shortcut.counts:
            if not count(now):
                return None
        self._known.move_to_end(key.digest)
        self._count()
        request_id = (believed_id(key.given) if trusted and key.given else None) or self._new_id()
        return known.kind(self, known, now, request_id)


class Hit:
    """An answer from memory, which leaves once its audit record is on disk.

    :ivar closes: the request asks to close the connection after it.
    """

    __slots__ = (
        "_age_s", "_begun", "_body", "_fail", "_known", "_over", "_request_id", "_send", "_table", "_ttl_s", "closes",
    )  # fmt: skip

    def __init__(self, table: Shortcuts, known: _Known, now: float, request_id: str) -> None:
        self._age_s, self._ttl_s, self._body = known.shortcut.hit.content(now)
        self._table = table
        self._known = known
        self.closes = known.closes
        self._begun = now
        self._request_id = request_id
        self._over = False

    def begin(self, send: Callable[[Hit], None], fail: Callable[[Failure], None]) -> None:
        """Write the record, then call one of the two; perhaps before this returns.

        :param send: called once the record is on disk.
        :param fail: called with what the journal says if there is no record, or with what ``send`` has raised.
        """
        self._send = send
        self._fail = fail
        keep = self._known.shortcut.keep
        if keep is None:
            self._told(None)
        else:
            keep(self._table.wall(), self._request_id, self._told)

    def cancel(self) -> None:
        """The client has left: call neither."""
        if not self._over:
            self._end(None)

    def content(self, *, close: bool) -> bytes:
        """Return the bytes of the answer.

        :param close: the connection closes after it.
        """
        known = self._known
        return known.form.filled(
            self._age_s,
            self._ttl_s,
            self._request_id.encode("latin-1"),
            _CLOSE if close else b"\r\n",
            b"" if known.status == 304 else self._body,
        )

    def _told(self, failed: Exception | None) -> None:
        if self._over:
            return
        self._end(self._known.status if failed is None else 500)
        if failed is not None:
            self._fail(Failure(failed))
            return
        try:
            self._send(self)
        except Exception:
            self._fail(Failure())

    def _end(self, status: int | None) -> None:
        self._over = True
        self._known.shortcut.counted(status, self._table.clock.seconds() - self._begun)


class HitOfLimit(Hit):
    """An answer that tells how much of a rate limit is left, after this request was counted."""

    __slots__ = ("_standing",)

    def __init__(self, table: Shortcuts, known: _Known, now: float, request_id: str) -> None:
        super().__init__(table, known, now, request_id)
        standing = known.shortcut.standing
        self._standing = b"" if standing is None else standing(now)

    def content(self, *, close: bool) -> bytes:
        """Return the bytes of the answer, as ``Hit.content`` does."""
        known = self._known
        return known.form.filled(
            self._age_s,
            self._ttl_s,
            self._request_id.encode("latin-1") + _LIMIT + self._standing,
            _CLOSE if close else b"\r\n",
            b"" if known.status == 304 else self._body,
        )


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

    def answer(self, head: bytes, *, alone: bool) -> Hit | None:
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
