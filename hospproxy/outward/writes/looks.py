"""Looks: how the proxy reads at HOSP what became of a write, and when such a read may decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from ...contract.contract import Contract, Operation
from ...exchange.exchange import Call, Identified
from ...http.errors import ProxyError
from ...http.messages import Priority, Response
from ...interfaces import Ask, IMeter
from . import accounts
from .claims import Claims, NoClaims
from .entry import WriteEntry
from .presence import UpstreamClock, WorkingTime
from .seen_ids import SeenIds
from .stored_values import as_stored
from .verdict import (
    Found,
    LostPatch,
    LostPost,
    NotKnowable,
    NotThere,
    Verdict,
    has_changed,
    ids_alike,
    is_overwritten,
    which_is_mine,
)

PAUSES_S = (0.0, 2.0, 5.0, 8.0)
"""Seconds to wait before each of the first looks, which may find a write but cannot yet call it absent."""


LAST_LOOK_S = 6.0
"""Seconds before the deadline at which the last look begins: HOSP responds within 4.4 s."""
LEAST_LOOK_S = 0.5


class LookUndecided(Exception):
    """The deadline passed before a look could decide; or HOSP no longer accepts the credentials of the looks."""


class WriteLooks:
    """Looks up at HOSP what became of writes.

    :param ask: ``OwnRequests.ask``; looks go past the cache.
    :param late_commit_s: seconds of HOSP's work after sending, after which a write is stored or never will be.
    :param look_s: maximum seconds of one look.
    :param claims: tells what other workers and machines write.
    """

    def __init__(
        self,
        contract: Contract,
        ask: Ask,
        clock: IReactorTime,
        sightings: SeenIds,
        upstream_clock: UpstreamClock,
        working_time: WorkingTime,
        meter: IMeter,
        *,
        late_commit_s: float,
        look_s: float,
        claims: Claims | None = None,
    ) -> None:
        self._contract = contract
        self._ask = ask
        self._clock = clock
        self._sightings = sightings
        self._upstream_clock = upstream_clock
        self._working_time = working_time
        self._meter = meter
        self._late_commit_s = late_commit_s
        self._look_s = look_s
        self._claims = claims or NoClaims()

    def begin(self, entry: WriteEntry) -> None:
        """A write is about to be sent: note what is known now, so that a clock set later does not matter."""
        operation = entry.call.operation
        entry.not_before = self._upstream_clock.earliest(entry.started)
        entry.steps = self._upstream_clock.steps
        taken_over = entry.sent is not None or entry.blind
        if operation.lookup is None and operation.resource is not None and not taken_over:
            entry.before = self._sightings.versions.last(operation.resource, entry.call.record_id)

    async def find(self, entry: WriteEntry, *, may_be_late: bool, deadline: float) -> Verdict:
        """Look again and again until a look decides.

        :param may_be_late: HOSP may still carry the write out, so only a look that begins late enough can say
            "absent".
        :param deadline: monotonic seconds.
        :return: Found, NotThere (surely absent) or NotKnowable.
        :raise Undecided: the deadline came first.
        """
        operation, resource = self._operation(entry), entry.call.operation.resource
        if operation is None or resource is None:
            return NotKnowable("the contract names no read that could show it")
        looks, last = 0, False
        while True:
            pause, left = self._pause(entry, looks, may_be_late), deadline - self._clock.seconds()
            if pause >= left:
                if last or left < LEAST_LOOK_S:
                    raise LookUndecided
                # The next regular look would be too late: use the remaining time for one that may still find the write.
                last, pause = True, max(0.0, left - LAST_LOOK_S)
            if pause > 0:
                await task.deferLater(self._clock, pause, lambda: None)
            decisive = not may_be_late or self.left(entry) <= 0
            verdict = await self._look(entry, operation, resource, deadline)
            looks += 1
            if isinstance(verdict, (Found, NotKnowable)):
                return verdict
            if verdict is not None and decisive:
                return verdict

    async def was_overwritten(self, exchange: Identified, answer: Response) -> bool | None:
        """Whether somebody has changed or deleted the record of a PATCH since HOSP answered it.

        :param exchange: an equal PATCH.
        :param answer: response to the first.
        :return: None: HOSP does not say now.
        """
        call = exchange.call
        named, name = call.operation.record, call.operation.resource
        operation = None if named is None else self._contract.operation(named)
        if call.operation.lookup is not None or call.operation.action == "delete" or name is None:
            return False
        if operation is None:
            return False
        response = await self._asked(exchange, self._call(call, operation), exchange.deadline - LEAST_LOOK_S)
        if response is None or response.status not in (200, 404):
            return None
        if response.status == 404:
            return True
        expected = as_stored(call.document, call.operation)
        return is_overwritten(self._contract.resources[name], expected, answer.body, response.body)

    async def all_of(self, entry: WriteEntry) -> list[str]:
        """Ids of all records that match a POST and are new, read after HOSP has had its time."""
        operation = self._operation(entry)
        name = entry.call.operation.resource
        if operation is None or name is None or entry.call.operation.lookup is None:
            return []
        await task.deferLater(self._clock, self._late_commit_s, lambda: None)
        deadline = self._clock.seconds() + self._look_s
        response = await self._asked(entry.exchange, self._call(entry.call, operation), deadline)
        if response is None or response.status != 200:
            return []
        if not await self._claims.learn(entry):
            return []
        others = self._sightings.claimed_by_others(name, entry.reference)
        rows = msgspec.json.decode(response.body)
        alike = ids_alike(self._search(entry, name), rows if isinstance(rows, list) else [])
        return [str(number) for number in alike if number not in others]

    def left(self, entry: WriteEntry) -> float:
        """Seconds that HOSP must still work before the write is carried out or never will be."""
        assert entry.sent is not None
        return self._late_commit_s - self._working_time.since(entry.sent, self._clock.seconds())

    def _pause(self, entry: WriteEntry, looks: int, may_be_late: bool) -> float:
        if not may_be_late:
            return 0.0 if looks == 0 else min(0.2 * 2.0**looks, 5.0)
        left = self.left(entry)
        early = PAUSES_S[looks] if looks < len(PAUSES_S) else 10.0
        return early if left <= 0 else min(early, left + 0.001)

    def _operation(self, entry: WriteEntry) -> Operation | None:
        operation = entry.call.operation
        named = operation.lookup.operation if operation.lookup is not None else operation.record
        return None if named is None else self._contract.operation(named)

    async def _look(
        self, entry: WriteEntry, operation: Operation, resource: str, deadline: float
    ) -> Verdict | None:
        """Make one look; None if it failed: only a complete 200 counts (or a 404 for a single record).

        :param operation: the read that shows the record.
        :param resource: the kind of record that was written.
        """
        entry.exchange.trace.looks += 1

        async def ask(call: Call) -> Response | None:
            response = await self._asked(entry.exchange, call, deadline)
            if response is not None and response.status == 401 and entry.exchange.own:
                # Its author has a new password: end this try, so that the next one uses it.
                raise LookUndecided
            return response

        rule = accounts.rule_for(self._contract, entry)
        if rule is not None:
            verdict = await accounts.look(self._contract, rule, entry, self._change(entry, resource), ask)
            # By now the others have reported everything that they did before HOSP was asked.
            learned = None if verdict is None else await self._claims.learn(entry)
        else:
            response = await ask(self._call(entry.call, operation))
            learned = None if response is None else await self._claims.learn(entry)
            verdict = self._judge(entry, resource, response) if learned and response is not None else None
        if learned is not True:
            verdict = (
                NotKnowable("what other workers wrote meanwhile is not known") if learned is False else None
            )
        self._meter.count("looks_total", result="none" if verdict is None else type(verdict).__name__.lower())
        return verdict

    async def _asked(self, exchange: Identified, call: Call, deadline: float) -> Response | None:
        try:
            return await self._ask(
                call,
                on_behalf_of=exchange,
                own="look",
                priority=Priority.WRITE,
                deadline=min(deadline, self._clock.seconds() + self._look_s),
                past_cache=True,
            )
        except ProxyError:
            return None

    def _call(self, call: Call, operation: Operation) -> Call:
        lookup = call.operation.lookup
        if lookup is None:
            return Call(operation, call.path, accept="json", authorization=call.authorization)
        document = call.document if isinstance(call.document, Mapping) else {}
        query = tuple(
            (name, str(document[field]))
            for name, field in lookup.query
            if isinstance(document.get(field), int) and not isinstance(document.get(field), bool)
        )
        return Call(operation, query=query, accept="json", authorization=call.authorization)

    def _judge(self, entry: WriteEntry, resource: str, response: Response) -> Verdict | None:
        operation = entry.call.operation
        if operation.lookup is None and response.status == 404:
            deleted = operation.action == "delete" and entry.exchange.trace.shown
            return (
                Found({})
                if deleted
                else NotKnowable("the record is gone, or the author of the write may not see it")
            )
        if response.status != 200:
            return None
        try:
            seen: Any = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if operation.lookup is not None:
            return self._judge_list(entry, resource, seen) if isinstance(seen, list) else None
        if operation.action == "delete":
            entry.exchange.trace.shown = True
            return NotThere()
        return has_changed(self._change(entry, resource), seen)

    def _judge_list(self, entry: WriteEntry, resource: str, seen: Sequence[Any]) -> Verdict:
        verdict = which_is_mine(self._search(entry, resource), seen)
        if not isinstance(verdict, Found):
            return verdict
        number = verdict.record[self._contract.resources[resource].id]
        if not self._sightings.claim(resource, number, entry.reference, lasting=True):
            return NotKnowable("the record belongs to another write")
        return verdict

    def _search(self, entry: WriteEntry, name: str) -> LostPost:
        operation = entry.call.operation
        if name in self._sightings.overflowed:
            # The other writes are no longer tracked, so any record may have been touched.
            return LostPost(self._contract.resources[name], {}, open_entries=0)
        expected = as_stored(entry.call.document, operation)
        given = entry.call.document if isinstance(entry.call.document, Mapping) else {}
        reference = None
        if entry.exchange.own and entry.exchange.trace.reference is not None:
            holding = [
                key for key, value in expected.items() if isinstance(value, str) and entry.reference in value
            ]
            reference = (holding[0], entry.reference) if holding else None
        return LostPost(
            self._contract.resources[name],
            expected,
            optional=operation.fields - operation.write_only - frozenset(given),
            immutable=_immutable(operation),
            floor=None if entry.blind else entry.floor,
            sequence=None if entry.blind else entry.sequence,
            not_before=None if entry.blind else entry.not_before,
            claimed=self._sightings.claimed_by_others(name, entry.reference),
            touched=self._sightings.touched(name),
            reference=reference,
        )

    def _change(self, entry: WriteEntry, name: str) -> LostPatch:
        operation = entry.call.operation
        expected = as_stored(entry.call.document, operation)
        given = entry.call.document if isinstance(entry.call.document, Mapping) else {}
        return LostPatch(
            self._contract.resources[name],
            expected,
            unreadable=len(expected) < len(given),
            not_before=entry.not_before if entry.steps in (None, self._upstream_clock.steps) else None,
            before=entry.before,
        )


def _immutable(operation: Operation) -> frozenset[str]:
    """The author of a new record, and the fields that its list is filtered by.

    A record that somebody moved to another list would not be in this one.
    """
    asked = {field for _name, field in operation.lookup.query} if operation.lookup is not None else set()
    return frozenset(asked if operation.author is None else asked | {operation.author})
