"""One worker dies alone, and another one is started in its slot beside its live sibling."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from simulation import runner
from simulation.faults import Fault, Plan, draw
from simulation.history import History, Life
from simulation.scenes import scene_of
from simulation.supervisor import FORK_S, Supervisor

from .worlds import WorldTestCase


class Worker:
    """Stands for a process."""

    def __init__(self, slot: int) -> None:
        self.slot, self.running = slot, True

    def kill(self) -> None:
        self.running = False


class SupervisorTests(WorldTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world = self.bare()
        self.started: list[tuple[float, int, float | None]] = []
        reactor = self.world.host("watching", "10.0.9.9").reactor
        self.supervisor = Supervisor(2, self.world.seconds, reactor.callLater, self.start)
        self.supervisor.look()

    def start(self, slot: int, boot_s: float | None) -> Worker:
        self.started.append((self.world.seconds(), slot, boot_s))
        return Worker(slot)

    def kill(self, slot: int) -> None:
        self.supervisor.kill(slot, self.supervisor.worker(slot))

    def test_each_slot_gets_a_process_once(self) -> None:
        self.supervisor.look()
        self.assertEqual(self.started, [(0.0, 0, None), (0.0, 1, None)])

    def test_it_is_followed_in_its_slot_at_once_and_then_after_longer_pauses(self) -> None:
        """As `hospproxy.workers` does it."""
        sibling = self.supervisor.worker(0)
        begins = []
        for pause in (0.0, 0.5, 1.0, 2.0):
            self.kill(1)
            at = self.world.seconds()
            self.supervisor.look()
            self.assertIsNone(self.supervisor.worker(1))
            self.world.run_until(at + pause + 0.001)
            begins.append(self.started[-1] == (at + pause, 1, FORK_S))
            self.world.run_until(at + pause + 3.0)
        self.assertEqual(begins, [True] * 4)
        self.world.run_until(self.world.seconds() + 60.0)
        self.kill(1)
        at = self.world.seconds()
        self.world.run_until(at + 0.001)
        self.assertEqual(self.started[-1], (at, 1, FORK_S))
        self.assertIs(self.supervisor.worker(0), sibling)

    def test_none_is_started_while_the_machine_is_down(self) -> None:
        self.kill(1)
        self.supervisor.worker(0).kill()
        self.supervisor.stay_down(10.0)
        self.world.run_until(9.0)
        self.supervisor.look()
        self.assertEqual(len(self.started), 2)
        self.world.run_until(10.0)
        self.supervisor.look()
        self.assertEqual([start[1:] for start in self.started[2:]], [(0, None), (1, None)])


class PlanTests(SynchronousTestCase):
    def test_workers_of_each_shape(self) -> None:
        for shape, world, workers in (
            ("one", {}, 1),
            ("one", {"workers": 2}, 1),
            ("workers", {}, 2),
            ("machines", {}, 1),
            ("machines", {"workers": 2}, 2),
        ):
            self.assertEqual(Plan(1, shape, world=world).workers, workers, (shape, world))

    def test_what_a_plan_names_is_one_worker_and_a_place_in_its_code(self) -> None:
        plans = [draw(seed, "workers") for seed in range(40)]
        found = [fault for plan in plans for fault in plan.faults if fault.kind == "kill worker"]
        self.assertTrue(found)
        self.assertEqual({fault.args["slot"] for fault in found}, {0, 1})
        self.assertIn("event", {fault.args["seam"] for fault in found})
        for plan in plans:
            self.assertEqual(Plan.from_json(plan.to_json()), plan)


class WorldTests(SynchronousTestCase):
    """A whole world in which both workers die, one after the other."""

    def ran(self) -> tuple[runner.Result, History]:
        kept = Path(self.mktemp())
        scene = scene_of("keys again, workers die", 1, "workers")
        faults = (
            Fault(5.0, "kill worker", args={"slot": 1, "seam": "event", "nth": 30}),
            Fault(12.0, "kill worker", args={"slot": 0, "seam": "event", "nth": 5}),
            Fault(20.0, "kill worker", args={"slot": 1}),
        )
        plan = evolve(scene, faults=faults, errands=scene.errands[:16], busy_s=30.0, settle_s=20.0)
        result = runner.run(plan, kept)
        self.assertEqual((result.failure, result.violations), ("", ()))
        return result, History.read(kept)

    def test_its_siblings_go_on_and_another_follows_it_in_each_run_alike(self) -> None:
        runner.prepare()
        (first, history), (second, _) = self.ran(), self.ran()
        self.assertEqual(first.digest, second.digest)
        lives = [(life.what, life.pid) for life in history.of(Life)]
        deaths = [("killed", pid) for pid in (101, 102, 103)]
        successors = [("started", pid) for pid in (103, 104, 105)]
        self.assertEqual(lives[:2], [("started", 101), ("started", 102)])
        self.assertEqual(sorted(lives[2:8]), [*deaths, *successors])
        self.assertEqual(lives[8:], [("over", 104), ("over", 105)])
