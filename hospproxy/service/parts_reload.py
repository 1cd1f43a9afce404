"""Applies changed options to the parts of a running process."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ..config import Settings
from ..courier.delivery import Courier
from ..exchange.answers import ProxyResponses
from ..guard.admission.refusals import RefusalCache
from ..guard.build_guard import admission_limits, kept_refusals_s
from ..memory.accounts import Accounts
from ..memory.build_memory import disk_bytes
from ..memory.disk import DiskCache
from ..memory.store import LruStore
from ..outward.gate.build_gate import GateParts
from ..outward.writes.entries import WriteEntries
from ..record.access_log.build_access_log import http_facts_for
from ..record.trail.build_journal import refusal_for
from .chain import Chain
from .chain_parts import ChainParts


@frozen(slots=True, kw_only=True)
class PartsReload:
    """Knows which part takes which options.

    A request that is in flight stays with the processors that it has entered, and so with their options. Parts with a
    state (gate, admission, cache, ledger, connections) apply changed limits to all requests at once.
    """

    chain: Chain
    chain_parts: ChainParts
    answers: ProxyResponses
    gate: GateParts
    refusals: RefusalCache
    accounts: Accounts
    disk: DiskCache
    store: LruStore
    entries: WriteEntries
    courier: Courier

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Build what can fail, and change nothing.

        :return: applies the options; it does not fail.
        :raise SecretError: a secret of [origin] is not usable.
        :raise SinkError: a sink cannot be made.
        """
        connected = self.chain_parts.connected(settings)
        self.courier.check(settings)

        def commit() -> None:
            self._limits(settings)
            self.chain.lead_through(connected.processors, connected.deadline_s, connected.limit)
            self.courier.reload(settings)

        return commit

    def _limits(self, settings: Settings) -> None:
        """Tell the parts with a state."""
        parts = self.chain_parts
        parts.audit.reload(refusal_for(settings, self.answers), http_facts_for(settings))
        parts.admission.reload(admission_limits(settings))
        self.refusals.reload(kept_refusals_s(settings))
        self.accounts.reload(settings.identity.remember_s, settings.identity.offline_grace_s)
        parts.screening.reload(settings.screening)
        parts.cache.settings = settings.cache
        self.store.reload(settings.cache.max_bytes)
        self.disk.reload(disk_bytes(settings))
        self.entries.reload(settings.writes.max_open)
        parts.budget.reload(settings.retry.budget_ratio, settings.retry.budget_min)
        self.gate.reload(settings)
        if parts.copy is not None:
            parts.copy.reload(settings.copy.max_bytes)
        parts.upstream.reload(settings.upstream, settings.gate.concurrency)
