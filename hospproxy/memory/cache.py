"""The cache: serves reads from memory, with separate entries for each set of credentials."""

from __future__ import annotations

from functools import partial

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..contract.contract import Contract
from ..contract.identity_response import identity_in
from ..exchange.call_ids import patient_of
from ..exchange.exchange import Identified
from ..exchange.words import CacheWord
from ..http.errors import NothingCached, OwnWriteHidden, ProxyError
from ..http.messages import Identity, Response
from ..interfaces import Ask, IMeter, IProcessor, Proceed
from ..options.cache_section import CacheSettings
from ..sharing.tags import ACCOUNTS, WHO, credentials_tag
from .directives import CacheDirectives, wish_of
from .fills import Fetched, Fill
from .hit_again import hit_again
from .key import EntryLocation, key_of
from .memory import Memory, WriteAuthor
from .refresh import Revalidator
from .second_level import LookupTicket, SecondLevelAccess, SharedHit
from .stale import FAILURES, may_replace, may_revalidate, may_stand_in, status_of, status_of_write
from .staleness import tags_of_answer
from .stall_fallback import unless_stalled
from .storable import NAME, initial_age, media_types, passed, to_keep, why_not_kept
from .store import CacheEntry, EntryMark, EntryRequest, LruStore, size_of


@implementer(IProcessor)
class Cache:
    """Serves reads from memory, stores HOSP's responses, and invalidates what a write touches.

    It stays in the chain when caching is disabled: writes still invalidate what is remembered of credentials.
    :param settings: a reload replaces them; entries keep the lifetime that they were stored with.
    :param contract: lifetimes, and the form of responses. ``memory`` stores the entries.
    :param clock: monotonic time.
    :param ask: ``OwnRequests.ask``, to revalidate an entry that was served stale; None: no background revalidation.
    :param second: entries shared with other processes; None: there are no others.
    """

    def __init__(
        self,
        settings: CacheSettings,
        contract: Contract,
        memory: Memory,
        clock: IReactorTime,
        meter: IMeter,
        ask: Ask | None = None,
        second: SecondLevelAccess | None = None,
    ) -> None:
        self.settings = settings
        self._second = SecondLevelAccess() if second is None else second
        self._who = contract.identity
        self._override_no_cache = contract.override_no_cache
        self.refresher = Revalidator(ask, meter)
        self._memory = memory
        self._clock = clock
        self._meter = meter
        self._types = {
            one.id: media_types(contract, one) for one in contract.operations.values() if one.is_read
        }
        store = memory.store
        if isinstance(store, LruStore):
            meter.gauge("cache_bytes", lambda: store.bytes)
            meter.gauge("cache_entries", lambda: len(store))

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Respond from memory, or let HOSP respond.

        :raise ProxyError: 504: the client accepts only a cached response, and there is none.
        """
        call = exchange.call
        if call.operation.is_write:
            response = await self._memory.around_write(
                call, lambda: proceed(exchange), WriteAuthor.of(exchange), lambda: exchange.trace.attempts > 0
            )
            return passed(response, status_of_write(response))
        if not call.operation.is_read:
            response = await proceed(exchange)
            return passed(response, b"fwd=method; fwd-status=%d" % response.status)
        return await self._read(exchange, proceed)

    async def _read(self, exchange: Identified, proceed: Proceed) -> Response:
        wish = wish_of(exchange.request.headers)
        place = None if exchange.past_cache else self._place(exchange)
        if exchange.offline:
            nothing = NothingCached("The upstream server cannot be asked, and no response is cached.")
            return await self._instead(exchange, wish, nothing)
        if place is None:
            return await self._past(exchange, proceed, wish, b"bypass", "bypass")
        forward: bytes = b"uri-miss"
        word: CacheWord = "miss"
        if not place.settled:
            forward, word = b"bypass", "bypass"
        elif not self._memory.sharing.may_serve:
            # This worker may not have heard of another worker's write.
            forward, word = b"bypass; detail=no-lease", "bypass"
        else:
            entry: CacheEntry | None = self._memory.store.get(place.key)
            now = self._clock.seconds()
            if entry is not None:
                if wish.accepts(now - entry.began, entry.fresh_until - now):
                    exchange.trace.hit = partial(hit_again, self._memory, place, entry, wish, self._meter)
                    return self._hit(exchange, entry, now)
                if why := self._may_be_renewed_later(exchange, wish, now - entry.fresh_until):
                    self.refresher.refresh(exchange, place.key)
                    return self._stale(exchange, entry, now, why)
                expired = entry.fresh_until <= now
                forward, word = (b"stale", "expired") if expired else (b"request", "refresh")
            elif wish.no_cache:
                forward, word = b"request", "refresh"
        return await self._forwarded(exchange, proceed, place, wish, forward, word)

    def _may_be_renewed_later(self, exchange: Identified, wish: CacheDirectives, over_s: float) -> bytes:
        """Why a stale entry is served at once and revalidated in the background; b"" if it is not."""
        operation = exchange.call.operation
        if exchange.own or not self.refresher.able:
            return b""
        if may_revalidate(operation, wish, over_s):
            return b"stale-while-revalidate"
        stands_in = self._memory.stalls.stalled and may_stand_in(operation, wish, over_s)
        return b"stale-while-stalled" if stands_in else b""

    async def _forwarded(
        self,
        exchange: Identified,
        proceed: Proceed,
        place: EntryLocation,
        wish: CacheDirectives,
        forward: bytes,
        word: CacheWord,
    ) -> Response:
        """HOSP's response, or a stored one while HOSP fails."""
        try:
            if wish.only_if_cached or wish.no_store:
                response = await self._past(exchange, proceed, wish, forward, word)
            else:
                fetch = self._fetched(exchange, proceed, place, wish, forward, word)
                kept = lambda: self._while_stalled(exchange, place, wish)  # noqa: E731
                stalls = self._memory.stalls
                response = await (fetch if exchange.own else unless_stalled(fetch, stalls, kept))
        except ProxyError as error:
            if error.status < 500 or exchange.own or wish.only_if_cached:
                raise
            return await self._instead(exchange, wish, error)
        if response.status in FAILURES and not exchange.own:
            return await self._instead(exchange, wish, response)
        return response

    async def _while_stalled(
        self, exchange: Identified, place: EntryLocation, wish: CacheDirectives
    ) -> Response | None:
        """An entry that no write has invalidated: HOSP may only be slow, so an invalidated one will not do."""
        found = await self._kept_for(exchange) if self._memory.sharing.may_serve else None
        now = self._clock.seconds()
        if found is None or found[1] is not EntryMark.CLEAN or not self._memory.sharing.may_serve:
            return None
        if not may_stand_in(exchange.call.operation, wish, now - found[0].fresh_until):
            return None
        fill = self._memory.fills.joinable(place.key)
        if fill is not None and fill.exchange.request is exchange.request:
            exchange.trace.attempts = fill.exchange.trace.attempts
        return self._stale(exchange, found[0], now, b"stale-while-stalled")

    async def _instead(
        self, exchange: Identified, wish: CacheDirectives, failed: Response | ProxyError
    ) -> Response:
        """An entry in place of a failure, however old within the route's limit.

        :raise OwnWriteHidden: the entry contradicts what this user was told had been stored.
        :raise ProxyError: the failure itself, if no entry may be served.
        """
        kept = await self._kept_for(exchange)
        now = self._clock.seconds()
        if kept is None or not may_replace(exchange.call.operation, wish, now - kept[0].fresh_until):
            if isinstance(failed, ProxyError):
                raise failed
            return failed
        entry, mark = kept
        if mark is EntryMark.HIDDEN:
            self._note(exchange, "hidden")
            raise OwnWriteHidden(
                "The cached response lacks your own last change, and the upstream server cannot be asked."
            )
        why = b"stale-if-error" if mark is EntryMark.CLEAN else b"stale-if-error-invalidated"
        return self._stale(exchange, entry, now, why, failed, mark)

    async def _kept_for(self, exchange: Identified) -> tuple[CacheEntry, EntryMark] | None:
        """The entry for a read, in this process or on disk, whatever its mark."""
        place = self._place(exchange)
        if place is None or not place.settled:
            return None
        store = self._memory.store
        here: tuple[CacheEntry, EntryMark] | None = store.kept(place.key)
        if here is not None:
            return here
        found = await self._memory.keeper.get(place.name)
        again = self._place(exchange)
        if found is None or again is None or not again.settled or again.key != place.key:
            return None
        here = store.kept(place.key)
        if here is not None:  # a response from HOSP arrived meanwhile
            return here
        entry, mark = found
        store.put(place.key, entry, size_of(entry, place.tags), place.tags, mark)
        return found

    def _stale(
        self, exchange: Identified, entry: CacheEntry, now: float, why: bytes,
        failed: Response | ProxyError | None = None, mark: EntryMark = EntryMark.CLEAN,
    ) -> Response:  # fmt: skip
        self._note(exchange, "stale", entry)
        response = entry.response.having(b"Age", b"%d" % int(now - entry.began))
        ttl = int(entry.fresh_until - now)
        status = status_of(exchange, ttl, why, failed, clean=mark is EntryMark.CLEAN)
        return self._passed(exchange, response, status)

    def _place(self, exchange: Identified) -> EntryLocation | None:
        """Where to store the response; None if it may not be stored."""
        call = exchange.call
        lifetime_s = self.settings.lifetimes.get(call.operation.id, call.operation.cache_s)
        if not self.settings.enabled or lifetime_s <= 0:
            return None
        client = exchange.request.client
        if call.operation.public and call.authorization is None:
            key = key_of(call, client, None, 0)
            return EntryLocation(key, tags_of_answer(call, None), lifetime_s, None, True, key)
        identity = exchange.identity
        if identity is None:
            return self._place_of_stranger(exchange, lifetime_s)
        accounts = self._memory.accounts
        settled = accounts.settled(identity)
        generation = accounts.generation(identity)
        key = key_of(call, client, identity, generation)
        name = key if generation == 0 else key_of(call, client, identity, 0)
        return EntryLocation(key, tags_of_answer(call, identity), lifetime_s, identity, settled, name)

    def _place_of_stranger(self, exchange: Identified, lifetime_s: float) -> EntryLocation | None:
        """Where to store the response to "who am I" until it tells the account. Any account change voids it."""
        call, credentials = exchange.call, exchange.credentials
        if self._who is None or call.operation.id != self._who.operation or credentials is None:
            return None
        key = b"who" + key_of(call, exchange.request.client, Identity("", "", credentials), 0)
        tags = (WHO, ACCOUNTS, credentials_tag(credentials), *tags_of_answer(call, None))
        return EntryLocation(key, tags, lifetime_s, None, True, key)

    def _place_of_whom(self, fill: Fill, place: EntryLocation, response: Response) -> EntryLocation | None:
        """Where a response belongs, now that it tells the account."""
        exchange = fill.exchange
        told_already = place.identity is not None or exchange.call.operation.public
        if told_already or exchange.credentials is None or self._who is None:
            return place
        identity = identity_in(self._who, response, exchange.credentials)
        found = None if identity is None else self._place(evolve(exchange, identity=identity))
        return found if found is not None and found.settled else None

    async def _past(
        self, exchange: Identified, proceed: Proceed, wish: CacheDirectives, forward: bytes, word: CacheWord
    ) -> Response:
        """Let HOSP respond to this request alone; store nothing."""
        self._note(exchange, word)
        if wish.only_if_cached:
            headers = ((b"Cache-Status", NAME + b"; detail=only-if-cached"),)
            raise ProxyError("No such response is cached.", status=504, headers=headers)
        response = await proceed(exchange)
        status = b"fwd=%b; fwd-status=%d" % (forward, response.status)
        return self._passed(exchange, response, status)

    def _hit(self, exchange: Identified, entry: CacheEntry, now: float) -> Response:
        self._note(exchange, "hit", entry)
        response = entry.response.having(b"Age", b"%d" % int(now - entry.began))
        status = b"hit; ttl=%d" % int(entry.fresh_until - now)
        return self._passed(exchange, response, status)

    def _shared_hit(self, exchange: Identified, entry: CacheEntry) -> Response:
        exchange.trace.cache_status, exchange.trace.kept = "hit", entry.response
        self._meter.count("cache_events_total", event="shared_hit")
        now = self._clock.seconds()
        response = entry.response.having(b"Age", b"%d" % int(now - entry.began))
        return self._passed(exchange, response, b"hit; ttl=%d; detail=shared" % int(entry.fresh_until - now))

    async def _fetched(
        self,
        exchange: Identified,
        proceed: Proceed,
        place: EntryLocation,
        wish: CacheDirectives,
        forward: bytes,
        word: CacheWord,
    ) -> Response:
        """The response of a fetch that is already in flight, or of a new one."""
        may_join = self._memory.sharing.may_serve
        fill = self._memory.fills.joinable(place.key) if may_join else None
        joined = fill is not None and wish.accepts(self._clock.seconds() - fill.began, place.lifetime_s)
        if fill is None or not joined:
            fill = self._begin(exchange, proceed, place, wish)
        else:
            fill.wish = fill.wish.and_of(wish)
        self._note(exchange, "collapsed" if joined else word)
        try:
            fetched = await self._memory.fills.wait(fill, exchange.deadline)
        finally:
            if not joined:
                ours, of_fetch = exchange.trace, fill.exchange.trace
                ours.attempts, ours.looks = of_fetch.attempts, of_fetch.looks
        if fetched.entry is not None:
            return self._shared_hit(exchange, fetched.entry)
        response = fetched.response
        status = b"fwd=%b; fwd-status=%d" % (forward, response.status)
        if joined:
            # A cookie is only for the device whose request HOSP saw. The proxy sends no cookies on, so the response
            # itself cannot depend on one, and a separate fetch for each waiting client would only be a surge.
            response, status = to_keep(response), status + b"; collapsed"
        elif fetched.fresh_s is not None:
            status += b"; stored; ttl=%d" % int(fetched.fresh_s)
        elif fetched.why_not and b"detail" not in forward:
            status += b"; detail=" + fetched.why_not.encode("ascii")
        return self._passed(exchange, response, status)

    def _passed(self, exchange: Identified, response: Response, status: bytes) -> Response:
        """A response as it goes out. A 304 has no body, but the audit record must still name the patient."""
        result = passed(response, status, exchange.request.headers.all(b"if-none-match"))
        if result.status == 304:
            exchange.trace.patient = exchange.trace.patient or patient_of(exchange.call, response)
            exchange.trace.unchanged = response.body
        return result

    def _begin(
        self, exchange: Identified, proceed: Proceed, place: EntryLocation, wish: CacheDirectives
    ) -> Fill:
        async def fetch(fill: Fill) -> Fetched:
            found, ticket = await self._second.look(fill, place.name, place.tags)
            shared = None if found is None else self._shared(fill, place, found)
            if shared is not None:
                return Fetched(shared.response, entry=shared)
            response = await proceed(fill.exchange)
            belongs = self._place_of_whom(fill, place, response)
            return Fetched(response) if belongs is None else self._kept(fill, belongs, response, ticket)

        return self._memory.fills.begin(place.key, place.tags, exchange.apart(), place.settled, fetch, wish)

    def _shared(self, fill: Fill, place: EntryLocation, found: SharedHit) -> CacheEntry | None:
        """Store another process's entry here too; None if it does not satisfy all who wait."""
        exchange, now = fill.exchange, self._clock.seconds()
        strangers = WHO in place.tags
        belongs = self._place_of_whom(fill, place, found.response) if strangers else self._place(exchange)
        if belongs is not None and belongs.settled and (strangers or belongs.key == place.key):
            fresh_until = found.answered + belongs.lifetime_s
            # This process may know of a write whose invalidation has not reached all others yet.
            current = found.began > self._memory.fills.struck((*place.tags, *belongs.tags))
            believed = not strangers or now - found.began < self._memory.accounts.remember_s
            if current and believed and fill.wish.accepts(now - found.began, fresh_until - now):
                return self._keep_here(exchange, belongs, found, fresh_until)
        return None

    def _kept(
        self, fill: Fill, place: EntryLocation, response: Response, ticket: LookupTicket | None
    ) -> Fetched:
        """Store what may be stored: nothing that began before a write which it may have missed."""
        if response.status == 401 and place.identity is not None:
            self._memory.accounts.forget(place.identity.credentials)
        types = self._types.get(fill.exchange.call.operation.id, frozenset())
        why_not = why_not_kept(
            response, types, self.settings.max_entry_bytes, override_no_cache=self._override_no_cache
        )
        if not why_not and (fill.doomed or not fill.keep):
            why_not = "invalidated" if fill.doomed else "unsettled"
        age = initial_age(response.headers)
        if not why_not and age >= place.lifetime_s:
            why_not = "too-old"
        if why_not:
            self._meter.count("cache_events_total", event="not_stored")
            return Fetched(response, None, why_not)
        # Freshness counts from HOSP's response, which takes up to 20 s; the age counts from the request.
        found = SharedHit(to_keep(response), fill.began - age, self._clock.seconds() - age)
        self._keep_here(fill.exchange, place, found, found.answered + place.lifetime_s)
        self._second.keep(ticket, found, place.lifetime_s)
        self._meter.count("cache_events_total", event="stored")
        return Fetched(response, place.lifetime_s - age)

    def _keep_here(
        self, exchange: Identified, place: EntryLocation, found: SharedHit, until: float
    ) -> CacheEntry:
        call = exchange.call
        asked = EntryRequest(call.operation.id, call.query, exchange.request.client.origin)
        entry = CacheEntry(found.response, found.began, until, place.name, asked)
        self._memory.store.put(place.key, entry, size_of(entry, place.tags), place.tags)
        if call.operation.stale_if_error_s > 0:
            self._memory.keeper.put(entry, place.tags)
        return entry

    def _note(self, exchange: Identified, word: CacheWord, entry: CacheEntry | None = None) -> None:
        exchange.trace.cache_status, exchange.trace.kept = word, None if entry is None else entry.response
        self._meter.count("cache_events_total", event=word)
