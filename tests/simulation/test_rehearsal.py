from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import CacheSettings, GateSettings, ListenerSettings, Settings, UpstreamSettings
from hospproxy.options.front_section import OriginSettings
from simulation.rehearsal.__main__ import main
from simulation.rehearsal.day_model import DayModel, ModelledBehaviour, Outage, learn
from simulation.rehearsal.figures import figures_of, quantile, table
from simulation.rehearsal.replay import rehearse
from simulation.rehearsal.staging import Cast, staged, wish_of
from simulation.rehearsal.visits import NoVisits, Visit, day_of, read_visits, visits_of

DAY = 1_788_000_000.0
READ = Visit(
    at=DAY, own="", who="1", certainty="verified", address="192.0.2.7", method="GET", route="/patients/{id}",
    record_id="7", patient_id="7", disclosed="", status=200, outcome="success", answered_by="upstream",
    cache="miss", attempts=1, asked=1, seconds=0.4,
)  # fmt: skip
POST = evolve(READ, method="POST", route="/notes", record_id="12", status=201, cache="")
OPTIONS = Settings(upstream=UpstreamSettings(url="https://hosp.example"))


def record(**more: Any) -> dict[str, Any]:
    return {
        "v": 1, "kind": "request", "time": "2026-08-29T10:40:00.000Z", "duration_ms": 400.0,
        "who": {"id": 1, "name": "ann", "certainty": "verified"}, "own": None,
        "client": {"address": "192.0.2.7"}, "method": "GET", "route": "/patients/{id}", "record_id": "7",
        "patient_id": 7, "disclosed": None, "outcome": "success", "status": 200, "answered_by": "upstream",
        "cache": "miss", "attempts": 1, "looks": 0, "rule_hits": [], **more,
    }  # fmt: skip


