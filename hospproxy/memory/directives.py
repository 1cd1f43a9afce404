"""What a request asks of a cache, and whether the client has the response already (RFC 9111, RFC 9110).

See RFC 9111 §5.2.1 and RFC 9110 §13.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from ..http.messages import Headers

MOST_SECONDS = 2**31
"""Longer times count as this (RFC 9111 §1.2.2)."""

_DIRECTIVE = re.compile(
    rb"""[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^",; \t]*)))?[ \t]*\Z"""
)
# An unclosed quote takes the rest: every alternative succeeds where it begins, so the expression never backtracks.
_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[^",]+|,')
_ENTITY_TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@frozen(slots=True)
class CacheDirectives:
    """What a request asks of a cache.

    :param no_cache: do not serve from memory.
    :param no_store: do not store the response.
    :param max_age: maximum age of a response in seconds.
    :param min_fresh: seconds for which a response must still be fresh.
    :param only_if_cached: do not ask HOSP.
    :param stale_if_error: seconds past its freshness for which a response may be served while HOSP fails (RFC 5861
        §4).
    """

    no_cache: bool = False
    no_store: bool = False
    max_age: int | None = None
    min_fresh: int = 0
    only_if_cached: bool = False
    stale_if_error: int | None = None

    def accepts(self, age_s: float, fresh_s: float) -> bool:
        """Whether this cache entry satisfies the request.

        :param age_s: seconds since HOSP was asked for it.
        :param fresh_s: seconds for which it is still fresh.
        """
        if self.no_cache or fresh_s <= 0 or fresh_s < self.min_fresh:
            return False
        return self.max_age is None or age_s <= self.max_age

    def and_of(self, other: CacheDirectives) -> CacheDirectives:
        """Combine two wishes: how fresh a cache entry must be for both."""
        ages = [age for age in (self.max_age, other.max_age) if age is not None]
        return CacheDirectives(
            no_cache=self.no_cache or other.no_cache,
            max_age=min(ages, default=None),
            min_fresh=max(self.min_fresh, other.min_fresh),
        )


def wish_of(headers: Headers) -> CacheDirectives:
    """Parse what a request asks for. Malformed directives are ignored."""
    given = headers.all(b"cache-control")
    if not given:
        # RFC 9111 §5.4: Pragma counts only without Cache-Control.
        return CacheDirectives(no_cache=b"no-cache" in headers.tokens(b"pragma"))
    found = list(directives(given))
    names = {name for name, _ in found}
    ages = _seconds(found, b"max-age")
    return CacheDirectives(
        no_cache=b"no-cache" in names or 0 in ages,
        no_store=b"no-store" in names,
        max_age=min(ages, default=None),
        min_fresh=max(_seconds(found, b"min-fresh"), default=0),
        only_if_cached=b"only-if-cached" in names,
        stale_if_error=min(_seconds(found, b"stale-if-error"), default=None),
    )


def directives(values: list[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """The directives of Cache-Control, with names in lower case. Malformed ones are left out."""
    for value in values:
        for member in _members(value):
            match = _DIRECTIVE.match(member)
            if match is not None:
                quoted, bare = match[2], match[3]
                yield match[1].lower(), quoted if quoted is not None else bare


def _members(value: bytes) -> Iterator[bytes]:
    """Split a list at its commas, except those inside quotes."""
    member = b""
    for piece in _PIECE.findall(value):
        if piece == b",":
            yield member
            member = b""
        else:
            member += piece
    yield member


def seconds(value: bytes | None) -> int | None:
    """Delta-seconds (RFC 9111 §1.2.2); None if the value is absent or invalid."""
    if not value or not value.isdigit():
        return None
    return min(int(value), MOST_SECONDS) if len(value) <= 10 else MOST_SECONDS


def _seconds(found: list[tuple[bytes, bytes | None]], wanted: bytes) -> list[int]:
    read = (seconds(value) for name, value in found if name == wanted)
    return [value for value in read if value is not None]


def has_it(if_none_match: list[bytes], etag: bytes | None) -> bool:
    """Whether the client already has this response (weak comparison). A malformed field counts as absent.

    :param if_none_match: the values of If-None-Match.
    :param etag: the response's ETag; None if it has none, which only ``*`` matches.
    """
    if not if_none_match:
        return False
    given = b", ".join(if_none_match).strip(b" \t")
    if given == b"*":
        return True
    tags = entity_tags(given)
    mine = _ENTITY_TAG.fullmatch(etag) if etag is not None else None
    return tags is not None and mine is not None and mine[2] in {tag for _, tag in tags}


def entity_tags(given: bytes) -> frozenset[tuple[bool, bytes]] | None:
    """Parse a list of entity tags (RFC 9110 §8.8.3) into pairs: is it weak, the opaque tag with its quotes.

    Tags may contain commas, so the list cannot be split at them.

    :return: None if the list is malformed.
    """
    tags: set[tuple[bool, bytes]] = set()
    at, separated = 0, True
    while at < len(given):
        if given[at] in b" \t":
            at += 1
        elif given[at] == 0x2C:
            at, separated = at + 1, True
        else:
            match = _ENTITY_TAG.match(given, at)
            if match is None or not separated:
                return None
            tags.add((match[1] is not None, match[2]))
            at, separated = match.end(), False
    return frozenset(tags)
