"""Writes across workers and machines: claims, retries and responses in Redis (docs/adr/0026); rules: ``scripts/``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve
from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from ....exchange.exchange import Identified
from ....http.errors import NotSent, OverCapacity
from ....http.messages import Identity, Response
from ....interfaces import IMeter
from ....sharing.kinds import Away, RedisScripts, Sharing
from ....sharing.news import EntriesInvalidated, News
from ...ledger.rows import write_answer
from ..background import LateWork
from ..claims import ClaimedElsewhere, ClaimUnknown, KnownWrite, RejoinResult, WriteTurn
from ..entry import WriteEntry, WriteNames, WriteState, has_effect
from ..equality import record_of
from ..keys import another, busy
from ..seen_ids import SeenIds, id_of
from .claim_scripts import ClaimScripts, number, text
from .outcome_lookup import JOINED_S, OutcomeLookup
from .outcome_notes import OutcomeNote
from .outcome_publisher import LedgerKeys, OutcomePublisher

ANSWER_BYTES = 256 << 10
DAY_S = 24 * 3600.0
SENT_AFTER_S = 1.0
"""Seconds after its deadline for which a write may still be sent."""
SILENT_S = 120.0
"""Seconds after a loss of the claims in Redis after which no worker can still send a write that it claimed before."""


class RedisClaims:
    """See ``outward.writes.claims.Claims``.

    :param keys: the settled keyed writes of this machine, published again when Redis has lost them.
    :param random: returns a number between 0 and 1.
    :param late_commit_s: seconds after sending after which HOSP has stored a write or never will.
    :param later_s: seconds for which a worker goes on looking for the outcome after its client got a response.
    :param window_s: seconds for which an equal write counts as the retry of one whose client got no response.
    :param most: fields in Redis (one or two for a write) from which on no write with a new key is claimed; writes
        without a key are claimed up to a fifth more.
    :param is_gone: whether a process of this machine, named by the second half of its member id, is surely dead.
    """

    def __init__(
        self,
        common: RedisScripts,
        sharing: Sharing,
        sightings: SeenIds,
        keys: LedgerKeys,
        clock: IReactorTime,
        random: Callable[[], float],
        meter: IMeter,
        *,
        late_commit_s: float,
        later_s: float = 600.0,
        window_s: float,
        most: int = 500_000,
        is_gone: Callable[[str], bool] = lambda _owner: False,
    ) -> None:
        self._common = common
        self._sightings = sightings
        self._keys = keys
        self._clock = clock
        self._random = random
        self._meter = meter
        self._late_commit_s = late_commit_s
        self._later_s = later_s
        self._window_s = window_s
        self._most = most
        self._mine: dict[str, WriteEntry] = {}
        self._adopted: set[str] = set()
        self._keeping_turn: dict[str, tuple[WriteEntry, str]] = {}
        self._scripts = ClaimScripts(common, sharing, clock, meter, self._lost_sight)
        self._seeing = OutcomeLookup(common, self._scripts, clock, random, is_gone)
        self._late_work = LateWork(meter)
        self._saying = OutcomePublisher(
            self._scripts,
            self._again,
            self._note,
            sightings,
            keys,
            clock,
            random,
            meter,
            window_s=window_s,
            kept_s=DAY_S,
        )
        sharing.listen(self.heard)

    # before a write is sent

    async def first(self, names: WriteNames) -> str | None:
        try:
            found = await self._scripts.find(
                "equal", self._scripts.name("equal", names.equal), wait_s=JOINED_S
            )
        except Away:
            return None
        if found[0] != b"join":
            return None
        self._meter.count("claims_total", outcome="joined")
        return text(found[1])

    async def rejoin(self, reference: str, deadline: float) -> str:
        wait_s = max(0.0, deadline - self._clock.seconds())
        try:
            found = await self._scripts.find("own", "", reference, wait_s=wait_s)
        except Away:
            found = [b"none"]
        if found[0] == b"none" and reference not in self._mine and await self._keys.is_handed_over(reference):
            # This worker read the write from the ledger at its start, while a sibling was handing the response over.
            return RejoinResult.HANDED_OVER
        others = {b"handed": RejoinResult.HANDED_OVER, b"waited": RejoinResult.WAITED_FOR}
        return others.get(found[0], RejoinResult.YES)

    async def keyed(self, names: WriteNames) -> str | None:
        assert names.key is not None
        equal = self._named("equal", names.equal)
        try:
            found = await self._scripts.find("key", self._named("key", names.key), equal=equal)
        except Away:
            self._meter.count("claims_total", outcome="unseen")
            raise ClaimUnknown from None
        return self._of_key(text(found[0]), text(found[1]))

    def _of_key(self, word: str, reference: str) -> str | None:
        if word == "other":
            raise another()
        if word == "busy":
            raise busy()
        if word == "unsaid":
            self._meter.count("claims_total", outcome="unseen")
            raise ClaimUnknown
        return reference if word == "known" else None

    async def claim(self, entry: WriteEntry, highest: int | None) -> WriteTurn:
        assert entry.names is not None
        # A known retry is not sent before the outcome of the first write is seen.
        waited, gone = entry.names.retry_of != "" and entry.key is None, ""
        while True:
            try:
                found = await self._claim_once(entry, highest, gone)
                word = text(found[0])
            except Away:
                if entry.key is not None or waited:
                    # Another write was seen to hold the turn, and this may be its retry: wait for it.
                    found, word = [], "away"
                else:
                    return self._untold(entry, highest)
            if word in ("yours", "over"):
                return self._taken(entry, found)
            if word == "away" and not waited:
                raise ClaimUnknown
            if word not in ("wait", "away"):
                if entry.names.retry_of:
                    # The orphan was settled meanwhile: pause, which the deadline bounds, should Redis repeat this.
                    await self._pause(entry.exchange.deadline, 0.5)
                self._may_not(word, text(found[1]))
            self._must_be_wanted(entry)
            waited, before = True, gone
            gone = (self._seeing.gone(text(found[1])) if word == "wait" else "") or gone
            if gone == before:
                await self._pause(entry.exchange.deadline)

    async def _claim_once(self, entry: WriteEntry, highest: int | None, gone: str) -> list[Any]:
        assert entry.names is not None
        left_s = max(0.0, entry.exchange.deadline - self._clock.seconds()) + SENT_AFTER_S
        operation, names = entry.call.operation, entry.names
        change = operation.lookup is None and entry.call.path
        keep_s = left_s + self._late_commit_s + self._later_s + 2 * self._window_s
        return await self._scripts.claim(
            entry.reference,
            names,
            left_s=left_s,
            keep_s=keep_s if names.key is None else keep_s + DAY_S,
            resource=operation.resource or "",
            highest="" if highest is None else str(highest),
            record=entry.call.record_id or "" if change and operation.resource else "",
            late_s=self._late_commit_s,
            gone=gone,
            author=self._author(entry.exchange.identity),
            most=self._most,
        )

    def _taken(self, entry: WriteEntry, found: list[Any]) -> WriteTurn:
        floor, sent_ago, began_ago, complete, blind = (
            None if found[1] == b"" else number(found[1]),
            *(number(one) / 1000 for one in found[2:6]),
        )
        self._mine[entry.reference] = entry
        over = text(found[0]) == "over"
        self._must_be_wanted(entry)
        self._meter.count("claims_total", outcome="taken over" if over else "claimed")
        if blind > 0:
            sent_ago = max(0.0, blind - SILENT_S)
        return WriteTurn(
            trusted=complete > 0,
            floor=floor,
            sent_ago_s=sent_ago if over or blind > 0 else None,
            began_ago_s=began_ago,
            blind=blind > 0,
            seen_s=self._scripts.seen_s,
        )

    def _untold(self, entry: WriteEntry, highest: int | None) -> WriteTurn:
        """Let the write be sent although Redis cannot record its claim."""
        self._mine[entry.reference] = entry
        self._must_be_wanted(entry)
        self._meter.count("claims_total", outcome="away")
        return WriteTurn(trusted=False, floor=highest)

    def _must_be_wanted(self, entry: WriteEntry) -> None:
        waits = entry.retry is not None and not entry.retry.presence.gone
        if entry.exchange.presence.gone and entry.key is None and not waits:
            # The client may be retrying through another worker, which could not know that this write may still be sent.
            raise NotSent("The client has left, so nothing was sent.")

    def _may_not(self, word: str, reference: str) -> None:
        if word == "full":
            self._meter.count("claims_total", outcome="full")
            raise OverCapacity("Too many writes are in progress; nothing was sent.")
        known = self._of_key(word, reference)
        if known is not None:
            raise ClaimedElsewhere(known)
        raise OverCapacity("It is not known whether this write may be sent now; nothing was sent.")

    async def _pause(self, deadline: float, least_s: float = 0.1) -> None:
        pause = least_s + 0.1 * self._random()
        if self._clock.seconds() + pause >= deadline:
            self._meter.count("claims_total", outcome="not in time")
            raise OverCapacity("An equal write, or one to the same record, is still in progress.")
        await task.deferLater(self._clock, pause, lambda: None)

    # what another worker does

    async def known(self, reference: str) -> KnownWrite | None:
        return await self._seeing.known(reference)

    async def settled(self, reference: str, exchange: Identified) -> KnownWrite | None:
        return await self._seeing.settled(reference, exchange)

    async def learn(self, entry: WriteEntry) -> bool | None:
        if entry.names is None:
            return True
        resource = entry.call.operation.resource or ""
        try:
            found = await self._scripts.watch(
                entry.reference, resource, adopt=entry.reference in self._adopted
            )
            if found[0] != b"mine":
                return False
            for one in found[1]:
                self._take_in(entry, resource, text(one))
        except Away:
            return None
        return True

    def _take_in(self, entry: WriteEntry, resource: str, said: str) -> None:
        what, rest = said[:1], said[len(resource) + 3 :]
        record, reference = rest, ""
        if what == "c":
            record, _, reference = rest.rpartition(" ")
        if what == "t":
            self._sightings.touch_record(resource, record)
        elif reference != entry.reference:
            self._sightings.claim(resource, id_of(record), reference)

    def heard(self, news: News) -> None:
        """Note the records that other workers say they change or make."""
        if not isinstance(news, EntriesInvalidated) or news.resource is None:
            return
        if news.record is not None:
            self._sightings.touch_record(news.resource, news.record)
        if news.taken is not None:
            self._sightings.claim(news.resource, id_of(news.taken), "another worker's")

    # what became of a write

    async def settle(self, entry: WriteEntry, state: WriteState, *, keeps_turn: bool = False) -> None:
        if keeps_turn and entry.names is not None:
            self._keeping_turn[entry.reference] = entry, state.value
        else:
            self._keeping_turn.pop(entry.reference, None)
        await self._settle(entry, state.value, keeps_turn=keeps_turn)

    async def give_back(self, entry: WriteEntry) -> None:
        await self._settle(entry, "back")

    async def _settle(self, entry: WriteEntry, state: str, *, keeps_turn: bool = False) -> None:
        self._mine.pop(entry.reference, None)
        self._adopted.discard(entry.reference)
        if entry.names is not None:
            await self._saying.say(self._note(entry, state, keeps_turn=keeps_turn))

    def _note(self, entry: WriteEntry, state: str, *, keeps_turn: bool = False) -> OutcomeNote:
        """Build the note of an entry: everything that other workers need to know of it."""
        kept = entry.key is not None or entry.told_unknown
        keep_s = DAY_S if kept else self._window_s + 60.0
        note = OutcomeNote(
            reference=entry.reference,
            names=entry.names,
            state=state,
            keeps_turn=keeps_turn,
            lost=2 if entry.told_unknown else int(entry.lost or entry.exchange.presence.gone),
            handed=entry.handed_over,
            author=self._author(entry.exchange.identity),
            keep_s=keep_s,
            until=self._clock.seconds() + keep_s,
        )
        call = entry.call if entry.is_readable else None
        if entry.record is not None:
            made = call is not None and call.operation.lookup is not None
            resource = call.operation.resource or "" if call is not None and made else ""
            note = evolve(note, record=entry.record, resource=resource)
        if call is not None and record_of(entry.exchange) is not None:
            note = evolve(note, about=f"{call.operation.resource} {call.record_id}")
            if has_effect(entry, state):
                note = evolve(note, change="d" if call.operation.action == "delete" else "c")
        if state in (WriteState.ANSWERED.value, WriteState.FOUND.value) and entry.answer is not None:
            note = evolve(note, answer=self._sealed(entry.reference, entry.answer))
        return note

    def _sealed(self, reference: str, answer: Response) -> bytes:
        if len(answer.body) > ANSWER_BYTES:
            return b""
        try:
            key = self._common.key("answer", reference.encode())
        except Away:
            return b""
        return self._common.vault.seal(write_answer(answer), key)

    async def tell_unknown(self, entry: WriteEntry) -> None:
        if entry.names is not None:
            await self._saying.say(self._note(entry, "open"))

    def adopt(self, entry: WriteEntry) -> None:
        if entry.names is not None:
            self._mine[entry.reference] = entry
            self._adopted.add(entry.reference)
            self._late_work.begin(self._adopt(entry))

    async def _adopt(self, entry: WriteEntry) -> None:
        await self.learn(entry)

    def lost(self, entry: WriteEntry) -> None:
        self._later(OutcomeNote(reference=entry.reference, lost=1, keep_s=self._window_s + 60.0))

    def handed_over(self, reference: str) -> None:
        self._later(OutcomeNote(reference=reference, handed=True, keep_s=self._window_s))

    def left(self, reference: str) -> None:
        self._later(OutcomeNote(reference=reference, left=True, keep_s=self._window_s + 60.0))

    def _later(self, note: OutcomeNote) -> None:
        note = evolve(note, until=self._clock.seconds() + DAY_S)
        self._late_work.begin(self._saying.say(note))

    # after a loss

    def begin_epoch(self) -> None:
        """Publish all writes again: Redis may have lost them."""
        self._saying.again()

    def _lost_sight(self) -> None:
        self._saying.again()

    def _again(self) -> Iterator[OutcomeNote]:
        """Notes of all writes that are open or keep their turn. Each is built when it is taken, if it still applies."""
        mine, kept = self._mine, self._keeping_turn
        yield from (self._note(entry, "open") for name, entry in list(mine.items()) if name in mine)
        yield from (self._note(*one, keeps_turn=True) for name, one in list(kept.items()) if name in kept)

    def stop(self) -> None:
        """Stop publishing outcomes, and cancel the work in the background."""
        self._late_work.stop()
        self._saying.stop()

    def _named(self, kind: str, data: bytes) -> str:
        try:
            return self._scripts.name(kind, data)
        except Away:
            raise ClaimUnknown from None

    def _author(self, identity: Identity | None) -> str:
        if identity is None:
            return ""
        try:
            return self._scripts.name("author", repr(identity.id).encode())
        except Away:
            return ""

    def is_author(self, known: KnownWrite, identity: Identity | None) -> bool:
        return known.author != "" and known.author == self._author(identity)