class VisitTests(SynchronousTestCase):
    def test_a_record_becomes_a_visit(self) -> None:
        (found,) = visits_of([record()], 0.0, 2e9)
        self.assertEqual(found, evolve(READ, at=found.at))
        self.assertEqual(found.at, day_of("2026-08-29")[0] + 38_400)

    def test_looks_count_as_requests_at_hosp(self) -> None:
        (found,) = visits_of([record(attempts=2, looks=1)], 0.0, 2e9)
        self.assertEqual((found.attempts, found.asked), (2, 3))

    def test_other_kinds_and_other_times_are_left_out(self) -> None:
        at = day_of("2026-08-29")[0] + 38_400
        records = [record(kind="intent"), record(kind="gap"), record()]
        self.assertEqual(len(list(visits_of(records, at, at + 1))), 1)
        self.assertEqual(list(visits_of(records, at + 1, at + 2)), [])

    def test_a_day_or_a_part_of_it(self) -> None:
        since, until = day_of("2026-08-29")
        self.assertEqual(until - since, 86400)
        self.assertEqual(day_of("2026-08-29T10:00/2026-08-29T11:30"), (since + 36_000, since + 41_400))
        self.assertRaises(ValueError, day_of, "yesterday")

    def test_a_trail_without_requests_is_named(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(NoVisits) as caught:
                read_visits(Path(folder), DAY, DAY + 60)
            self.assertIn(folder, str(caught.exception))


class LearnTests(SynchronousTestCase):
    def test_only_requests_that_found_a_free_slot_tell_the_response_time(self) -> None:
        crowd = [evolve(READ, at=DAY + number / 100, seconds=1.0 + number) for number in range(4)]
        self.assertEqual(learn(crowd, concurrency=2).usual, [1.0, 2.0])

    def test_a_write_waits_for_reads_only_until_a_slot_is_free(self) -> None:
        reads = [evolve(READ, at=DAY, seconds=2.0), evolve(READ, at=DAY + 0.1, seconds=3.0)]
        write = evolve(POST, at=DAY + 1.0, seconds=1.5)
        # It began when the first read ended, after one second.
        self.assertEqual(learn([*reads, write], concurrency=2).usual, [0.5, 2.0, 3.0])

    def test_a_retried_request_tells_no_time_but_a_failure(self) -> None:
        visits = [
            READ,
            evolve(READ, at=DAY + 5, attempts=3, asked=3, seconds=9.0),
            evolve(READ, at=DAY + 20, outcome="failed"),
        ]
        model = learn(visits, 5)
        self.assertEqual(model.usual, [0.4])
        self.assertAlmostEqual(model.usual_rate, 3 / 5)

    def test_what_memory_answered_tells_nothing(self) -> None:
        hit = evolve(READ, at=DAY + 1, answered_by="memory", attempts=0, asked=0, seconds=0.001)
        self.assertEqual(learn([READ, hit], 5).usual, [0.4])

    def test_an_outage_lasts_from_the_last_good_answer_to_the_next(self) -> None:
        away = evolve(READ, at=DAY + 100, attempts=0, asked=0, outcome="hosp is away", answered_by="proxy")
        self.assertEqual(
            learn([READ, away, evolve(READ, at=DAY + 160)], 5).outages, (Outage(DAY + 0.4, DAY + 160),)
        )
        self.assertEqual(learn([READ, away], 5).outages, (Outage(DAY + 0.4, DAY + 100.4),))

    def test_hours_differ(self) -> None:
        slow = [evolve(READ, at=DAY + 3600 + number * 30, seconds=8.0) for number in range(12)]
        quick = [evolve(READ, at=DAY + number * 30, seconds=0.2) for number in range(12)]
        model = learn([*quick, *slow], 5)
        chance = random.Random(1)
        self.assertEqual({model.response_s(DAY + 60, chance) for _ in range(20)}, {0.2})
        self.assertEqual({model.response_s(DAY + 3660, chance) for _ in range(20)}, {8.0})


class BehaviourTests(SynchronousTestCase):
    def deeds(self, rate: float, method: str = "GET") -> list[str]:
        model = DayModel(DAY, [0.4], {}, rate, {}, ())
        behaviour = ModelledBehaviour(model, 1, DAY)
        return [behaviour.decide(method, "/notes", "ann", b"", 1.0).fault for _ in range(400)]

    def test_failures_come_at_the_rate_of_the_day(self) -> None:
        self.assertEqual(set(self.deeds(0.0)), {""})
        failed = sum(bool(fault) for fault in self.deeds(0.25))
        self.assertTrue(70 < failed < 130, failed)

    def test_half_of_the_failed_writes_are_stored_and_no_read_is(self) -> None:
        self.assertEqual(set(self.deeds(1.0)), {"error_before"})
        self.assertEqual(set(self.deeds(1.0, "POST")), {"error_before", "error_after"})


class StagingTests(SynchronousTestCase):
    def test_what_decides_on_requests_is_kept_and_what_is_outside_is_replaced(self) -> None:
        own = evolve(
            OPTIONS,
            deadline_s=9.0,
            cache=CacheSettings(enabled=False),
            gate=GateSettings(concurrency=3),
            origin=OriginSettings(),
            workers=4,
            listeners=(ListenerSettings(url="https://0.0.0.0:8443"),),
        )
        found = staged(own)
        self.assertEqual((found.deadline_s, found.cache.enabled, found.gate.concurrency), (9.0, False, 3))
        self.assertEqual((found.workers, found.redis.enabled, found.admin.enabled), (1, False, False))
        self.assertEqual(found.upstream.url, "http://10.0.0.1:3000")
        self.assertEqual([each.plain for each in found.listeners], ["serve"])

    def test_every_section_is_kept_or_replaced_on_purpose(self) -> None:
        """A new section that decides on requests must be added to `staged`."""
        names = {each.name for each in Settings.__attrs_attrs__}  # type: ignore[attr-defined]
        kept = {
            "contract_file", "deadline_s", "arrival", "validation", "identity", "ownership", "permissions", "answers",
            "screening", "cache", "writes", "retry", "gate", "breaker", "admission",
        }  # fmt: skip
        outside = {
            "state_dir", "master_key_file", "master_key_env", "master_key", "master_key_next_file",
            "master_key_previous_file", "public_hosts", "trusted_proxies", "drain_s", "workers", "listeners", "front",
            "origin", "upstream", "redis", "audit", "audit_database", "audit_syslog", "audit_http", "audit_bucket",
            "audit_plugins", "audit_page", "alerts", "admin", "status", "log",
            "traces", "access_log", "access_log_bucket", "publish_contract",
            "cors", "compression",  # records do not have the fields by which they decide
            "copy",  # decides on no request
        }  # fmt: skip
        self.assertEqual(names - kept - outside, set())

    def test_the_request_that_leaves_such_a_record(self) -> None:
        self.assertEqual(wish_of(READ, 1, {}).target, "/patients/7")
        listed = evolve(READ, route="/notes", record_id="")
        self.assertEqual(wish_of(listed, 1, {}).target, "/notes?patient_id=7")
        filtered = evolve(READ, route="/patients", record_id="", patient_id="", disclosed="s")
        self.assertEqual(wish_of(filtered, 1, {"s": 3}).target, "/patients?hospital_id=3")
        wish = wish_of(POST, 5, {})
        self.assertEqual((wish.target, wish.body["patient_id"]), ("/notes", 7))
        self.assertNotEqual(wish.body, wish_of(POST, 6, {}).body)
        self.assertIn(("X-Forwarded-For", "192.0.2.7"), wish.headers)

    def test_credentials_are_good_wrong_or_absent_as_recorded(self) -> None:
        self.assertEqual((wish_of(READ, 1, {}).name, wish_of(READ, 1, {}).password), (None, None))
        self.assertEqual(wish_of(evolve(READ, certainty="claimed"), 1, {}).password, "wrong")
        self.assertEqual(wish_of(evolve(READ, who="", certainty="none"), 1, {}).name, "")

    def test_a_refused_body_is_refused_again(self) -> None:
        refused = evolve(POST, outcome="refused", status=422)
        self.assertNotIsInstance(wish_of(refused, 1, {}).body["title"], str)
        screening = evolve(refused, route="/patients/{id}/screen")
        self.assertNotIsInstance(wish_of(screening, 1, {}).body["images"], list)

    def test_what_was_never_found_does_not_exist(self) -> None:
        cast = Cast.of([READ, evolve(READ, record_id="9", patient_id="9", status=404)])
        self.assertEqual(cast.ids["patients"], {7})


class FiguresTests(SynchronousTestCase):
    def test_counts_and_shares(self) -> None:
        visits = [
            READ,
            evolve(READ, at=DAY + 1, answered_by="memory", asked=0, seconds=0.001),
            evolve(READ, at=DAY + 2, outcome="over capacity", status=503, asked=0, seconds=5.0),
            evolve(READ, at=DAY + 3, own="identity"),
            evolve(POST, at=DAY + 61, outcome="unknown", asked=3),
            evolve(READ, at=DAY + 62, outcome="client gone", asked=1),
            evolve(READ, at=DAY + 999),
        ]
        found = figures_of(visits, DAY, DAY + 100)
        self.assertEqual((found.requests, found.failed, found.over_capacity, found.unknown), (4, 2, 1, 1))
        self.assertEqual((found.success, found.memory), (0.5, 0.25))
        self.assertEqual(found.at_hosp, 6)
        self.assertEqual(found.p99_s, 5.0)

    def test_quantiles(self) -> None:
        self.assertEqual(quantile([], 0.5), 0.0)
        self.assertEqual([quantile([1, 2, 3, 4], share) for share in (0, 0.5, 0.99, 1)], [1, 3, 4, 4])

    def test_the_table_has_a_column_for_each(self) -> None:
        figures = figures_of([READ], DAY, DAY + 1)
        lines = table([("old", figures), ("new", figures)]).splitlines()
        self.assertEqual(lines[0].split(), ["old", "new"])
        self.assertIn("100.00%  100.00%", lines[2])


class RehearseTests(SynchronousTestCase):
    def day(self) -> list[Visit]:
        reads = [evolve(READ, at=DAY + number * 5.0) for number in range(8)]
        writes = [evolve(POST, at=DAY + 42.0 + number, record_id=str(20 + number)) for number in range(3)]
        return [*reads, *writes]

    def test_options_decide_what_reaches_hosp(self) -> None:
        visits = self.day()
        model = learn(visits, 5)
        cached = figures_of(rehearse(visits, model, OPTIONS, 1).visits, DAY, DAY + 100)
        bare = evolve(OPTIONS, cache=CacheSettings(enabled=False))
        uncached = figures_of(rehearse(visits, model, bare, 1).visits, DAY, DAY + 100)
        self.assertEqual((cached.requests, uncached.requests), (11, 11))
        self.assertEqual((cached.success, uncached.success), (1.0, 1.0))
        self.assertEqual((cached.memory, uncached.memory), (7 / 11, 0.0))
        self.assertEqual(uncached.at_hosp - cached.at_hosp, 7)

    def test_the_same_seed_gives_the_same_forecast(self) -> None:
        visits = self.day()
        model = evolve(learn(visits, 5), usual_rate=0.3, rates={})
        self.assertEqual(rehearse(visits, model, OPTIONS, 4), rehearse(visits, model, OPTIONS, 4))


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "old.toml").write_text('[upstream]\nurl = "http://127.0.0.1:3000"\n')

    def run_it(self, *arguments: str) -> int:
        return main([str(self.folder / "old.toml"), *arguments, "--journal", str(self.folder)])

    def test_what_cannot_be_done_is_said(self) -> None:
        self.assertEqual(self.run_it("--day", "soon"), 2)
        self.assertEqual(self.run_it("--day", "2026-08-29"), 2)
        (self.folder / "new.toml").write_text("[gate]\nconcurrency = 0\n")
        self.assertEqual(self.run_it(str(self.folder / "new.toml"), "--day", "2026-08-29"), 2)

    def test_a_day_is_rehearsed(self) -> None:
        line = json.dumps(record(time="2026-08-29T10:40:00.000Z"))
        (self.folder / "audit-w0-00000001-20260829T000000.000Z.jsonl").write_text(line + "\n")
        self.assertEqual(self.run_it("--day", "2026-08-29", "--json"), 0)
