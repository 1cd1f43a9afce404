"""The set of patients that a response with a list discloses.

Clients request a hospital's list of patients all day long. The record of such a request names the set only by
its hash. The journal writes the set itself once per file, before the first record that names it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from attrs import field, frozen

from ..exchange.exchange import Exchange
from ..http.json_lists import NotAList, in_pieces
from ..http.messages import Response
from .describe import VERSION, timestamp

PART_BYTES = 1 << 20
"""Ids in one record, in bytes of JSON: far below the longest line that readers accept (trail/scan.py)."""

_LONGEST = 200
"""Characters of an id that are kept, as for any text in a record."""

LARGE_BYTES = 64 << 10
"""A longer response, in bytes, is read in slices."""

REMEMBERED_BYTES = 4 << 20
"""A longer response, in bytes, is not remembered: the cache does not hold one by default, and hashing it takes
long.
"""

_IN_A_SLICE = 10_000
Item = TypeVar("Item")

MAX_SETS = 200
MAX_BYTES = 32 << 20
"""Bounds on remembered responses: their number, and their bytes together with their sets."""


@frozen(slots=True, eq=False)
class Disclosure:
    """A set of patients, as records name it.

    :param set: hex SHA-256 of the JSON list of their ids, sorted, without spaces.
    :param count: number of patients.
    :param patient: the patient, if there is just one; else None.
    """

    set: str
    count: int
    patient: str | None
    _tails: tuple[bytes, ...] = field(repr=False)

    @property
    def named(self) -> dict[str, Any]:
        """The ``disclosed`` field of a record."""
        return {"set": self.set, "count": self.count}

    @property
    def size(self) -> int:
        """Bytes of its disclosure records."""
        return sum(map(len, self._tails)) + 100 * len(self._tails)

    def says_more_than(self, patient: str | None) -> bool:
        """Whether the set holds anyone besides the patient that the record names anyway."""
        return self.patient is None or self.patient != patient

    def lines(self, wall: float) -> list[bytes]:
        """Its disclosure records, ready to be chained.

        :param wall: seconds since the epoch.
        """
        head = b'{"v":%d,"kind":"disclosure","time":"%b",' % (VERSION, timestamp(wall).encode())
        return [head + tail for tail in self._tails]


def disclosure_of(ids: Iterable[int | str], part_bytes: int = PART_BYTES) -> Disclosure | None:
    """The set of these patients; None if there are none.

    :param ids: in any order, repeated or not; numbers sort before words, by value.
    :param part_bytes: approximate bytes of ids in one record.
    """
    work = disclosing(ids, part_bytes)
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Disclosure | None = end.value
            return found


def disclosing(
    ids: Iterable[int | str], part_bytes: int = PART_BYTES
) -> Generator[None, None, Disclosure | None]:
    """``disclosure_of`` in slices, for very many ids; yields after each slice."""
    given = set(ids)
    yield
    numbers: list[str] = []
    for some in batched(sorted(one for one in given if isinstance(one, int)), _IN_A_SLICE):
        numbers += [str(one)[:_LONGEST] for one in some]
        yield
    words = {one[:_LONGEST] for one in given if isinstance(one, str) and one} - set(numbers)
    texts = list(dict.fromkeys((*numbers, *sorted(words))))
    if not texts:
        return None
    yield
    members: list[bytes] = []
    for some_texts in batched(texts, _IN_A_SLICE):
        members += map(_quoted, some_texts)
        yield
    whole = sha256(b"[" + b",".join(members) + b"]").hexdigest()
    yield
    parts = _parts(members, part_bytes)
    yield
    tails = tuple(
        b'"set":"%b","count":%d,"part":%d,"parts":%d,"patients":[%b]}'
        % (whole.encode(), len(members), number, len(parts), part)
        for number, part in enumerate(parts, 1)
    )
    return Disclosure(whole, len(members), texts[0] if len(texts) == 1 else None, tails)


def batched(some: list[Item], size: int) -> Iterator[list[Item]]:
    """Split a list into parts of this size."""
    return (some[at : at + size] for at in range(0, len(some), size))


def _quoted(text: str) -> bytes:
    # Nearly all ids are digits. Others are escaped to ASCII, as encode_record does with control characters.
    return b'"%b"' % text.encode() if text.isascii() and text.isalnum() else _escaped(text)


def _escaped(text: str) -> bytes:
    return json.dumps(text.encode("utf-8", "backslashreplace").decode()).replace("\x7f", "\\u007f").encode()


def _parts(members: list[bytes], part_bytes: int) -> list[bytes]:
    parts: list[list[bytes]] = []
    room = 0
    for member in members:
        if room < len(member) or not parts:
            parts.append([])
            room = part_bytes
        parts[-1].append(member)
        room -= len(member) + 1
    return [b",".join(part) for part in parts]


@lru_cache(maxsize=64)
def _reader(name: str) -> msgspec.json.Decoder[list[msgspec.Struct]]:
    """A decoder that reads one field of each element and skips the rest."""
    shape = msgspec.defstruct("Element", [("value", int | str | None, None)], rename={"value": name})
    return msgspec.json.Decoder(list[shape])  # type: ignore[valid-type]


def ids_in(body: bytes, name: str) -> list[int | str] | None:
    """The ids under a name in the elements of a JSON list; None if the body is not a readable list.

    An element without an id discloses nobody.
    """
    try:
        try:
            found = [getattr(one, "value", None) for one in _reader(name).decode(body)]
        except msgspec.ValidationError:  # one element of another shape must not hide the others
            elements = msgspec.json.decode(body, type=list[Any])
            found = [one.get(name) for one in elements if isinstance(one, dict)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return [one for one in found if isinstance(one, int | str) and not isinstance(one, bool)]


@frozen(slots=True)
class DisclosureResult:
    """The result of reading a response."""

    disclosure: Disclosure | None
    readable: bool
    size: int


class Disclosures:
    """Remembers which set a response holds, so that a cached response is not read again.

    A bytes object caches its own hash, so the lookup costs almost nothing.
    """

    def __init__(self, max_sets: int = MAX_SETS, max_bytes: int = MAX_BYTES) -> None:
        self._max_sets = max_sets
        self._max_bytes = max_bytes
        self._known: OrderedDict[tuple[str, bytes], DisclosureResult] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def of(
        self, exchange: Exchange, answer: object, read: DisclosureResult | None = None
    ) -> Disclosure | None:
        """The set of patients that a response disclosed to a client; None if it disclosed none.

        :param answer: the response, or the exception or None in its place.
        :param read: the result of ``reading``, if that ran.
        """
        place = self._place(exchange, answer)
        if place is None:
            return None
        read = read or self._read(*place)
        if not read.readable:
            exchange.trace.rule_hits.append("disclosure:unreadable")
        return read.disclosure

    def reading(self, exchange: Exchange, answer: object) -> Generator[None, None, DisclosureResult] | None:
        """Read a large response in slices; None if it need not be read, or ``of`` reads it at once."""
        place = self._place(exchange, answer)
        if place is None or len(place[1]) <= LARGE_BYTES:
            return None
        if len(place[1]) <= REMEMBERED_BYTES and place in self._known:
            return None
        return self._slices(*place)

    def _slices(self, name: str, body: bytes) -> Generator[None, None, DisclosureResult]:
        ids: list[int | str] = []

        def take(piece: bytes) -> bool:
            found = ids_in(piece, name)
            ids.extend(found or ())
            return found is not None and piece != b"[]"

        readable = True
        try:
            yield from in_pieces(body, take)
        except NotAList:
            readable = False
        found = yield from disclosing(ids if readable else ())
        return self._keep((name, body), found, readable)

    def _place(self, exchange: Exchange, answer: object) -> tuple[str, bytes] | None:
        """The name of the field with the patient's id, and the body to read; None if there is none."""
        call = exchange.trace.call
        if call is None or (name := call.operation.discloses) is None or exchange.own:
            return None
        body = _shown(exchange, answer)
        return None if body is None else (name, body)

    def _read(self, name: str, body: bytes) -> DisclosureResult:
        key = (name, body)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        ids = ids_in(body, name)
        return self._keep(key, disclosure_of(ids or ()), ids is not None)

    def _keep(self, key: tuple[str, bytes], found: Disclosure | None, readable: bool) -> DisclosureResult:
        read = DisclosureResult(found, readable, len(key[1]) + (found.size if found is not None else 0))
        if len(key[1]) <= REMEMBERED_BYTES and read.size <= self._max_bytes:
            self._known[key] = read
            self.bytes += read.size
        while len(self._known) > self._max_sets or self.bytes > self._max_bytes:
            self.bytes -= self._known.popitem(last=False)[1].size
        return read


def _shown(exchange: Exchange, answer: object) -> bytes | None:
    """The body that the client has seen: for a 304 the one it already has, for HEAD none."""
    if not isinstance(answer, Response) or exchange.request.method == "HEAD":
        return None
    if answer.status == 304:
        return exchange.trace.unchanged
    return answer.body if 200 <= answer.status < 300 else None
