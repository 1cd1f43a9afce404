"""What is known about credentials: whose they are according to HOSP, and what has changed since.

Everything is bounded. When something must be forgotten, a floor replaces it that errs on the safe side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from ..http.messages import Identity
from ..process.hook import Hook
from ..sharing.tags import ACCOUNTS, account_tag, credentials_tag
from .bounded import LastChanges, OpenCounts
from .persistence import NoPersistence, Persistence

RESUME_S = 600.0
"""Seconds for which an account stays unsettled that was being changed when the last process ended. The proxy looks for
the outcomes of that process's writes for as long."""
RENEW_AGAIN_S = 1.0
"""Minimum seconds before an acceptance is renewed, so that it may end this much earlier: every response renews it."""
KEEP_AGAIN_S = 60.0
"""Minimum seconds before an acceptance is written to disk again."""


@frozen(slots=True)
class _Accepted:
    identity: Identity
    until: float


@frozen(slots=True)
class _Lately:
    """When credentials were last accepted.

    :param at: monotonic seconds at which HOSP last accepted them.
    :param kept: the same, as written to disk.
    """

    identity: Identity
    at: float
    kept: float


class Accounts:
    """Credentials that HOSP has accepted, and the sequence of changes to accounts.

    :param clock: monotonic time.
    :param max_remembered: maximum number of credentials, and of accounts, to remember.
    :param remember_s: seconds for which an acceptance by HOSP is valid.
    :param grace_s: seconds for which it is valid while HOSP is down, for stored responses only.
    :param keeper: stores the acceptances for the grace over a restart.
    """

    def __init__(
        self,
        clock: IReactorTime,
        max_remembered: int,
        remember_s: float,
        grace_s: float = 0.0,
        keeper: Persistence | None = None,
    ) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._keeper: Persistence = NoPersistence() if keeper is None else keeper
        self._lately: OrderedDict[bytes, _Lately] = OrderedDict()
        self._max = max(1, max_remembered)
        self._remember_s = remember_s
        self._sequence = 0
        self._accepted: OrderedDict[bytes, _Accepted] = OrderedDict()
        self._credentials_of: dict[str, set[bytes]] = {}
        self._changes: LastChanges[str] = LastChanges(self._max)
        self._refusals: LastChanges[bytes] = LastChanges(self._max)
        self._writing = OpenCounts(self._max)
        self._unknown = OpenCounts(self._max)
        self._late: OrderedDict[str, float] = OrderedDict()
        self._all_late: float | None = None
        self._elsewhere: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._doubted = OpenCounts(self._max)
        self.refused_here: Hook[[bytes]] = Hook()
        """HOSP has refused these credentials in this process."""
        self.revoked: Hook[[str]] = Hook()
        """An account has changed: the cache entries with this tag must be deleted."""

    def reload(self, remember_s: float, grace_s: float) -> None:
        """Apply changed options. A shorter time holds at once for credentials that are remembered already."""
        self._grace_s = grace_s
        self._remember_s = remember_s
        latest = self._clock.seconds() + remember_s
        for credentials, accepted in self._accepted.items():
            if accepted.until > latest:
                self._accepted[credentials] = evolve(accepted, until=latest)

    def __len__(self) -> int:
        return len(self._accepted)

    def ticket(self) -> int:
        """A point in the sequence of changes. Take it before HOSP is asked."""
        if self._late or self._elsewhere or self._all_late is not None:
            self._end_late()
        return self._sequence

    @property
    def remember_s(self) -> float:
        """Seconds for which an acceptance by HOSP is valid."""
        return self._remember_s

    def remember(self, identity: Identity, ticket: int, ago_s: float = 0.0) -> None:
        """HOSP has accepted these credentials.

        Nothing is stored if the account, or HOSP's verdict on the credentials, may have changed since.

        :param ticket: taken before HOSP was asked.
        :param ago_s: seconds since HOSP accepted them in another process; the acceptance expires that much earlier.
        """
        account = str(identity.id)
        changed = max(self._changes.of(account), self._refusals.of(identity.credentials))
        if not self.settled(identity) or changed > ticket:
            return
        until = self._clock.seconds() + self._remember_s - ago_s
        before = self._accepted.get(identity.credentials)
        if before is not None and before.identity == identity:
            if until < before.until + min(RENEW_AGAIN_S, self._remember_s / 10):
                self._accepted.move_to_end(identity.credentials)
                return
            until = max(until, before.until)
        self._drop(identity.credentials)
        self._accepted[identity.credentials] = _Accepted(identity, until)
        self._credentials_of.setdefault(account, set()).add(identity.credentials)
        if len(self._accepted) > self._max:
            self._drop(next(iter(self._accepted)))
        self._note_lately(identity, ago_s)

    def _note_lately(self, identity: Identity, ago_s: float) -> None:
        now = self._clock.seconds() - ago_s
        before = self._lately.pop(identity.credentials, None)
        if before is None or before.identity != identity:
            before = None
            kept = now
        else:
            now, kept = max(now, before.at), before.kept
        if kept + KEEP_AGAIN_S <= now:
            kept = now
        if before is None or kept == now:
            self._keeper.accept(identity, ago_s)
        self._lately[identity.credentials] = _Lately(identity, now, kept)
        if len(self._lately) > self._max:
            self._lately.popitem(last=False)

    async def grace(self, credentials_hmac: bytes) -> Identity | None:
        """The principal, if HOSP accepted the credentials within the grace and nothing was revoked since.

        For stored responses only.
        """
        lately = self._lately.get(credentials_hmac)
        if lately is None:
            sequence = self.ticket()
            found = await self._keeper.accepted(credentials_hmac)
            if found is None or sequence != self.ticket():
                # Some account has changed meanwhile. That is rare enough to refuse once what could have been granted.
                return None
            identity, ago = found
        else:
            identity, ago = lately.identity, self._clock.seconds() - lately.at
        return identity if ago < self._grace_s and self.settled(identity) else None

    def recall(self, credentials_hmac: bytes, now: float | None = None) -> Identity | None:
        """The principal, if HOSP accepted the credentials recently and the account has not changed since.

        :param now: what the clock says, if the caller knows.
        """
        accepted = self._accepted.get(credentials_hmac)
        if accepted is None:
            return None
        if accepted.until <= (self._clock.seconds() if now is None else now):
            self._drop(credentials_hmac)
            return None
        self._accepted.move_to_end(credentials_hmac)
        return accepted.identity

    def forget(self, credentials_hmac: bytes) -> None:
        """HOSP refused these credentials: their cache entries become unreachable too."""
        self.refused_elsewhere(credentials_hmac)
        self.refused_here.tell(credentials_hmac)

    def refused_elsewhere(self, credentials_hmac: bytes) -> None:
        """The same, reported by another worker."""
        self._sequence += 1
        self._refusals.note(credentials_hmac, self._sequence)
        self._drop(credentials_hmac)
        self._lately.pop(credentials_hmac, None)
        self.revoked.tell(credentials_tag(credentials_hmac))

    def generation(self, identity: Identity) -> int:
        """A number that every change of the account raises; it never falls."""
        self._end_late()
        return self._changes.of(str(identity.id))

    def settled(self, identity: Identity) -> bool:
        """Whether no write that may change this account is in flight or has an unknown outcome."""
        self._end_late()
        account = str(identity.id)
        late = account in self._late or self._all_late is not None or self._doubted.holds(account)
        return not (late or self._writing.holds(account) or self._unknown.holds(account))

    def unchanged(self, identity: Identity, generation: int) -> bool:
        """Whether the account is settled and still has this generation."""
        return self.settled(identity) and self._changes.of(str(identity.id)) == generation

    def changing(self, staff_id: str | None) -> None:
        """A write to a staff record begins.

        :param staff_id: the record's id; None for a write that may change every account.
        """
        self._writing.add(staff_id)
        self._keeper.doubt(staff_id, True)
        self._raise(staff_id)

    def changed(self, staff_id: str | None) -> None:
        """A write to a staff record has ended, with a known outcome."""
        self._writing.end(staff_id)
        self._raise(staff_id)
        self._end_doubt(staff_id)

    def resume(self, in_doubt: Iterable[str | None]) -> None:
        """These accounts were being changed when the last process ended, and the outcomes are unknown.

        :param in_doubt: ids of staff records; None for all accounts.
        """
        for staff_id in in_doubt:
            self._stay_open(staff_id, self._clock.seconds() + RESUME_S)
            self._raise(staff_id)

    def elsewhere(self, reference: str, staff_id: str | None, doubt_s: float) -> None:
        """Another worker changes an account, or has changed it.

        :param reference: of the change; a later call with the same reference ends the doubt that it opened.
        :param staff_id: the record's id; None for all accounts.
        :param doubt_s: seconds for which the account is unsettled unless another report follows; 0: it is settled.
        """
        self._end_elsewhere(reference)
        if doubt_s > 0:
            self._elsewhere[reference] = staff_id, self._clock.seconds() + min(doubt_s, RESUME_S)
            self._doubted.add(staff_id)
            if len(self._elsewhere) > self._max:
                oldest = next(iter(self._elsewhere))
                self._stay_open(None, self._elsewhere[oldest][1])
                self._end_elsewhere(oldest)
        self._raise(staff_id)

    def anything(self) -> None:
        """Any account may have changed unnoticed: ask HOSP again who everybody is.

        The grace for outages (``grace``) stays. Otherwise each start of a process among others, and each restart of
        Redis, would take from everybody what is stored for an outage. A reported change ends it.
        """
        self._sequence += 1
        self._changes.note_all(self._sequence)
        self._accepted.clear()
        self._credentials_of.clear()

    def no_grace(self) -> None:
        """End the grace of everybody: any of them may have been revoked since."""
        self._sequence += 1
        self._lately.clear()

    def _end_elsewhere(self, reference: str) -> None:
        open_one = self._elsewhere.pop(reference, None)
        if open_one is not None:
            self._doubted.end(open_one[0])

    def touched(self, staff_id: str | None) -> None:
        """The outcome of an earlier process's write to a staff record is now known."""
        self._raise(staff_id)

    def left_open(self, staff_id: str | None, for_s: float | None = None) -> None:
        """A write to a staff record has ended without a known outcome: the account stays unsettled.

        :param for_s: seconds after which it was carried out or never will be; None: until ``found``.
        """
        self._writing.end(staff_id)
        if for_s is None:
            self._unknown.add(staff_id)
        else:
            self._stay_open(staff_id, self._clock.seconds() + for_s)
        self._raise(staff_id)

    def found(self, staff_id: str | None) -> None:
        """The outcome of a write that was left open is now known."""
        self._unknown.end(staff_id)
        self._raise(staff_id)
        self._end_doubt(staff_id)

    def _end_doubt(self, staff_id: str | None) -> None:
        """Remove the doubt that is stored for the next process, unless another change of the account is open."""
        late = self._all_late is not None if staff_id is None else staff_id in self._late
        if not (late or self._writing.counts(staff_id) or self._unknown.counts(staff_id)):
            self._keeper.doubt(staff_id, False)

    def _stay_open(self, staff_id: str | None, until: float) -> None:
        if staff_id is not None:
            self._late[staff_id] = max(until, self._late.pop(staff_id, until))
            if len(self._late) <= self._max:
                return
            # Too many to track separately: merge the oldest into "all accounts", which covers it too.
            _, until = self._late.popitem(last=False)
        self._all_late = until if self._all_late is None else max(until, self._all_late)

    def _end_late(self) -> None:
        """End expired doubts and raise the generation: meanwhile, responses from before the write may have come."""
        if self._all_late is None and not self._late and not self._elsewhere:
            return
        now = self._clock.seconds()
        if self._all_late is not None and self._all_late <= now:
            self._all_late = None
            self._raise(None)
            self._end_doubt(None)
        for staff_id in [one for one, until in self._late.items() if until <= now]:
            del self._late[staff_id]
            self._raise(staff_id)
            self._end_doubt(staff_id)
        for reference in [one for one, (_, until) in self._elsewhere.items() if until <= now]:
            staff = self._elsewhere[reference][0]
            self._end_elsewhere(reference)
            self._raise(staff)

    def _raise(self, staff_id: str | None) -> None:
        self._sequence += 1
        if staff_id is None:
            self._changes.note_all(self._sequence)
            self._accepted.clear()
            self._lately.clear()
            self._credentials_of.clear()
            self.revoked.tell(ACCOUNTS)
            return
        self._changes.note(staff_id, self._sequence)
        for credentials in tuple(self._credentials_of.get(staff_id, ())):
            self._drop(credentials)
        for credentials in [key for key, one in self._lately.items() if str(one.identity.id) == staff_id]:
            del self._lately[credentials]
        self.revoked.tell(account_tag(staff_id))

    def _drop(self, credentials: bytes) -> None:
        accepted = self._accepted.pop(credentials, None)
        if accepted is None:
            return
        account = str(accepted.identity.id)
        theirs = self._credentials_of[account]
        theirs.discard(credentials)
        if not theirs:
            del self._credentials_of[account]
