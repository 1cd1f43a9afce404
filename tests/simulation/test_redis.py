"""The simulated Redis: the proxy's own scripts, in virtual time."""

from __future__ import annotations

from typing import Any

from simulation.kernel import Machine, Process, Redis
from tests.simulation.worlds import OPTIONS, Question, Small, WorldTestCase, note

SHARED = """
[redis]
enabled = true
url = "redis://10.0.0.5:6379"
"""


class Hospital:
    """Two machines, the first with two workers, and a Redis."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.world = small.world
        self.redis = Redis(self.world, "10.0.0.5")
        self.machines = [small.machine, self.world.machine("two", "10.0.0.2")]
        self.processes: list[Process] = []
        for machine, workers in zip(self.machines, (2, 1), strict=True):
            machine.put("master.key", b"k" * 32)
            self.processes += [self.start(machine, workers, slot) for slot in range(workers)]
        self.world.run_until(30.0)

    def start(self, machine: Machine, workers: int, slot: int) -> Process:
        options = f"workers = {workers}\n{OPTIONS}{SHARED}".replace(
            "10.0.0.1:8080", f"{machine.address}:8080"
        )
        return machine.start(options, slot, boot_s=0.5 + slot / 10)

    def up(self) -> list[bool]:
        """Whether each process reaches Redis."""
        return [each.service.parts.shared.may_serve for each in self.processes]

    def ask(self, at: float, question: Question, machine: int) -> Question:
        return self.small.ask(at, question, (self.machines[machine].address, 8080))


class Sharing(WorldTestCase):
    """Workers and machines that share the simulated Redis."""

    def hospital(self, seed: int = 1, **more: Any) -> Hospital:
        self.made = Hospital(self.small(seed, **more))
        return self.made

    def test_all_join(self) -> None:
        hospital = self.hospital()
        self.assertEqual(hospital.up(), [True] * 3)
        self.assertEqual(hospital.world.errors, [])

    def test_one_note_from_two_machines_is_sent_once(self) -> None:
        hospital = self.hospital(takes_s=3.0)
        asked = [hospital.ask(31.0 + machine / 10, note("same", "a-key"), machine) for machine in (0, 1)]
        hospital.world.run_until(60.0)
        self.assertEqual([each.status for each in asked], [201, 409])  # it is in flight at another worker
        self.assertEqual(
            [each for each in hospital.small.hosp.requests if each.startswith("POST")],
            ["POST /notes HTTP/1.1"],
        )

    def test_while_it_is_away_nothing_is_shared(self) -> None:
        hospital = self.hospital()
        hospital.redis.away()
        hospital.world.run_until(50.0)
        self.assertEqual(hospital.up(), [False] * 3)
        hospital.redis.back()
        hospital.world.run_until(110.0)
        self.assertEqual(hospital.up(), [True] * 3)
        self.assertEqual(hospital.world.errors, [])

    def test_it_is_emptied_and_restored(self) -> None:
        hospital = self.hospital()
        hospital.redis.save()
        hospital.ask(31.0, note("a"), 0)
        hospital.world.run_until(37.0)
        for change in (hospital.redis.empty, hospital.redis.restore):
            change()
            hospital.world.run_until(hospital.world.seconds() + 60.0)
            self.assertEqual(hospital.up(), [True] * 3)
        self.assertEqual(hospital.world.errors, [])

    def test_clients_reach_all_workers(self) -> None:
        hospital = self.hospital()
        for number in range(20):
            hospital.ask(31.0 + number / 10, Question("GET /hospitals HTTP/1.1"), 0)
        hospital.world.run_until(34.0)
        used = [sum(seam == "before ring" for seam in each.reached()) for each in hospital.processes]
        self.assertEqual(used, [1, 1, 0])

    def test_the_same_seed_gives_the_same_history(self) -> None:
        digests = []
        for _ in range(2):
            hospital = self.hospital(7)
            for number in range(6):
                hospital.ask(31.0 + number, note(f"n{number}"), number % 2)
            hospital.world.run_until(34.0)
            hospital.processes[0].kill()
            hospital.machines[1].power_cut()
            hospital.world.run_until(70.0)
            digests.append(hospital.world.digest())
        self.assertEqual(digests[0], digests[1])
