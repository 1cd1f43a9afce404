"""Exactly once, while HOSP may fail, the process may be killed, and clients may leave, each at any point.

Each client has one note to write and repeats its request, with a key or without, until the response is definite. Then
the note must exist once, whatever happened in between.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from tests.rig import STAFF1, STAFF2, Rig

RESET = FailedAfterSending("reset")
CUT = FailedAfterSending("cut", head_status=201)
FAULT = st.one_of(
    st.tuples(st.just("before"), st.sampled_from([500, 503, RESET, NotSent("x")])),
    st.tuples(st.just("after"), st.sampled_from([500, 503, RESET, CUT])),
    st.floats(0.1, 20).map(lambda late: (f"late:{late}", RESET)),
)
READ_FAULT = st.sampled_from([500, 503, RESET, NotSent("x")])
EVENT = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 30)),
    # Error of the machine's clock at the next start: none, as before NTP sets it, or far ahead.
    st.tuples(st.just("crash"), st.sampled_from([0.0, 0.0, -3600.0, 3600.0, 8 * 24 * 3600.0])),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("begin"), st.integers(0, 5)),
)


class Client:
    """One client with one note. Every second one uses a key; every third is another user."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.auth = STAFF2 if number % 3 == 0 else STAFF1
        self.key = b"key-%d" % number if number % 2 else None
        self.waiting: Deferred[Response] | None = None
        self.told: Response | None = None

    @property
    def definite(self) -> bool:
        return self.told is not None and self.told.status == 201

    def send(self, rig: Rig) -> None:
        if self.waiting is not None or self.definite:
            return
        headers = [] if self.key is None else [(b"idempotency-key", self.key)]
        document = {"title": "t", "body": f"note {self.number}", "patient_id": 7}
        self.waiting = rig.send("POST", "/notes", document, auth=self.auth, headers=headers)
        self.waiting.addCallbacks(self._answered, lambda _failure: None)

    def _answered(self, answer: Response) -> None:
        self.told, self.waiting = answer, None
        if answer.handed_over is not None:
            answer.handed_over(True)

    def leave(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()

    def cut_off(self) -> None:
        """Its process is dead: responses of that process no longer count."""
        self.waiting = None


class ExactlyOnceTests(SynchronousTestCase):
    # test_rotation runs it again; only the Rig differs.
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(
        st.lists(EVENT, min_size=2, max_size=12),
        st.lists(FAULT, max_size=10),
        st.lists(READ_FAULT, max_size=10),
    )
    def test_every_note_is_there_once(
        self, events: list[tuple[str, Any]], faults: list[Any], read_faults: list[Any]
    ) -> None:
        rig = Rig()
        for auth in (STAFF1, STAFF2):
            rig.get(rig.send("GET", "/notes", auth=auth))
        rig.hosp.faults, rig.hosp.read_faults = list(faults), list(read_faults)
        clients = [Client(number) for number in range(6)]
        begun: set[int] = set()
        for what, which in events:
            if what == "wait":
                rig.clock.pump([0.1] * int(which * 10))
            elif what == "leave":
                clients[which].leave()
            elif what == "begin":
                begun.add(which)
                clients[which].send(rig)
            else:
                for client in clients:
                    client.cut_off()
                rig = rig.crash(wall_error=which)
        rig.hosp.faults = []
        for _ in range(8):
            for number in begun:
                clients[number].send(rig)
            rig.clock.pump([0.25] * 120)
        stored = [row["body"] for row in rig.hosp.records["notes"]]
        for number in begun:
            client = clients[number]
            self.assertTrue(client.definite, client.told)
            assert client.told is not None
            mine = [row for row in rig.hosp.records["notes"] if row["body"] == f"note {number}"]
            self.assertEqual(len(mine), 1, (stored, number))
            self.assertEqual(json.loads(client.told.body)["id"], mine[0]["id"])
            self.assertEqual(mine[0]["staff_id"], 2 if number % 3 == 0 else 1)
        self.assertEqual(len(rig.entries), 0)
