"""Changed options reach the parts of a service that is running, and requests in flight keep theirs."""

from __future__ import annotations

import ipaddress
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import AdminSettings, AuditSettings, ListenerSettings, Settings, UpstreamSettings
from hospproxy.contract import document as contract_document
from hospproxy.keys.origin_secrets import SecretError
from hospproxy.options.copy_section import CopySettings
from hospproxy.options.front_section import OriginSettings
from hospproxy.process.host import Host
from hospproxy.service.service import ProxyService, build

contract_of = cache(contract_document.load)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.signals: list[float] = []
        self.settings = Settings(
            state_dir=self.folder,
            upstream=UpstreamSettings(url="http://127.0.0.1:3000"),
            listeners=(ListenerSettings(url="http://127.0.0.1:0", plain="serve"),),
            audit=AuditSettings(enabled=False),
            admin=AdminSettings(enabled=False),
            copy=CopySettings(enabled=True),
        )
        host = Host(
            load_contract=contract_of,
            install_signals=lambda _reactor, _reload, stop_s: self.signals.append(stop_s),
        )
        self.service: ProxyService = build(self.settings, MemoryReactorClock(), host=host)
        self.parts: Any = self.service.parts.reloading

    def changed(self, **sections: Any) -> Settings:
        """The settings with other values; a dict changes a section."""
        made = {
            name: evolve(getattr(self.settings, name), **value) if isinstance(value, dict) else value
            for name, value in sections.items()
        }
        return evolve(self.settings, **made)

    def apply(self, **sections: Any) -> Settings:
        settings = self.changed(**sections)
        self.service.reloading.prepare(settings)()
        return settings

    def processors(self) -> dict[str, object]:
        return {type(each).__name__: each for each in self.service.parts.chain._line.first}


