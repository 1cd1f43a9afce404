"""The courier as a simulated process of its own: it dies alone, with its service, and never disturbs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from simulation.history import Delivered, History
from simulation.kernel import Process
from simulation.receiver import Receiver, digest
from tests.simulation.worlds import OPTIONS, PROXY, Question, Small, WorldTestCase, folder, note

RECEIVER = "10.0.4.1"
SINK = f"""
[audit_http]
enabled = true
url = "http://{RECEIVER}/records"
"""


class Watched:
    """A small world whose records go to a receiver, and its history."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.history = History()
        host = small.world.host("receiver", RECEIVER)
        Receiver(host.reactor, RECEIVER, self.history, {PROXY[0]: "one"}, small.world.random, until=0.0)
        self.process: Process = small.machine.start(OPTIONS + SINK, has_courier=True)

    @property
    def courier(self) -> Process:
        assert self.process.courier is not None
        return self.process.courier

    def busy(self, *moments: float) -> list[Question]:
        asked = [self.small.ask(at, Question("GET /hospitals HTTP/1.1")) for at in moments]
        return [*asked, *(self.small.ask(at + 0.2, note(f"n{at}")) for at in moments)]

    def lines(self) -> list[str]:
        """Hashes of the records on disk."""
        trail = sorted(Path(self.small.machine.state_dir, "audit").glob("*.jsonl"))
        return [digest(line) for path in trail for line in path.read_bytes().splitlines()]

    def delivered(self) -> list[str]:
        return [each.line for each in self.history.of(Delivered)]


def history(seed: int) -> str:
    """The digest of a world in which the courier dies twice."""
    place = folder()
    try:
        watched = Watched(Small(seed, place))
        watched.busy(1.5, 2.0, 6.0)
        watched.small.world.run_until(3.0)
        watched.courier.kill()
        watched.small.world.run_until(5.0)
        watched.courier.kill_at("event", 30)
        watched.small.world.run_until(20.0)
        watched.small.world.close()
        return watched.small.world.digest()
    finally:
        shutil.rmtree(place)


class CourierTests(WorldTestCase):
    def watched(self, **more: Any) -> Watched:
        return Watched(self.small(**more))

    def test_records_come_to_the_sink_in_order(self) -> None:
        watched = self.watched()
        watched.busy(1.5, 2.0, 2.5)
        watched.small.world.run_until(20.0)
        self.assertGreater(len(watched.lines()), 8)
        self.assertEqual(watched.delivered(), watched.lines())
        self.assertEqual(watched.small.world.errors, [])

    def test_it_dies_alone_and_its_successor_goes_on(self) -> None:
        for seam in ("event", "after audit-http", "write audit-http", "rename audit-http"):
            watched = self.watched()
            watched.small.world.run_until(1.2)
            first = watched.courier
            first.kill_at(seam, first.reached().get(seam, 0) + 1)
            asked = watched.busy(1.5, 2.0, 4.0)
            watched.small.world.run_until(20.0)
            self.assertEqual(
                (first.running, watched.process.running, watched.courier.running), (False, True, True)
            )
            self.assertEqual({each.status for each in asked}, {200, 201})
            self.assertEqual(set(watched.delivered()), set(watched.lines()))
            self.assertEqual(watched.small.world.errors, [])

    def test_it_dies_with_its_service(self) -> None:
        watched = self.watched()
        watched.small.world.run_until(2.0)
        watched.process.kill()
        self.assertFalse(watched.courier.running)
        watched.small.world.run_until(4.0)
        self.assertEqual(watched.small.world.errors, [])

    def test_a_stop_lets_it_deliver_what_is_on_disk(self) -> None:
        watched = self.watched()
        watched.busy(1.5, 2.0)
        watched.small.world.run_until(3.0)
        ended: list[object] = []
        watched.process.stop().addCallback(ended.append)
        watched.small.world.run_until(100.0)
        self.assertEqual((ended, watched.courier.exit), ([0], 0))
        self.assertEqual(watched.delivered(), watched.lines())
        self.assertEqual(watched.small.world.errors, [])

    def test_the_same_seed_gives_the_same_history_whatever_the_hashes_of_strings_are(self) -> None:
        code = "from tests.simulation.test_courier import history; print(history(3))"
        given = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout.split()[-1]  # fmt: skip
        self.assertEqual(given, history(3))
