"""Exactly once over three workers of two machines: HOSP fails, workers die, clients leave and try another worker.

Like test_model.py, but clients use any worker. Some of them have equal notes and still want two.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Response
from tests.rig import STAFF1, STAFF2

from .site import Site, Worker
from .test_model import FAULT, READ_FAULT

CLIENTS = 6
MACHINES = ("m0", "m0", "m1")
WHERE = st.integers(0, len(MACHINES) - 1)
WHO = st.integers(0, CLIENTS - 1)
WAIT = st.tuples(st.just("wait"), st.floats(0, 30), st.just(0))
LEASE = st.sampled_from([0, 3])
COMMON = (
    WAIT,
    st.tuples(st.just("leave"), WHO, st.just(0)),
    st.tuples(st.just("begin"), WHO, WHERE),
    st.tuples(st.just("begin"), WHO, WHERE),
)
EVENT = st.one_of(*COMMON, st.tuples(st.just("crash"), WHERE, LEASE))
ROUGH = st.one_of(
    *COMMON,
    st.tuples(st.just("crash"), WHERE, LEASE),
    st.tuples(st.just("away"), WHERE, st.just(0)),
    st.tuples(st.just("back"), WHERE, st.just(0)),
    st.tuples(st.just("deaf"), WHERE, st.integers(1, 3)),
    st.tuples(st.just("lose"), st.just(0), st.just(0)),
)


class Client:
    """One client with one note. Every second one uses a key. Client 4 is the twin of 2 and has an equal note."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.note = f"note {2 if number == 4 else number}"
        self.auth = STAFF2 if number == 3 else STAFF1
        self.key = b"key-%d" % number if number % 2 else None
        self.waiting: Deferred[Response] | None = None
        self.at: Worker | None = None
        self.told: Response | None = None
        self.unknown = False

    @property
    def definite(self) -> bool:
        return self.told is not None and self.told.status == 201

    def send(self, worker: Worker) -> None:
        if self.waiting is not None or self.definite:
            return
        headers = [] if self.key is None else [(b"idempotency-key", self.key)]
        document = {"title": "t", "body": self.note, "patient_id": 7}
        self.at = worker
        self.waiting = worker.send("POST", "/notes", document, auth=self.auth, headers=headers)
        self.waiting.addCallbacks(self._answered, lambda _failure: None)

    def _answered(self, answer: Response) -> None:
        self.told, self.waiting = answer, None
        self.unknown = self.unknown or b"unknown" in answer.body
        if answer.handed_over is not None:
            answer.handed_over(True)

    def leave(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()


class World:
    """All workers, HOSP and clients."""

    def __init__(self, faults: list[Any], read_faults: list[Any]) -> None:
        self.site = Site()
        self.workers = [self.site.worker(machine) for machine in MACHINES]
        for worker in self.workers:
            for auth in (STAFF1, STAFF2):
                worker.get(worker.send("GET", "/notes", auth=auth))
        self.site.hosp.faults, self.site.hosp.read_faults = list(faults), list(read_faults)
        self.clients = [Client(number) for number in range(CLIENTS)]
        self.begun: set[int] = set()

    def do(self, what: str, which: Any, where: int) -> None:
        if what == "wait":
            self.site.clock.pump([0.1] * int(which * 10))
        elif what == "leave":
            self.clients[which].leave()
        elif what == "begin":
            self.begun.add(which)
            self.clients[which].send(self.workers[where])
        elif what == "away":
            self.workers[which].common.away = True
        elif what == "back":
            self.workers[which].common.away = False
        elif what == "deaf":
            self.workers[which].common.deaf = where
        elif what == "lose":
            self.site.store.lose()
        else:
            dead = self.workers[which]
            self.site.end(dead, lease_s=where)
            for client in self.clients:
                if client.at is dead:
                    client.waiting = None
            self.workers[which] = self.site.worker(MACHINES[which])

    def end(self) -> None:
        """End all faults; each client repeats its request until the response is definite."""
        self.site.hosp.faults = []
        for worker in self.workers:
            worker.common.away, worker.common.deaf = False, 0
        for turn in range(12):
            for number in sorted(self.begun):
                self.clients[number].send(self.workers[(number + turn) % len(self.workers)])
            self.site.clock.pump([0.25] * 140)

    def of(self, client: Client) -> list[dict[str, Any]]:
        mine = 2 if client.auth == STAFF2 else 1
        notes = self.site.hosp.records["notes"]
        return [row for row in notes if row["body"] == client.note and row["staff_id"] == mine]


class ExactlyOnceTests(SynchronousTestCase):
    def onceEach(self, world: World) -> None:
        """Check that each client has a response, and that each note exists once, or once for each twin."""
        for number in world.begun:
            client = world.clients[number]
            self.assertTrue(client.definite, client.told)
            assert client.told is not None
            mine = world.of(client)
            twins = len({2, 4} & world.begun) if number in (2, 4) else 1
            self.assertEqual(len(mine), twins, (number, mine))
            self.assertIn(json.loads(client.told.body)["id"], [row["id"] for row in mine])
        ids = [json.loads(world.clients[number].told.body)["id"] for number in world.begun]  # type: ignore[union-attr]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual([len(worker.entries) for worker in world.workers], [0, 0, 0])

    def test_who_asks_the_first_worker_again_after_the_second_died_is_still_aretry(self) -> None:
        """The second worker waited for the first one's response; its lease still lasts when the first gets it."""
        for lease_s in (0, 3):
            world = World([("before", 500)], [])
            for event in (("begin", 4, 1), ("leave", 4, 0), ("begin", 4, 0), ("crash", 0, lease_s)):
                world.do(*event)
            world.end()
            self.onceEach(world)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(EVENT, min_size=2, max_size=14),
        st.lists(FAULT, max_size=10),
        st.lists(READ_FAULT, max_size=10),
    )
    def test_every_note_is_there_once(
        self, events: list[tuple[str, Any, int]], faults: list[Any], read_faults: list[Any]
    ) -> None:
        world = World(faults, read_faults)
        for event in events:
            world.do(*event)
        world.end()
        self.onceEach(world)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(ROUGH, min_size=2, max_size=14),
        st.lists(FAULT, max_size=10),
        st.lists(READ_FAULT, max_size=10),
    )
    def test_without_redis_no_key_is_sent_twice_and_nobody_is_told_of_what_is_not_there(
        self, events: list[tuple[str, Any, int]], faults: list[Any], read_faults: list[Any]
    ) -> None:
        world = World(faults, read_faults)
        for event in events:
            world.do(*event)
        world.end()
        ids = []
        for number in world.begun:
            client = world.clients[number]
            mine = world.of(client)
            if client.key is not None:
                self.assertLessEqual(len(mine), 1, (number, mine))
            if client.definite:
                assert client.told is not None
                ids.append(json.loads(client.told.body)["id"])
                self.assertIn(ids[-1], [row["id"] for row in mine])
            else:
                self.assertTrue(client.unknown, (number, client.told))
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual([len(worker.entries) for worker in world.workers], [0, 0, 0])
