"""The access log as the courier makes it, from the journals of all workers, over restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from hospproxy.config import Settings
from hospproxy.process.host import Host
from hospproxy.record.access_log.build_access_log import access_log_for, http_facts_for
from hospproxy.record.access_log.log_folder import OPEN
from hospproxy.record.trail.keeper import TrailKeeper
from tests.courier.test_delivery import Case

from .logs import ids
from .records import line


class DeliveryTests(Case):
    def settings(self, **more: Any) -> Settings:
        log = {"access_log": {"format": "alb", **more.pop("access_log", {})}}
        return super().settings(**more, **log, listeners=[{"url": "https://192.0.2.9:8443"}])

    @property
    def log(self) -> Path:
        return self.folder / "access-log"

    def serve(self, keeper: TrailKeeper, *names: str) -> None:
        keeper.keep([line(request_id=name) for name in names])

    def die(self) -> None:
        """End as a killed process does; the kernel releases its locks."""
        self.delivery._access_log.sink._folder.close()
        for carrier in self.delivery._carriers._carriers:
            for way in carrier._ways.values():
                carrier._journals.finish(way)
        self.lives()

    def test_one_log_has_the_requests_of_all_workers(self) -> None:
        self.delivery.start()
        self.serve(self.keeper(0), "a", "b")
        self.serve(self.keeper(1), "c")
        self.pump()
        self.assertEqual(sorted(ids(self.log)), ["a", "b", "c"])

    def test_each_request_has_one_line_over_deaths_and_lost_positions(self) -> None:
        keeper = self.keeper()
        self.delivery.start()
        self.serve(keeper, "a", "b")
        self.pump()
        saved = self.folder / "audit" / "positions" / "access_log-w0.json"
        before = saved.read_bytes()
        self.serve(keeper, "c")
        self.pump()
        self.die()
        saved.write_bytes(before)
        self.serve(keeper, "d")
        self.delivery.start()
        self.pump()
        self.assertEqual(ids(self.log), ["a", "b", "c", "d"])

    def test_a_stop_writes_what_is_on_disk_and_lets_go(self) -> None:
        keeper = self.keeper()
        self.delivery.start()
        self.pump()
        self.serve(keeper, "a")
        stopping = Deferred.fromCoroutine(self.delivery.stop(2.0))
        self.pump(0.1)
        self.successResultOf(stopping)
        self.assertEqual(ids(self.log), ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.lives()
        self.delivery.start()
        self.serve(keeper, "b")
        self.pump()
        self.assertEqual(ids(self.log), ["a", "b"])

    def test_a_folder_that_cannot_be_used_delays_nobody_else(self) -> None:
        self.log.mkdir(parents=True)
        (self.log / OPEN).mkdir()
        self.delivery.start()
        self.log_in(self.keeper(), 3)
        self.pump(3)
        self.assertEqual(self.rules(), ["failed-logins-address"])
        self.assertEqual(self.meter.value("record_writer_up", writer="access_log"), 0)
        (self.log / OPEN).rmdir()
        self.pump(60)
        self.assertEqual(self.meter.value("record_writer_up", writer="access_log"), 1)

    def test_it_is_off_by_default_and_without_a_trail(self) -> None:
        for given in (
            super().settings(),
            self.settings(audit={"enabled": False}, alerts={}),
            self.settings(access_log={"format": "off"}),
        ):
            self.assertIsNone(access_log_for(given, self.clock, self.meter, Host()))
        self.assertIsNone(http_facts_for(super().settings()))
        facts = http_facts_for(self.settings(access_log={"query_values": True}))
        assert facts is not None
        self.assertTrue(facts.query_values)
