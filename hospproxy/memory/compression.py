"""Compress responses for clients that accept it, where nothing can be learned from their length (docs/adr/0060).

A response keeps its body as it is, because permissions and the audit record read it; ``Response.coded`` is what is
sent. Content is compressed once for each stored response, and hits get the same bytes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Mapping

from attrs import evolve
from zope.interface import implementer

from ..contract.contract import Contract
from ..exchange.exchange import Exchange
from ..http.content_coding import CODINGS, accepted_coding, coded_tag, plain_tags
from ..http.messages import Headers, Request, Response
from ..http.repeat import ALWAYS, HitAgain, Repeat
from ..interfaces import IMeter, IProcessor, ProceedTo
from ..options.compression_section import CompressionSettings
from ..process.single_flight import SingleFlight
from ..process.slices import SliceQueue
from .coded_contents import CodedContents
from .coders import SLICE_BYTES, Coder
from .directives import directives
from .storable import media_type

_READS = frozenset({"GET", "HEAD"})
_CONDITIONS = (b"if-match", b"if-none-match")
_OF_THE_BYTES = (
    b"content-encoding",
    b"content-range",
    b"content-digest",
    b"repr-digest",
    b"digest",
    b"content-md5",
)
"""Fields that are true only of the content as the upstream sent it."""
_TEXTS = ("application/json", "application/xml", "application/javascript", "image/svg+xml")


@implementer(IProcessor)
class Compression:
    """Compresses the responses of operations that the contract or the operator has named.

    :param contract: marks operations as compressible.
    :param kept: content that was compressed; it outlives this processor.
    :param coders: by coding; those of the settings that are missing are not used.
    :param turns: runs the slices in which large content is compressed.
    """

    def __init__(
        self,
        settings: CompressionSettings,
        contract: Contract,
        kept: CodedContents,
        coders: Mapping[bytes, Coder],
        turns: SliceQueue,
        meter: IMeter,
    ) -> None:
        marked = {each.id for each in contract.operations.values() if each.compressible}
        self._operations = marked | set(settings.further_operations)
        self._min_bytes = settings.min_bytes
        wanted = [name.encode() for name in settings.codings]
        self._coders = {coding: coders[coding] for coding in wanted if coding in coders}
        self._kept = kept
        self._turns = turns
        self._meter = meter
        self._flights: SingleFlight[bytes] = SingleFlight()

    def passes(self, exchange: Exchange) -> bool:
        """Return whether the request is a write without conditions."""
        request = exchange.request
        return request.method not in _READS and all(request.headers.get(name) is None for name in _CONDITIONS)

    async def process(self, exchange: Exchange, proceed: ProceedTo[Exchange]) -> Response:
        """Let the others respond to a request without codings in its entity tags; compress their response."""
        request = exchange.request
        if request.method not in _READS:
            return await proceed(_with_plain_tags(exchange, CODINGS))
        coding = self._coding_for(request)
        asked = exchange if coding is None else _with_plain_tags(exchange, (coding,))
        response = await proceed(asked)
        if response.status not in (200, 304) or not self._concerns(exchange):
            return response
        fields = [(b"Vary", _vary(response.headers))]
        if response.status == 304:
            tag = response.headers.get(b"etag")
            if coding is not None and tag is not None and asked is not exchange:
                # The client has the coded content, unless it sent the tag of the other too.
                given = b",".join(request.headers.all(b"if-none-match"))
                fields.append((b"ETag", tag if tag in given else coded_tag(tag, coding)))
            return response.with_headers(response.headers.with_fields(*fields))
        if coding is None or not self._may_change(response):
            return response.with_headers(response.headers.with_fields(*fields))
        return await self._in_coding(exchange, response, coding, fields)

    def repeat(self, _exchange: Exchange, _response: Response) -> Repeat:
        """What is done here depends on the head and the content; ``trace.hit`` knows whether that is still kept."""
        return ALWAYS

    def _coding_for(self, request: Request) -> bytes | None:
        """The coding for a response, as far as the request decides that; None: none."""
        values = request.headers.all(b"accept-encoding")
        if not values or _forbids_changes(request.headers):
            return None
        return accepted_coding(values, self._coders)

    def _concerns(self, exchange: Exchange) -> bool:
        """Whether content of this kind is compressed: what everybody may know, or what the operator has risked."""
        call = exchange.trace.call
        if call is None:  # the published contract
            return exchange.trace.kept is not None
        return call.operation.id in self._operations

    def _may_change(self, response: Response) -> bool:
        headers = response.headers
        if response.chunks is not None or len(response.body) < self._min_bytes:
            return False
        kind = media_type(headers)
        is_text = kind.startswith("text/") or kind.endswith("+json") or kind in _TEXTS
        return (
            is_text
            and not _forbids_changes(headers)
            and all(headers.get(name) is None for name in _OF_THE_BYTES)
        )

    async def _in_coding(
        self, exchange: Exchange, response: Response, coding: bytes, fields: list[tuple[bytes, bytes]]
    ) -> Response:
        trace = exchange.trace
        source = trace.kept if trace.kept is not None and trace.kept.body is response.body else None
        content = None if source is None else self._kept.get(source, coding)
        if content is None:
            content = await self._compressed(source, response.body, coding)
        if not content:  # it does not pay
            return response.with_headers(response.headers.with_fields(*fields))
        if trace.hit is not None:
            is_kept = source is not None and self._kept.get(source, coding) is not None
            trace.hit = (
                self._hit_in_coding(trace.hit, source, coding, len(content)) if source and is_kept else None
            )
        self._meter.count("compressed_responses_total", coding=coding.decode())
        fields.append((b"Content-Encoding", coding))
        tag = response.headers.get(b"etag")
        if tag is not None:
            fields.append((b"ETag", coded_tag(tag, coding)))
        return evolve(response, headers=response.headers.with_fields(*fields), coded=content)

    async def _compressed(self, source: Response | None, body: bytes, coding: bytes) -> bytes:
        """Compress content and keep the result; b"" if that does not pay."""
        if source is None:
            return await self._made(body, coding)

        async def make() -> bytes:
            made = await self._made(body, coding)
            self._kept.put(source, coding, made)
            return made

        return await self._flights.join((id(source), coding), make)

    async def _made(self, body: bytes, coding: bytes) -> bytes:
        work = self._coders[coding](body)
        # Small content takes less than a slice, so waiting for a turn would only delay it.
        made = await self._turns.run(work) if len(body) > SLICE_BYTES else _at_once(work)
        self._meter.count("compressions_total", coding=coding.decode())
        return made if len(made) <= len(body) * 0.9 else b""

    def _hit_in_coding(
        self, hit: Callable[[], HitAgain | None], source: Response, coding: bytes, size: int
    ) -> Callable[[], HitAgain | None]:
        """The cache's part in an equal request, with coded content: it holds while that is kept."""
        kept, found_of = self._kept, weakref.ref(source)
        counted = self._meter.counter("compressed_responses_total", coding=coding.decode())

        def content_now() -> bytes | None:
            found = found_of()
            return None if found is None else kept.get(found, coding)

        def made() -> HitAgain | None:
            plain = hit()
            return None if plain is None else _in_coding(plain, content_now, size, counted)

        return made


