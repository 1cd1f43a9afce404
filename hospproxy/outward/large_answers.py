"""Checks large responses against the contract in slices, so that they do not block the reactor."""

from __future__ import annotations

import secrets
from codecs import getincrementaldecoder
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import msgspec
from attrs import evolve, frozen

from ..contract.contract import ExpectedResponse
from ..exchange.exchange import Called
from ..guard import large_bodies
from ..http import json_lists
from ..http.errors import Refused
from ..http.json_lists import NotAList
from ..http.long_text import LongText
from ..http.messages import Json, Response
from ..process.slices import SliceQueue
from .response_check import ResponseCheck

LARGE_BYTES: Final = 64 * 1024
"""A longer response is processed in slices."""

MOST_VALUES: Final = 40_000
"""Maximum number of values to parse in one record. Parsing that many takes about 20 ms."""

Slices = Generator[None, None, Response]


@frozen(slots=True)
class LargeResponses:
    """Does for a large response what AnswerCheck does for a small one.

    A list is parsed in pieces that are lists themselves; a record is parsed with its long texts left as bytes. A
    record with too many values passes unchecked if schema violations are only reported.

    :param turns: shared by all long-running work of the process.
    """

    check: ResponseCheck
    turns: SliceQueue

    async def checked(
        self, exchange: Called, response: Response, tell: Callable[[Response], None]
    ) -> Response:
        """The response as it may be stored and passed on.

        :param tell: called with each piece of the response (a small response of the same kind) once all of it is known
            to be good.
        :raise BadAnswer: as AnswerCheck.checked.
        """
        response, expected = self.check.head_of(exchange, response)
        if expected is None:
            tell(evolve(response, body=b""))
            return response
        reading = self._list if json_lists.is_list(response.body) else self._record
        return await self.turns.run(reading(exchange, response, expected, tell))

    def _list(
        self,
        exchange: Called,
        response: Response,
        expected: ExpectedResponse,
        tell: Callable[[Response], None],
    ) -> Slices:
        self.check.shaped(response, expected, "array")
        turn = self.check.names_hosp(exchange, response)
        turned, pieces, wrong, elements_left = 0, [], False, most_elements(len(response.body))

        def read(piece: bytes) -> bool:
            nonlocal turned, wrong, elements_left
            elements = json_lists.decoded(piece)
            if not elements:
                return False
            elements_left -= len(elements)
            if elements_left < 0:
                raise NotAList
            if not wrong:
                before = len(exchange.trace.rule_hits)
                self.check.hold(exchange, response, expected, elements)
                wrong = len(exchange.trace.rule_hits) > before
            if turn:
                turned += self.check.turned(exchange, elements)
                pieces.append(msgspec.json.encode(elements)[1:-1])
            return True

        try:
            cuts = yield from json_lists.in_pieces(response.body, read)
        except NotAList:
            raise self.check.no_json(response) from None
        if turned:
            response = self.check.readdressed(response, b"[" + b",".join(pieces) + b"]")
            cuts = yield from json_lists.in_pieces(
                response.body, lambda piece: bool(json_lists.decoded(piece))
            )
        pieces.clear()
        for piece in json_lists.pieces_at(response.body, cuts):
            tell(evolve(response, body=piece))
            yield
        return response

    def _record(
        self,
        exchange: Called,
        response: Response,
        expected: ExpectedResponse,
        tell: Callable[[Response], None],
    ) -> Slices:
        yield from self._utf8(response)
        try:
            document = yield from large_bodies.document(response.body, secrets.token_hex(16), MOST_VALUES)
        except Refused:
            # A duplicate key, or too many values: the client may have it if it is JSON at all.
            yield from self._passed_over(exchange, response, expected)
            tell(evolve(response, body=b""))
            return response
        self.check.shaped(response, expected, "object" if isinstance(document, dict) else "")
        self.check.hold(exchange, response, expected, document)
        yield
        if self.check.names_hosp(exchange, response) and self.check.turned(exchange, document):
            response = self.check.readdressed(response, msgspec.json.encode(_with_bytes(document)))
        tell(evolve(response, body=msgspec.json.encode(_short(document))))
        return response

    def _utf8(self, response: Response) -> Generator[None, None, None]:
        decoder = getincrementaldecoder("utf-8")()
        for at in range(0, len(response.body), large_bodies.SLICE_BYTES):
            end = at + large_bodies.SLICE_BYTES
            try:
                decoder.decode(response.body[at:end], end >= len(response.body))
            except UnicodeDecodeError:
                raise self.check.no_json(response) from None
            yield

    def _passed_over(
        self, exchange: Called, response: Response, expected: ExpectedResponse
    ) -> Generator[None, None, None]:
        try:
            # Scans the JSON without building objects: about 20 ms for 16 MiB.
            msgspec.json.decode(response.body, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            raise self.check.no_json(response) from None
        first = response.body[: large_bodies.SLICE_BYTES].lstrip()[:1]
        self.check.shaped(response, expected, "object" if first == b"{" else "")
        self.check.unread(exchange, response, expected)
        yield


def most_elements(size: int) -> int:
    """Maximum number of elements in a list: what observers store for each must not take more memory than the list.

    :param size: of the list, in bytes.
    """
    return 20_000 + size // 100


def _with_bytes(value: Json) -> Json:
    if isinstance(value, LongText):
        return value.raw
    if isinstance(value, dict):
        return {name: _with_bytes(one) for name, one in value.items()}
    return [_with_bytes(one) for one in value] if isinstance(value, list) else value


def _short(document: Any) -> Mapping[str, Json]:
    """The short fields of a record: ids, names, timestamps. Observers do not need the rest."""
    given = document if isinstance(document, dict) else {}
    return {name: value for name, value in given.items() if not isinstance(value, (LongText, list, dict))}
