"""Streams of bytes that are nearly requests, and the rules that arrival is checked against."""

from __future__ import annotations

import itertools

from attrs import evolve, frozen
from hypothesis import strategies as st

from tests.arrival.memory_transport import PLAIN, Line, Recorder
from tests.corpus import ALL, LIMITS
from tests.corpus.case import chunked, get, post
from tests.corpus.reference import Allowed, allowed

SOUND = (
    get(b"/a?b=c"),
    get(b"/", b"X-Request-Id: 1", b"Accept: */*", b"Cookie: a=b"),
    get(b"http://a/x"),
    get(b"/1.0", b"Connection: keep-alive", version=b"1.0"),
    post(b"hello", b"Content-Length: 5", b"Content-Type: application/json", target=b"/notes"),
    post(b"GET /s HTTP/1.1\r\nHost: a\r\n\r\n", b"Content-Length: 28"),
    chunked(b"5\r\nhello\r\n0\r\n\r\n"),
    chunked(b'3;a="b"\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n', b"Trailer: Trailer"),
    post(b"", b"Content-Length: 0"),
    post(b"12345", b"Content-Length: 5", b"Expect: 100-continue"),
    get(b"/end", b"Connection: close"),
)
"""Each may be forwarded unchanged."""

_CORPUS = tuple(case.raw for case in ALL if 0 < len(case.raw) < 400)
_SPLINTERS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"\x00",
        b" ",
        b"\t",
        b"\x0b",
        b"\x7f",
        b"\x85",
        b"\xa0",
        b"\xff",
    ),
    *(
        b":",
        b" :",
        b",",
        b";",
        b'"',
        b"%",
        b"%00",
        b"#",
        b"?",
        b"@",
        b"/../",
        b"//",
        b"*",
        b"0",
        b"-1",
        b"+5",
        b"0x5",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:5,5\r\n",
        b"Content-Length : 5\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked, identity\r\n",
        b"TE: trailers\r\n",
        b"Host: b\r\n",
        b"Host:\r\n",
        b" folded\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: content-length\r\n",
        b"Connection: keep-alive\r\n",
        b"Upgrade: h2c\r\n",
    ),
    *(
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"5;\r\n",
        b"FFFFFFFF\r\n",
        b"00000000000000005\r\n",
        b"GET / HTTP/1.1\r\n",
    ),
    *(
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"HTTP/0.9",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"Expect: 100-continue\r\n",
    ),
)

_where = st.integers(0, 10_000)
_changes = st.one_of(
    st.tuples(st.just("insert"), _where, st.sampled_from(_SPLINTERS)),
    st.tuples(st.just("replace"), _where, st.sampled_from(_SPLINTERS)),
    st.tuples(st.just("insert"), _where, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("delete"), _where, st.integers(1, 12).map(bytes)),
    st.tuples(st.just("repeat"), _where, st.integers(1, 40).map(bytes)),
    st.tuples(st.just("case"), _where, st.integers(1, 20).map(bytes)),
)
_messages = st.one_of(st.sampled_from(SOUND), st.sampled_from(SOUND), st.sampled_from(_CORPUS))


@frozen
class Stream:
    """The bytes of one connection.

    :param changes: kind, where, and what; of some only the length counts.
    :param cuts: where the bytes are split into reads.
    :param closes: the client closes its side at the end.
    """

    sent: bytes
    cuts: tuple[int, ...] = ()
    delay_s: float = 0.0
    secure: bool = False
    closes: bool = False
    max_pipelined: int = 100
    unknown_body_bytes: int = 0

    @property
    def pieces(self) -> list[bytes]:
        places = sorted({each % (len(self.sent) + 1) for each in self.cuts} | {0, len(self.sent)})
        return [self.sent[start:end] for start, end in itertools.pairwise(places)]


def change(sent: bytes, kind: str, where: int, what: bytes) -> bytes:
    """The same bytes with one change."""
    at = where % (len(sent) + 1)
    size = len(what)
    if kind == "insert":
        return sent[:at] + what + sent[at:]
    if kind == "replace":
        return sent[:at] + what + sent[at + size :]
    if kind == "delete":
        return sent[:at] + sent[at + size :]
    if kind == "repeat":
        return sent[: at + size] + sent[at:]
    return sent[:at] + sent[at : at + size].swapcase() + sent[at + size :]


_LINE_ENDS = (b"\n", b"\r", b"XX", b"")
_FRAMING = (
    *(
        b"Content-Length: 5",
        b"Content-Length: 10",
        b"Content-Length: 0",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked",
    ),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding : chunked"),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Host: b",
        b"X: y\rContent-Length: 5",
        b"Expect: 100-continue",
    ),
)
_CHUNKS = (b"5", b"0", b"A", b"05", b"5;a=b", b'5;a="\\""', b"5 ", b"0x5", b"-5", b"5;", b"5 ;a", b"")


