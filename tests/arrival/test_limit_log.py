from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.descriptors import KEPT_BACK, open_files, within_descriptors
from hospproxy.arrival.limit_log import LOG_S, LimitLog
from hospproxy.options.arrival_section import ArrivalSettings
from hospproxy.watch.metrics import Metrics


class TallyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.meter = Clock(), Metrics(strict=True)
        self.tally = LimitLog(self.clock, ArrivalSettings(max_fields=7), self.meter)
        self.said: list[tuple[str, int, str, int]] = []

        def observe(event: dict[str, object]) -> None:
            if "limit" in event:
                self.said.append(tuple(event[key] for key in ("limit", "value", "address", "unsaid")))  # type: ignore[arg-type]

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_said_in_full_but_not_each_time(self) -> None:
        for _ in range(3):
            self.tally.hit("max_fields", "192.0.2.1")
        self.tally.hit("max_connections", "192.0.2.2")
        self.clock.advance(LOG_S)
        self.tally.hit("max_fields", "192.0.2.3")
        self.assertEqual(
            self.said,
            [
                ("max_fields", 7, "192.0.2.1", 0),
                ("max_connections", 10_000, "192.0.2.2", 0),
                ("max_fields", 7, "192.0.2.3", 2),
            ],
        )
        self.assertEqual(self.meter.value("arrival_limits_total", limit="max_fields"), 4)


class DescriptorTests(SynchronousTestCase):
    def test_connections_leave_descriptors_for_the_rest(self) -> None:
        limits = ArrivalSettings(max_connections=1000)
        for open_, expected in ((1000 + KEPT_BACK, 1000), (999 + KEPT_BACK, 999), (100, 50), (1 << 30, 1000)):
            self.assertEqual(within_descriptors(limits, open_).max_connections, expected)

    def test_the_system_is_asked(self) -> None:
        self.assertGreater(open_files(), 0)
