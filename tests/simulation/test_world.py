"""The simulated world: the same seed gives the same history, and a killed process does nothing more."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from types import CoroutineType
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from simulation.kernel import TimeStands
from tests.simulation.worlds import OPTIONS, Question, Small, WorldTestCase, folder, note

reactor: Any = real_reactor


def history(seed: int) -> str:
    """The digest of a small world in which much happens."""
    place = folder()
    try:
        small = Small(seed, place)
        first = small.machine.start(OPTIONS)
        for number in range(8):
            small.ask(1.0 + number / 4, Question("GET /hospitals HTTP/1.1"))
            small.ask(1.1 + number / 3, note(f"n{number}"))
        small.world.run_until(2.5)
        first.kill()
        small.machine.start(OPTIONS)
        for number in range(4):
            small.ask(4.0 + number / 4, note(f"m{number}"))
        small.world.run_until(60.0)
        small.world.close()
        return small.world.digest()
    finally:
        shutil.rmtree(place)


def suspended() -> list[CoroutineType[Any, Any, Any]]:
    """Every coroutine that waits for something."""
    return [each for each in gc.get_objects() if isinstance(each, CoroutineType) and each.cr_suspended]


class Determinism(WorldTestCase):
    """Tests of ``Simulation.digest``."""

    def test_the_same_seed_gives_the_same_history(self) -> None:
        first, second, other = history(1), history(1), history(2)
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_the_same_seed_gives_the_same_history_whatever_the_hashes_of_strings_are(self) -> None:
        code = "from tests.simulation.test_world import history; print(history(3))"
        given = [
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True, text=True, check=True,
            ).stdout.split()[-1]
            for seed in ("0", "1")
        ]  # fmt: skip
        self.assertEqual(given, [history(3)] * 2)


class Serving(WorldTestCase):
    """A process of the proxy on the simulated system."""

    def test_a_request_is_answered(self) -> None:
        small = self.small()
        process = small.machine.start(OPTIONS)
        asked = small.ask(1.0, Question("GET /hospitals HTTP/1.1"))
        small.world.run_until(10.0)
        self.assertTrue(process.running, process.output)
        self.assertEqual(asked.status, 200)
        self.assertIn(b"Root", asked.answer)
        self.assertEqual(small.world.errors, [])

    def test_a_stop_ends_with_status_zero(self) -> None:
        small = self.small()
        process = small.machine.start(OPTIONS)
        small.world.run_until(2.0)
        ended: list[object] = []
        process.stop().addCallback(ended.append)
        small.world.run_until(100.0)
        self.assertEqual((ended, process.running, process.exit), ([0], False, 0))
        self.assertEqual(small.world.errors, [])

    def test_a_second_process_cannot_have_the_same_port(self) -> None:
        small = self.small()
        first, second = small.machine.start(OPTIONS), small.machine.start(OPTIONS, boot_s=1.0)
        small.world.run_until(2.0)
        self.assertTrue(first.running)
        self.assertEqual((second.running, second.exit), (False, 1))

    def test_the_wall_clock_moves_no_timers(self) -> None:
        small = self.small()
        small.machine.start(OPTIONS)
        small.ask(1.0, Question("GET /hospitals HTTP/1.1"))
        small.world.run_until(1.5)
        before = [call.getTime() for call in small.client.reactor.getDelayedCalls()]
        small.machine.wall.step(-3600.0)
        self.assertEqual([call.getTime() for call in small.client.reactor.getDelayedCalls()], before)
        asked = small.ask(5.0, Question("GET /hospitals HTTP/1.1"))
        small.world.run_until(10.0)
        self.assertEqual(asked.status, 200)
        self.assertAlmostEqual(small.machine.wall.now(), 1_700_000_000 - 3600 + 10.0)


class Errors(WorldTestCase):
    """Tests of ``Simulation.errors``."""

    def test_what_nobody_handles_is_noted(self) -> None:
        world = self.bare()
        one = world.host("one", "10.0.2.1")
        one.reactor.callLater(1.0, lambda: 1 / 0)
        one.reactor.callLater(2.0, lambda: fail(ValueError("lost")))
        one.reactor.callLater(3.0, lambda: Logger().critical("bad {what}", what="thing"))
        one.reactor.callLater(4.0, lambda: Logger().error("this is only said"))
        world.run_until(5.0)
        found = [(each.time, each.process, each.words) for each in world.errors]
        self.assertEqual(
            [(time, name) for time, name, _ in found], [(1.0, "one"), (2.0, "one"), (3.0, "one")]
        )
        for word, (_, _, words) in zip(("ZeroDivisionError", "lost", "bad thing"), found, strict=True):
            self.assertIn(word, words)
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_a_stop_that_does_not_end_is_noted_and_ends(self) -> None:
        small = self.small()
        process = small.machine.start(OPTIONS)
        small.world.run_until(2.0)
        process.service.stopService = Deferred
        process.reactor.addSystemEventTrigger("before", "shutdown", Deferred)
        ended: list[object] = []
        process.stop().addCallback(ended.append)
        small.world.run_until(300.0)
        self.assertEqual((ended, process.running), ([None], False))
        self.assertEqual([each.words for each in small.world.errors], ["a stop does not end"])

    def test_time_that_stands_is_an_error(self) -> None:
        world = self.bare()
        one = world.host("one", "10.0.2.1")

        def again() -> None:
            one.reactor.callLater(0.0, again)

        again()
        self.assertRaises(TimeStands, world.run_until, 1.0)


class Killing(WorldTestCase):
    """Tests of ``Process.kill``."""

    def test_nothing_of_it_runs_again(self) -> None:
        small = self.small(takes_s=3.0)
        process = small.machine.start(OPTIONS)
        asked = small.ask(1.0, Question("GET /hospitals HTTP/1.1"))
        written = small.ask(1.0, note("a"))
        small.world.run_until(2.0)
        self.assertTrue(process.reactor.ends)
        process.kill()
        requests, entries = list(small.hosp.requests), len(small.world.entries)
        files = sorted((each, each.stat().st_size) for each in small.machine.state_dir.rglob("*"))
        small.world.run_until(300.0)
        self.assertEqual(small.hosp.requests, requests)
        self.assertEqual(asked.ended, "ConnectionDone")
        self.assertEqual(written.ended, "ConnectionDone")
        later = [each for each in small.world.entries[entries:] if each.fields.get("by") == "10.0.0.1"]
        self.assertLessEqual({each.fields["what"] for each in later}, {"fin", "reset"})
        self.assertEqual(
            sorted((each, each.stat().st_size) for each in small.machine.state_dir.rglob("*")), files
        )
        self.assertEqual(small.world.errors, [])

    def test_another_takes_its_place(self) -> None:
        small = self.small()
        small.machine.start(OPTIONS)
        small.ask(1.0, note("a"))
        small.world.run_until(1.5)
        for process in list(small.machine.processes.values()):
            process.kill()
        second = small.machine.start(OPTIONS)
        asked = small.ask(3.0, Question("GET /hospitals HTTP/1.1"))
        small.world.run_until(60.0)
        self.assertTrue(second.running, second.output)
        self.assertEqual(asked.status, 200)

    def test_what_waits_is_closed_with_the_world_and_not_later(self) -> None:
        before = suspended()
        small = self.small()
        ended: list[str] = []

        async def waits(deferred: Deferred[None]) -> None:
            try:
                await deferred
            finally:
                ended.append("finally")

        small.world.host("h", "10.0.2.1").reactor.callLater(
            1.0, lambda: Deferred.fromCoroutine(waits(Deferred())).addErrback(lambda _: None)
        )
        process = small.machine.start(OPTIONS)
        small.ask(1.0, note("a"))
        small.world.run_until(1.5)
        process.kill()
        gc.collect()
        self.end()
        self.assertEqual(ended, ["finally"])
        others = set(map(id, before))
        left = [each for each in suspended() if id(each) not in others]
        self.assertEqual([each for each in left if "hospproxy" in each.cr_code.co_filename], [])

    def test_nothing_of_the_real_reactor_is_used(self) -> None:
        before = reactor.getDelayedCalls()
        history(1)
        self.assertEqual(reactor.getDelayedCalls(), before)

    def test_at_aseam(self) -> None:
        small = self.small()
        process = small.machine.start(OPTIONS)
        process.kill_at("before ledger", 3)
        for number in range(4):
            small.ask(1.0 + number, note(f"n{number}"))
        small.world.run_until(30.0)
        self.assertFalse(process.running)
        self.assertEqual(process.reached()["before ledger"], 3)
