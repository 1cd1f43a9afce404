"""Conditions of writes (RFC 9110 §13): judged by a read of the record, while the write holds its turn.

HOSP ignores conditions. If the proxy did not judge one, the condition would be lost, and a client that took care not
to overwrite somebody else's change would overwrite it after all.
"""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import frozen
from zope.interface import implementer

from ..contract.contract import Contract, Operation, Resource
from ..exchange.exchange import Call, Identified
from ..http.dates import seconds_of
from ..http.errors import OverCapacity, ProxyError, Refused, Unauthorized
from ..http.messages import Headers, Response
from ..interfaces import Ask, IProcessor, Proceed
from ..memory.directives import entity_tags
from .writes.verdict import moment

IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE = "If-Match", "If-None-Match", "If-Unmodified-Since"
GONE = frozenset({404, 410})


class NotJudged(ProxyError):
    """It could not be found out whether a condition holds. Nothing was sent."""

    status = 503
    outcome = "refused"

    def __init__(self) -> None:
        super().__init__(
            "The condition of this request could not be checked, so nothing was sent.",
            retry_after_s=5,
        )


@frozen(slots=True)
class EntityTags:
    """The value of If-Match or If-None-Match.

    :param listed: pairs (is weak, opaque tag with its quotes); None stands for ``*``.
    """

    listed: frozenset[tuple[bool, bytes]] | None

    def matches_strongly(self, etag: bytes | None) -> bool:
        """Whether the list names this representation. A weak tag never does (RFC 9110 §8.8.3.2)."""
        return self.listed is None or (etag is not None and (False, etag) in self.listed)

    def matches_weakly(self, etag: bytes | None) -> bool:
        """Whether the list names this representation; weak tags count too."""
        plain = b"" if etag is None else etag.removeprefix(b"W/")
        return self.listed is None or any(tag == plain for _, tag in self.listed)


@frozen(slots=True)
class Conditions:
    """The conditions of one write.

    :param unmodified_since: seconds since the epoch.
    """

    match: EntityTags | None = None
    none_match: EntityTags | None = None
    unmodified_since: float | None = None

    @property
    def first(self) -> str:
        """The field to name in the error if none of them can be judged."""
        if self.match is not None:
            return IF_MATCH
        return IF_UNMODIFIED_SINCE if self.unmodified_since is not None else IF_NONE_MATCH


@frozen(slots=True)
class Representation:
    """The representation before the write.

    :param etag: as clients get it.
    :param modified: seconds since the epoch; None if unknown.
    """

    etag: bytes | None
    modified: float | None = None


def conditions_of(headers: Headers) -> Conditions | None:
    """The conditions of a write; None if it has none.

    :raise Refused: 400: a condition is malformed. By RFC 9110 §13.1.4 an invalid date counts as absent, but the client
        that sent it believes that it is protected.
    """
    dates = headers.all(IF_UNMODIFIED_SINCE.encode())
    since = seconds_of(dates[0]) if len(dates) == 1 else None
    if dates and since is None:
        raise _malformed(IF_UNMODIFIED_SINCE)
    found = Conditions(_tags(headers, IF_MATCH), _tags(headers, IF_NONE_MATCH), since)
    return None if found == Conditions() else found


def _tags(headers: Headers, name: str) -> EntityTags | None:
    values = headers.all(name.encode())
    if not values:
        return None
    given = b", ".join(values).strip(b" \t")
    if given == b"*":
        return EntityTags(None)
    listed = entity_tags(given)
    if not listed:
        raise _malformed(name)
    return EntityTags(listed)


def _malformed(name: str) -> Refused:
    return Refused("This condition is malformed, so nothing was sent.", field=name)


def failing(conditions: Conditions, there: Representation | None) -> str | None:
    """The field of the first condition that does not hold, in the order of RFC 9110 §13.2.2; None if all hold.

    :param there: the current representation; None: there is none.
    :raise Refused: 400: the representation has no date.
    """
    if conditions.match is not None:
        if there is None or not conditions.match.matches_strongly(there.etag):
            return IF_MATCH
    elif conditions.unmodified_since is not None:
        if there is not None and there.modified is None:
            raise Refused(
                "The time of the last change is unknown, so nothing was sent.", field=IF_UNMODIFIED_SINCE
            )
        if there is None or there.modified is None or there.modified > conditions.unmodified_since:
            return IF_UNMODIFIED_SINCE
    if (
        conditions.none_match is not None
        and there is not None
        and conditions.none_match.matches_weakly(there.etag)
    ):
        return IF_NONE_MATCH
    return None


def representation(response: Response, resource: Resource | None) -> Representation:
    """The representation that a read returned.

    :param resource: names the field with the time of a record's last change. It has milliseconds and is compared as it
        is: a change later within the second of If-Unmodified-Since counts as a change since then.
    """
    modified = seconds_of(response.headers.get(b"last-modified"))
    if modified is None and resource is not None and resource.updated_at is not None:
        modified = _stamp(response.body, resource.updated_at)
    return Representation(response.headers.get(b"etag"), modified)


def _stamp(body: bytes, field: str) -> float | None:
    try:
        record: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return moment(record.get(field)) if isinstance(record, dict) else None


@implementer(IProcessor)
class ConditionCheck:
    """Sends a write only if its conditions hold.

    It runs inside outward.writes, so the write holds its turn: no other write to the record passes the proxy between
    the read and the write. On every further attempt the conditions are judged again.

    :param ask: ``OwnRequests.ask``.
    """

    def __init__(self, contract: Contract, ask: Ask) -> None:
        self._resources = contract.resources
        self._ask = ask
        self._reads = {
            route.template: route.operations["GET"] for route in contract.routes if "GET" in route.operations
        }

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Judge the conditions, if there are any, then proceed.

        :raise Refused: 412: a condition does not hold; 400: one cannot be judged; 404: there is no such record.
        :raise NotJudged: HOSP could not be asked.
        """
        if self.passes(exchange):
            return await proceed(exchange)
        call = exchange.call
        conditions = conditions_of(exchange.request.headers)
        if conditions is None:
            return await proceed(exchange)
        reading = self._reads.get(call.operation.template)
        if reading is None:
            raise Refused(
                "This cannot be read, so a condition on it cannot be checked; nothing was sent.",
                field=conditions.first,
            )
        there = await self._look(exchange, call, reading)
        failed = failing(conditions, there)
        if failed is None:
            return await proceed(exchange)
        if there is None:
            # Without the condition the response would be 404, and that takes precedence (RFC 9110 §13.2.1).
            raise Refused("There is no such record, so nothing was sent.", status=404)
        raise Refused(f"The condition {failed} does not hold, so nothing was sent.", status=412, field=failed)

    def passes(self, exchange: Identified) -> bool:
        """Conditions of reads are memory.cache's, and the proxy's own requests have none."""
        return exchange.call.operation.is_read or bool(exchange.own)

    async def _look(self, exchange: Identified, call: Call, reading: Operation) -> Representation | None:
        looked_at = Call(reading, call.path, accept=call.accept, authorization=call.authorization)
        try:
            response: Response = await self._ask(
                looked_at, on_behalf_of=exchange, own="condition", past_cache=True
            )
        except OverCapacity:
            raise  # its message already says that nothing was sent
        except ProxyError as error:
            # Not passed on: a failure after sending would be taken for the write's own.
            raise NotJudged from error
        if response.status == 401:
            raise Unauthorized
        if response.status in GONE:
            return None
        if response.status != 200:
            raise NotJudged
        return representation(response, self._resources.get(reading.resource or ""))
