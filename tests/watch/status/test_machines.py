"""Two machines behind one balancer: what neither notices alone, both notice together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.merge import Overview
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.document import About, document
from hospproxy.watch.status.history import WINDOWS
from hospproxy.watch.status.machines import MOST, SILENT_S, Figures, Machines
from hospproxy.watch.status.recorder import Recorder
from tests.outward.ledger.fakes import AtOnce

from .machines_redis import KEY, FiguresRedis
from .samples import overview, served

NOW = 1_700_000_000.0


@define
class Site:
    """One machine: its counters and its recorder."""

    recorder: Recorder
    meter: Metrics
    alerts: list[str] = field(factory=list)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clock, self.redis = Clock(), FiguresRedis()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("hospproxy.watch.status"):
            self.lines.append(event["log_format"].format(**event))

    def begin(self, machine: str, *, shares: bool = True) -> Site:
        meter = Metrics(strict=True)
        alerts: list[str] = []
        wall = lambda: NOW + self.clock.seconds()  # noqa: E731
        worker: Any = AtOnce()

        async def read() -> Overview:
            return overview(meter)

        recorder = Recorder(
            self.folder / f"{machine}.json", self.clock, wall, worker, meter, read, True,
            lambda _change, text: alerts.append(text),
            Machines(self.redis.worker(machine), f"host-{machine}") if shares else None,
        )  # fmt: skip
        recorder.start()
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(recorder.stop())))
        return Site(recorder, meter, alerts)

    def serve(self, seconds: int, every_s: float, *sites: Site) -> None:
        """Let time pass with one request at each machine every so many seconds."""
        for number in range(int(seconds / 0.8)):
            for site in sites:
                if number % round(every_s / 0.8) == 0:
                    served(site.meter, 1)
            self.clock.advance(0.8)

    def surges(self) -> list[str]:
        return [line for line in self.lines if line.startswith("surge")]


class Surging(Case):
    def test_what_is_below_the_limit_of_each_is_noticed_together(self) -> None:
        sites = [self.begin("aa"), self.begin("bb")]
        self.serve(600, 4.0, *sites)
        self.assertEqual(self.lines, [])
        self.serve(30, 0.8, *sites)
        self.assertEqual(len(self.surges()), 2)
        for line in self.surges():
            self.assertIn("surge begins (traffic, over 2 machines): requests: ", line)
        for site in sites:
            self.assertFalse(site.recorder.surges.traffic.active)
            self.assertEqual(site.meter.value("surge_active", signal="traffic"), 1.0)
        # One alert is enough for both.
        self.assertEqual(sorted(len(site.alerts) for site in sites), [0, 1])
        self.serve(120, 4.0, *sites)
        self.assertEqual(len(self.surges()), 4)
        self.assertIn("surge ends (traffic, over 2 machines) after ", self.surges()[-1])
        self.assertEqual(sorted(len(site.alerts) for site in sites), [0, 2])

    def test_each_alone_notices_nothing_within_30_seconds(self) -> None:
        """Otherwise the test above would prove nothing."""
        sites = [self.begin("aa", shares=False), self.begin("bb", shares=False)]
        self.serve(600, 4.0, *sites)
        self.serve(30, 0.8, *sites)
        self.assertEqual(self.lines, [])

    def surge(self, *sites: Site) -> None:
        """Half a minute of so much traffic that each machine notices it alone."""
        for _ in range(30):
            for site in sites:
                served(site.meter, 20)
            self.clock.advance(1.0)

    def test_a_surge_that_both_notice_is_told_once_by_each_and_raises_one_alert(self) -> None:
        sites = [self.begin("aa"), self.begin("bb")]
        self.serve(600, 4.0, *sites)
        self.surge(*sites)
        self.assertTrue(all(site.recorder.surges.traffic.active for site in sites))
        self.assertEqual(len(self.surges()), 2, self.lines)
        self.assertEqual(sorted(len(site.alerts) for site in sites), [0, 1])
        self.serve(120, 4.0, *sites)
        [alerts] = [site.alerts for site in sites if site.alerts]
        self.assertEqual([text.split(" (")[0] for text in alerts], ["surge begins", "surge ends"])
        # The next one is another's to tell, if that notices it first.
        self.serve(120, 4.0, *sites)
        self.redis.data.delete(*self.redis.data.keys(b"*alert*"))  # expired long ago
        self.surge(sites[1])
        self.assertEqual(sum(len(site.alerts) for site in sites), 3)

    def test_without_redis_each_raises_its_own(self) -> None:
        sites = [self.begin("aa"), self.begin("bb")]
        self.serve(600, 4.0, *sites)
        self.redis.away = True
        self.surge(*sites)
        self.assertEqual([len(site.alerts) for site in sites], [1, 1])

    def test_a_machine_that_comes_or_goes_is_no_surge(self) -> None:
        one = self.begin("aa")
        self.serve(300, 1.6, one)
        two = self.begin("bb")
        self.serve(300, 1.6, one, two)
        self.assertEqual(one.recorder.together.machines, 2)
        self.successResultOf(Deferred.fromCoroutine(two.recorder.stop()))
        self.redis.data.hdel(KEY, b"bb")
        self.serve(300, 0.8, one)  # the balancer sends it the traffic of both
        self.assertEqual(one.recorder.together.machines, 1)
        self.assertEqual(self.surges(), [])


class Away(Case):
    def test_without_redis_each_watches_itself_and_says_so(self) -> None:
        sites = [self.begin("aa"), self.begin("bb")]
        self.serve(300, 4.0, *sites)
        self.redis.away = True
        self.serve(120, 4.0, *sites)
        self.assertEqual([site.recorder.together.machines for site in sites], [1, 1])
        self.assertEqual(len(self.lines), 2)
        self.assertIn("surges are noticed on this machine alone (Redis is away)", self.lines[0])
        for _ in range(30):
            served(sites[0].meter, 20)
            self.clock.advance(1.0)
        self.assertIn("surge begins (traffic): ", self.surges()[0])
        self.redis.away = False
        self.serve(60, 0.8, *sites)
        self.assertIn("figures of 1 other machines are read again", self.lines)
        self.assertEqual(sites[0].recorder.together.machines, 2)

    def test_redis_that_was_never_there_is_said_by_its_link_only(self) -> None:
        self.redis.away = True
        site = self.begin("aa")
        self.serve(60, 4.0, site)
        self.assertEqual(self.lines, [])

    def test_invalid_replies_and_values(self) -> None:
        site, other = self.begin("aa"), self.begin("bb")
        self.serve(30, 4.0, site, other)
        data = self.redis.data
        at = data.hget(KEY, b"bb").partition(b" ")[0]
        for value in (b"", b"x", b"12", at + b" ", at + b" nonsense", at + b" " + b"y" * 9000, b"\xff \xff"):
            data.hset(KEY, b"cc", value)
            self.serve(10, 4.0, site, other)
            assert site.recorder.machines is not None
            assert site.recorder.machines.seen is not None
            self.assertEqual(list(site.recorder.machines.seen), ["bb"])
        for reply in (7, [], [b"bb"], [b"bb", b"x", b"y"], [[], 1, b""], [b"b", 1, b""] * (MOST + 1)):

            async def run(*_: Any, reply: Any = reply) -> list[Any]:
                return [reply]

            site.recorder.machines._common.run = run  # type: ignore[method-assign]
            self.serve(10, 4.0, site, other)
            if reply:
                self.assertIsNone(site.recorder.machines.seen)
        self.assertEqual(self.surges(), [])


class Storing(Case):
    def figures(self) -> Figures:
        return Figures("1.0", "host", NOW, True, 1, 1, 0.0, 0.0, 5.0, (1.0,) * 7)

    def exchange(self, name: str) -> Machines:
        machines = Machines(self.redis.worker(name), "x" * 500)
        self.successResultOf(ensureDeferred(machines.exchange(self.figures())))
        return machines

    def test_the_hash_is_bounded_and_expires(self) -> None:
        for number in range(MOST + 9):
            self.exchange(f"{number:04x}")
        self.assertLessEqual(self.redis.data.hlen(KEY), MOST + 1)
        self.assertLessEqual(len(self.exchange("0000").seen or ()), MOST)
        self.assertLessEqual(self.redis.data.pttl(KEY), SILENT_S * 1000)
        self.assertEqual(len(self.exchange("0000").name), 64)

    def test_a_silent_machine_is_dropped(self) -> None:
        self.exchange("aa")
        self.exchange("bb")
        at, _, value = self.redis.data.hget(KEY, b"bb").partition(b" ")
        for moved_s, seen in ((-SILENT_S + 5, ["bb"]), (-SILENT_S - 5, []), (SILENT_S + 60, [])):
            self.redis.data.hset(KEY, b"bb", b"%d " % (int(at) + moved_s * 1000) + value)
            self.assertEqual(list(self.exchange("aa").seen or ()), seen)

    def test_a_key_of_another_type_is_replaced(self) -> None:
        self.redis.data.set(KEY, b"x")
        self.assertEqual(self.exchange("aa").seen, {})
        self.assertEqual(list(self.exchange("bb").seen or ()), ["aa"])

    def test_values_are_sealed(self) -> None:
        self.exchange("aa")
        self.assertNotIn(b"host", self.redis.data.hget(KEY, b"aa"))


class Showing(Case):
    def test_the_page_names_the_others(self) -> None:
        site, _ = self.begin("aa"), self.begin("bb")
        self.serve(30, 4.0, site)
        found = document(site.recorder, About("1.0", 1, 5, 100, True), WINDOWS[0], {}, NOW + 30)["machines"]
        self.assertEqual(found["counted_together"], 2)
        [other] = found["others"]
        self.assertEqual((other["name"], other["ready"], other["running"]), ("host-bb", True, 1))