def _built(
    line: bytes,
    fields: list[bytes],
    content: list[tuple[bytes, bytes, bytes, bytes]],
    plain: bool,
    end: bytes,
) -> bytes:
    """A message with valid and invalid parts, which mutation alone rarely produces."""
    head = b"\r\n".join((line, b"Host: a", *fields)) + b"\r\n\r\n"
    if plain:
        return head + b"hello"
    return head + b"".join(b"".join(each) for each in content) + b"0" + end + end


def _mostly(sound: bytes, others: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Mostly valid parts: if all were invalid, the first error would hide all others."""
    return st.one_of(*[st.just(sound)] * 5, st.sampled_from(others))


_line_end = _mostly(b"\r\n", _LINE_ENDS)
_chunk = st.tuples(
    _mostly(b"5", _CHUNKS), _line_end, _mostly(b"hello", (b"0123456789", b"", b"hello\r\n")), _line_end
)
_framing = st.one_of(
    st.just([b"Transfer-Encoding: chunked"]),
    st.just([b"Content-Length: 5"]),
    st.lists(_mostly(b"X: y", _FRAMING), max_size=4),
)
_constructed = st.builds(
    _built,
    _mostly(b"POST /c HTTP/1.1", (b"GET /c HTTP/1.1", b"POST /c HTTP/1.0", b"OPTIONS * HTTP/1.1")),
    _framing,
    st.lists(_chunk, max_size=2),
    st.booleans(),
    _line_end,
)


def _mutated(messages: list[bytes], changes: list[tuple[str, int, bytes]]) -> bytes:
    sent = b"".join(messages)
    for kind, where, what in changes:
        sent = change(sent, kind, where, what)
    return sent


_sent = st.one_of(
    st.builds(_mutated, st.lists(_messages, min_size=1, max_size=4), st.lists(_changes, max_size=5)),
    st.builds(
        _mutated, st.lists(_messages, min_size=1, max_size=2), st.lists(_changes, min_size=1, max_size=2)
    ),
    st.lists(_constructed, min_size=1, max_size=3).map(b"".join),
    st.binary(max_size=200),
)
streams = st.builds(
    Stream,
    sent=_sent,
    cuts=st.lists(_where, max_size=6).map(tuple),
    delay_s=st.sampled_from((0.0, 0.0, 0.3)),
    secure=st.booleans(),
    closes=st.booleans(),
    max_pipelined=st.sampled_from((1, 100)),
    unknown_body_bytes=st.sampled_from((0, 4)),
)

LONGEST_S = LIMITS.header_timeout_s + LIMITS.body_timeout_s + LIMITS.keep_alive_s + LIMITS.linger_s + 5


def run(stream: Stream) -> Line:
    """Send the stream, and advance the clock until the connection has ended."""
    limits = evolve(LIMITS, max_pipelined=stream.max_pipelined, unknown_body_bytes=stream.unknown_body_bytes)
    line = Line(Recorder(delay_s=stream.delay_s), plain=None if stream.secure else PLAIN, limits=limits)
    line.send(*stream.pieces)
    if stream.closes and not stream.secure and not line.gone:
        line.protocol.readConnectionLost()
    line.pass_time(LONGEST_S, step_s=1)
    return line


def faults(stream: Stream, line: Line) -> list[str]:
    """The rules that the outcome breaks."""
    handled, refused = line.handler.handled, line.handler.refused
    found = []
    may = allowed(stream.sent)
    if len(handled) > len(may):
        found.append(f"{len(handled)} requests were forwarded, at most {len(may)} may be")
    found += [
        f"request {number} was forwarded as {request!r}, not as {limit!r}"
        for number, (request, limit) in enumerate(zip(handled, may, strict=False))
        if not _fits(request, limit)
    ]
    if len(refused) > 1:
        found.append(f"{len(refused)} refusals")
    statuses = line.statuses()
    expected = [200] * len(handled) + [error.status for _, error in refused]
    if statuses != expected:
        found.append(f"answers {statuses} to what was {expected}")
    if not line.gone:
        found.append("it hangs")
    left = (
        line.context.budget.used,
        len(line.context.connections),
        len(line.context.address_counts),
    )
    if any(left) or line.clock.getDelayedCalls():
        found.append(f"left behind: {left}, {line.clock.getDelayedCalls()}")
    return found


def _fits(request: object, limit: Allowed) -> bool:
    """Whether a forwarded request is allowed: no other bytes, and no field that was not sent."""
    seen = [getattr(request, name) for name in ("method", "path", "query", "body")]
    fields = set(getattr(request, "headers").pairs)  # noqa: B009
    return seen == [limit.method, limit.path, limit.query, limit.body] and fields <= set(limit.fields)