def _in_coding(
    plain: HitAgain, content_now: Callable[[], bytes | None], size: int, counted: Callable[[], None]
) -> HitAgain:
    def holds(now: float) -> bool:
        if plain.holds is not None and not plain.holds(now):
            return False
        content = content_now()
        return content is not None and len(content) == size

    def count(now: float) -> bool:
        counted()
        return plain.count is None or plain.count(now)

    def content(now: float) -> tuple[int, int, bytes]:
        age_s, ttl_s, _ = plain.content(now)
        return age_s, ttl_s, content_now() or b""

    return HitAgain(holds=holds, count=count, content=content)


def _at_once(work: Generator[None, None, bytes]) -> bytes:
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: bytes = end.value
            return made


def _with_plain_tags(exchange: Exchange, codings: tuple[bytes, ...]) -> Exchange:
    """The request as if its client had seen no coding; the same exchange if its conditions name none."""
    headers = exchange.request.headers
    changed = []
    for name in _CONDITIONS:
        given = b", ".join(headers.all(name))
        plain = plain_tags(given, codings)
        if plain != given:
            changed.append((name, plain))
    if not changed:
        return exchange
    return evolve(exchange, request=evolve(exchange.request, headers=headers.with_fields(*changed)))


def _vary(headers: Headers) -> bytes:
    """The value of Vary, with Accept-Encoding: the response would be another one for another value."""
    given = headers.all(b"vary")
    if not headers.tokens(b"vary") & {b"accept-encoding", b"*"}:
        given.append(b"Accept-Encoding")
    return b", ".join(given)


def _forbids_changes(headers: Headers) -> bool:
    return any(name == b"no-transform" for name, _ in directives(headers.all(b"cache-control")))
