"""Builds the ledger and the parts that carry out each write once, from the settings."""

from __future__ import annotations

from attrs import frozen

from ...foundations import Foundations
from ...keys.encryption import Seal
from ..ledger.ledger import Ledger
from .background import LateOutcomes
from .claims import Claims, NoClaims
from .entries import WriteEntries
from .fate import WriteSender
from .ledger_entries import LedgerEntries
from .looks import WriteLooks
from .presence import UpstreamClock, WorkingTime
from .processor import Writes
from .seen_ids import SeenIds
from .visible_records import VisibleRecords


@frozen(slots=True, kw_only=True)
class Observed:
    """What HOSP's responses have shown."""

    sightings: SeenIds
    shown: VisibleRecords
    upstream_clock: UpstreamClock
    working_time: WorkingTime


@frozen(slots=True, kw_only=True)
class KeptWrites:
    """The writes that are open or were settled lately: in memory, in the ledger and in Redis."""

    entries: WriteEntries
    keeping: LedgerEntries
    claims: Claims


def ledger_of(base: Foundations) -> Ledger:
    """Build the ledger, not yet open; it belongs to this process once it is."""
    return Ledger(
        base.settings.ledger_path,
        base.worker("ledger"),
        base.host.wall,
        monotonic=base.reactor.seconds,
        owner_name=lambda: f"{base.host.pid()}-{base.host.token(6)}",
    )


def observed_by(base: Foundations) -> Observed:
    """Build what learns from HOSP's responses; it knows nothing yet."""
    sharing = base.sharing
    return Observed(
        sightings=SeenIds(base.contract),
        shown=VisibleRecords(
            base.contract,
            base.host.entropy(32),
            base.reactor,
            lambda: sharing.unbroken if sharing.may_serve else None,
        ),
        upstream_clock=UpstreamClock(),
        working_time=WorkingTime(base.reactor.seconds()),
    )


def kept_writes(base: Foundations, ledger: Ledger, observed: Observed) -> KeptWrites:
    """Build the store of writes, empty; ``Writes.recover`` takes over those of an earlier process."""
    settings = base.settings.writes
    entries = WriteEntries(
        base.reactor,
        base.key.subkey("equal writes"),
        base.reference,
        settings,
        former=[each.subkey("equal writes") for each in base.key.further],
    )
    base.metrics.gauge("ledger_open", lambda: float(len(entries)))
    keeping = LedgerEntries(
        ledger,
        Seal.of(base.key, "ledger", base.host.entropy),
        entries.mac,
        base.contract,
        base.reactor,
        base.host.wall,
        entries.former_macs,
    )
    return KeptWrites(
        entries=entries,
        keeping=keeping,
        claims=_claims(base, ledger, observed.sightings, keeping),
    )


def _claims(base: Foundations, ledger: Ledger, sightings: SeenIds, keeping: LedgerEntries) -> Claims:
    """The claims on writes that workers and machines share; NoClaims for a process without Redis."""
    shared = base.shared
    if shared is None:
        return NoClaims()
    # Imported here: a process without Redis does not need it.
    from .redis.claims import RedisClaims

    claims = RedisClaims(
        shared,
        shared,
        sightings,
        keeping,
        base.reactor,
        base.host.random,
        base.metrics,
        late_commit_s=base.late_commit_s,
        window_s=base.settings.writes.resubmit_window_s,
        is_gone=ledger.is_gone,
    )
    # Redis may have lost claims since this worker was last among the others.
    shared.joined.listen(lambda _anew: claims.begin_epoch())
    return claims


def writes_of(base: Foundations, kept: KeptWrites, observed: Observed, later: LateOutcomes) -> Writes:
    """Build the processor of writes on what is kept of them.

    :param later: learns of outcomes that are found out after their client was told "unknown".
    """
    looking = WriteLooks(
        base.contract,
        base.own_requests.ask,
        base.reactor,
        observed.sightings,
        observed.upstream_clock,
        observed.working_time,
        base.metrics,
        late_commit_s=base.late_commit_s,
        look_s=base.settings.deadline_s,
        claims=kept.claims,
    )
    return Writes(
        base.reactor,
        kept.entries,
        kept.keeping,
        WriteSender(base.contract, base.answers, base.reactor, looking, observed.sightings, base.metrics),
        observed.sightings,
        observed.shown,
        later,
        base.metrics,
        window_s=base.settings.writes.resubmit_window_s,
        claims=kept.claims,
    )
