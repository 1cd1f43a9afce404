"""Runs the claim scripts and checks their replies. A reply of the wrong shape is refused, never used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ....interfaces import IMeter
from ....sharing.kinds import Away, RedisScripts, Sharing
from ....sharing.lua_scripts import script
from ..entry import WriteNames
from .outcome_notes import OutcomeNote

_log = Logger()
GLITCH_S = 2.5
"""Seconds after the last reply of Redis for which a failed script is tried again. A busy machine can miss a heartbeat;
a write that then goes without a claim may be sent by two workers."""
AGAIN_S = 0.1
_CLAIMS = frozenset((b"yours", b"over", b"wait", b"full", b"busy", b"other", b"known", b"unsaid"))


def text(value: Any) -> str:
    """Decode a string in a reply of Redis.

    :raise Away: it is not a string.
    """
    if not isinstance(value, bytes):
        raise Away("nonsense")
    return value.decode("utf-8", "replace")


def number(value: Any) -> int:
    """Parse a whole number, 0 or more, in a reply of Redis.

    :raise Away: it is not such a number.
    """
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, bytes) and value.isdigit() and len(value) < 19:
        return int(value)
    raise Away("nonsense")


class InvalidClaim(Away):
    """The reply of a claim script has the wrong shape."""


class ClaimScripts:
    """Runs the claim scripts. Up to ``GLITCH_S`` after the last reply of Redis it tries a failed script again.

    :param clock: monotonic time.
    :param lost: called when Redis has lost the claims, and after the first reply.
    """

    def __init__(
        self,
        common: RedisScripts,
        sharing: Sharing,
        clock: IReactorTime,
        meter: IMeter,
        lost: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._seen = -math.inf
        self._common = common
        self._sharing = sharing
        self._meter = meter
        self._lost = lost
        self._mark: bytes | None = None
        self._marked = -math.inf
        self._nonsense = False

    @property
    def sees(self) -> bool:
        """Whether the other workers' claims can be seen."""
        return self._sharing.sees_others

    @property
    def seen_s(self) -> float:
        """Seconds for which the claims of all other workers could be seen without a break or a loss."""
        return self._clock.seconds() - max(self._marked, self._sharing.sees_since)

    def name(self, kind: str, data: bytes) -> str:
        """Hide data behind its HMAC, as used in names in Redis.

        :raise Away: the key for names has not been read from Redis yet.
        """
        return self._common.key(kind, data).decode("utf-8").rpartition(":")[2]

    def nonsense(self) -> InvalidClaim:
        """Count an invalid reply, log the first one, and return the error to raise."""
        self._meter.count("claims_total", outcome="nonsense")
        if not self._nonsense:
            _log.error(
                "Redis sent an invalid reply about claims of writes; the reply is ignored, and further ones are only"
                " counted (claims_total, outcome nonsense)"
            )
        self._nonsense = True
        return InvalidClaim("nonsense")

    async def claim(
        self,
        reference: str,
        names: WriteNames,
        *,
        left_s: float,
        keep_s: float,
        resource: str,
        highest: str,
        record: str,
        late_s: float,
        gone: str,
        author: str,
        most: int,
    ) -> list[Any]:
        """Claim a turn for a write; see claim.lua.

        :param left_s: seconds from now after which the write is no longer sent.
        :return: the outcome (one of ``_CLAIMS``), and its details.
        :raise Away: the claim is not known to have been made.
        """
        found = await self._run(
            "claim", reference,
            [*self._names(names), _ms(left_s), _ms(keep_s), resource, highest, record, _ms(late_s), gone, author,
             most, names.retry_of],
            2,
        )  # fmt: skip
        taken = found[0] in (b"yours", b"over")
        if (
            not _are_words(found)
            or found[0] not in _CLAIMS
            or (taken and not (len(found) == 6 and _are_numbers(found[1:]) and b"" not in found[2:]))
        ):
            raise self.nonsense()
        return found

    async def find(
        self,
        how: str,
        name: str,
        reference: str = "",
        *,
        equal: str = "",
        wait_s: float = 0.0,
        answer: bytes | None = None,
    ) -> list[Any]:
        """Find the write of which this one may be the retry; see find.lua for the arguments and the reply.

        :raise Away: Redis did not say.
        """
        found = await self._run("find", reference, [how, name, _ms(wait_s), equal, ""], 2, answer)
        if not _are_words(found) or (
            found[0] == b"is" and not (len(found) == 8 and _are_numbers(found[3:5]))
        ):
            raise self.nonsense()
        return found

    async def watch(self, reference: str, resource: str, *, adopt: bool) -> list[Any]:
        """Return what other workers did since a write was claimed; see watch.lua.

        :raise Away: Redis did not say.
        """
        found = await self._run("watch", reference, [resource, "1" if adopt else "0"], 1)
        if found[0] == b"mine" and (len(found) < 2 or not isinstance(found[1], list)):
            raise self.nonsense()
        return found

    async def settle(self, note: OutcomeNote, window_s: float) -> None:
        """Publish the outcome of a write; see settle.lua.

        :raise Away: the outcome is not known to be in Redis.
        """
        names = ["", "", ""] if note.names is None else self._names(note.names)
        await self._run(
            "settle", note.reference,
            [*names, note.state, note.record, note.resource, note.lost, int(note.handed), int(note.left),
             _ms(note.keep_s), note.author, note.answer, _ms(window_s), note.change, note.about,
             int(note.keeps_turn)],
            0,
            self._common.key("answer", note.reference.encode()),
        )  # fmt: skip

    async def said(self, highest: Sequence[str]) -> bool:
        """Tell Redis that this worker has published everything it knows; return whether all others have, too.

        :raise Away: Redis is not known to have noted it.
        """
        return number((await self._run("said", "", list(highest), 1))[0]) > 0

    def _names(self, names: WriteNames) -> list[str]:
        key = "" if names.key is None else self.name("key", names.key)
        return [self.name("turn", names.turn), self.name("equal", names.equal), key]

    async def _run(
        self,
        name: str,
        reference: str,
        args: Sequence[bytes | int | str],
        least: int,
        answer: bytes | None = None,
    ) -> list[Any]:
        while True:
            try:
                found = await self._once(name, reference, args, least, answer)
            except Away as away:
                # Redis answered a moment ago and may be back soon: no write goes without its claim before then.
                if isinstance(away, InvalidClaim) or self._clock.seconds() >= self._seen + GLITCH_S:
                    raise
                await task.deferLater(self._clock, AGAIN_S, lambda: None)
            else:
                self._seen = self._clock.seconds()
                return found

    async def _once(
        self,
        name: str,
        reference: str,
        args: Sequence[bytes | int | str],
        least: int,
        answer: bytes | None,
    ) -> list[Any]:
        if not self._sharing.sees_others:
            raise Away("not joined")
        key = self._common.key
        keys = [key("claims"), key("claims-ends"), key("claims-touched"), key("leases"), key("members")]
        if answer is not None:
            keys.append(answer)
        found = await self._common.run(script(name, "claims"), keys, [self._common.member, reference, *args])
        if not isinstance(found, list) or len(found) < 1 + least or not isinstance(found[0], bytes):
            raise self.nonsense()
        if found[0] != self._mark:
            self._mark, self._marked = found[0], self._clock.seconds()
            self._lost()
        return found[1:]


def _are_words(found: list[Any]) -> bool:
    return isinstance(found[0], bytes) and isinstance(found[1], bytes)


def _are_numbers(found: list[Any]) -> bool:
    """Whether each value is a whole number or empty."""
    try:
        return all(one == b"" or number(one) >= 0 for one in found)
    except Away:
        return False


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