class ReloadTests(Case):
    def test_limits_of_parts_with_a_state(self) -> None:
        self.apply(
            gate={"concurrency": 3, "max_queue": 7, "slow_s": 9.0},
            breaker={"failures": 9, "probe_every_s": 2.5},
            retry={"budget_ratio": 0.5, "budget_min": 1},
            cache={"max_bytes": 100_000, "max_entry_bytes": 5000, "disk_max_bytes": 5},
            identity={"remember_s": 1.0, "offline_grace_s": 2.0},
            writes={"max_open": 4},
            screening={"max_pending": 2},
            admission={"rate": 3.0, "burst": 4, "address_free": 5, "refusal_s": 0.0},
            upstream={"connect_timeout_s": 0.5, "max_body_bytes": 2000, "idle_connection_s": 1.0},
            deadline_s=6.0,
            drain_s=3.0,
        )
        parts, chain = self.parts, self.parts.chain_parts
        gate = parts.gate.gate
        self.assertEqual(
            (gate._queue.limit, gate._queue.max_waiting, gate._limit.now, gate._settings.slow_s),
            (3, 7, 3, 9.0),
        )
        self.assertEqual((gate._breaker._failures, parts.gate.prober._every_s), (9, 2.5))
        self.assertEqual(parts.gate.places.owned, 3)
        self.assertEqual((chain.budget._ratio, chain.budget._minimum), (0.5, 1))
        self.assertEqual((parts.store.max_bytes, chain.cache.settings.max_entry_bytes), (100_000, 5000))
        self.assertEqual(parts.disk._limits.max_bytes, 5)
        self.assertEqual((parts.accounts.remember_s, parts.accounts._grace_s), (1.0, 2.0))
        self.assertEqual((parts.entries._max_open, chain.screening._settings.max_pending), (4, 2))
        admission = chain.admission
        self.assertEqual((admission._credential_rate.per_s, admission._credential_rate.burst), (3.0, 4))
        self.assertEqual((admission._by_address.patience.free, admission._settings.delay_s), (5, 2.0))
        self.assertEqual(parts.refusals._keep_s, 0.0)
        connections = chain.upstream._connections
        self.assertEqual(
            (connections._timeout_s, connections._limits[1], connections._most_idle), (0.5, 2000, 3)
        )
        self.assertEqual(self.service.parts.chain._deadline_s, 6.0)
        self.assertEqual((self.service.settings.drain_s, len(self.signals)), (3.0, 1))

    def test_the_copy_gets_its_bound(self) -> None:
        assert self.service.parts.copy is not None
        self.assertEqual(self.service.parts.copy._max_bytes, CopySettings().max_bytes)
        self.apply(copy={"max_bytes": 5 << 20})
        self.assertEqual(self.service.parts.copy._max_bytes, 5 << 20)

    def test_a_slot_that_is_taken_stays_taken(self) -> None:
        gate = self.parts.gate.gate
        gate._queue.in_flight = 5
        self.apply(gate={"concurrency": 2})
        self.assertEqual((gate._queue.in_flight, gate._queue.limit, gate.has_room), (5, 2, False))
        self.apply(gate={"concurrency": 4})
        self.assertEqual(gate._queue.limit, 4)

    def test_processors_are_connected_anew_and_one_in_flight_keeps_its_own(self) -> None:
        chain = self.service.parts.chain
        before, whole = self.processors(), chain._whole
        self.apply(
            validation={"mode": "report"},
            ownership={"enabled": False},
            permissions={"rules": {}},
            retry={"enabled": False},
        )
        after = self.processors()
        self.assertIsNot(chain._whole, whole)
        self.assertIn("Ownership", before)
        self.assertNotIn("Ownership", after)
        self.assertEqual([each["Validation"]._enforce for each in (before, after)], [True, False])  # type: ignore[attr-defined]
        self.assertIs(before["IdentityCheck"], after["IdentityCheck"])

    def test_what_shortcuts_remember_is_forgotten_and_nothing_old_is_learnt(self) -> None:
        context, chain = self.service.context, self.service.parts.chain
        table: Any = context.shortcuts
        table._known[b"x"] = object()
        line = chain._line
        self.apply()
        self.assertEqual(len(table), 0)

        class Trace:
            hit, outcome, rule_hits = object(), None, ()

        class Exchange:
            trace = Trace()

            class request:
                method = "GET"

        exchange: Any = Exchange()
        answer: Any = object()
        self.assertIsNone(chain._shortcut(exchange, answer, line))

    def test_listeners_get_limits_trust_and_hosts(self) -> None:
        self.service.privilegedStartService()
        self.apply(
            arrival={"max_connections": 7, "body_memory_bytes": 1 << 21, "keep_alive_s": 99.0},
            trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
            public_hosts=("hosp.example",),
            cache={"shortcuts": 3},
        )
        for context in (self.service.context, *(each.context for each in self.service.listeners._factories)):
            self.assertEqual((context.limits.max_connections, context.limits.keep_alive_s), (7, 99.0))
            self.assertEqual(
                (context.address_counts.limits, context.tally.limits), (context.limits, context.limits)
            )
            self.assertEqual(context.budget.limit, 1 << 21)
            self.assertTrue(context.trust.networks and context.address_counts.trust is context.trust)
            self.assertTrue(context.public_hosts.serve("hosp.example"))
            self.assertFalse(context.public_hosts.serve("other.example"))
            self.assertEqual(context.shortcuts._most, 3)  # type: ignore[union-attr]

    def test_what_cannot_be_prepared_changes_nothing(self) -> None:
        whole = self.service.parts.chain._whole
        origin = OriginSettings(secret_files=(self.folder / "missing",))
        settings = self.changed(origin=origin, retry={"max_attempts": 2})
        self.assertRaises(SecretError, self.service.reloading.prepare, settings)
        self.assertIs(self.service.parts.chain._whole, whole)
        self.assertEqual(self.service.settings, self.settings)

    def test_a_smaller_cache_evicts_and_known_credentials_expire_sooner(self) -> None:
        store, accounts = self.parts.store, self.parts.accounts
        store.put(b"a", object(), 600_000, ())
        store.put(b"b", object(), 600_000, ())
        self.apply(cache={"max_bytes": 700_000})
        self.assertEqual((len(store), store.bytes), (1, 600_000))
        from hospproxy.http.messages import Identity

        accounts.remember(Identity("1", "staff1", b"c"), accounts.ticket())
        self.assertIsNotNone(accounts.recall(b"c"))
        self.apply(identity={"remember_s": 0.0})
        self.assertIsNone(accounts.recall(b"c"))
