"""Users change a record back and forth at several workers, while responses get lost: the last change stands.

HOSP fails before and after it has stored; workers die; after a lost response the client sends the same or another
change.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from tests.rig import STAFF1, STAFF2

from .site import Site, Worker

MACHINES = ("m0", "m0", "m1")
CUT = FailedAfterSending("cut", head_status=200)
FAULT = st.one_of(
    st.tuples(st.just("before"), st.sampled_from([500, NotSent("x")])),
    st.tuples(st.just("after"), st.sampled_from([500, CUT])),
)
WHERE = st.integers(0, len(MACHINES) - 1)
EDIT = st.fixed_dictionaries(
    {}, optional={"title": st.sampled_from(["a", None]), "body": st.sampled_from("ab")}
)
STEP = st.one_of(
    st.tuples(st.just("edit"), EDIT.filter(bool), WHERE, st.sampled_from([STAFF1, STAFF2]), st.booleans()),
    st.tuples(st.just("edit"), EDIT.filter(bool), WHERE, st.just(STAFF1), st.booleans()),
    st.tuples(st.just("die"), st.none(), WHERE, st.just(STAFF1), st.just(False)),
    st.tuples(st.just("wait"), st.none(), WHERE, st.just(STAFF1), st.just(False)),
)


WINDOW_S = 130.0
"""Seconds after which an equal write no longer counts as a retry: the window, and a little more."""


class LastWishTests(SynchronousTestCase):
    def wish(self, steps: list[Any], faults: list[Any], *, pause_s: float, knowable: bool) -> None:
        """Take the steps, and compare the responses with what HOSP has stored.

        :param pause_s: seconds between two steps.
        :param knowable: every outcome can be found out, so every edit gets its 200 within a few tries.
        """
        site = Site()
        workers = [site.worker(machine) for machine in MACHINES]
        for worker in workers:
            for auth in (STAFF1, STAFF2):
                worker.get(worker.send("GET", "/notes", auth=auth))
        note = {"title": "t", "body": "x", "patient_id": 7}
        made = workers[0].get(workers[0].send("POST", "/notes", note))
        number = json.loads(made.body)["id"]
        (row,) = site.hosp.records["notes"]
        site.clock.advance(30)
        site.hosp.faults = list(faults)
        for what, changes, where, auth, lost in steps:
            worker = workers[where]
            if what == "die":
                site.end(worker)
                workers[where] = site.worker(MACHINES[where])
            if what == "edit":
                answer = self.edited(site, worker, number, changes, auth)
                if answer.status != 200 and not knowable:
                    self.assertIn(b"unknown", answer.body)
                    site.clock.advance(WINDOW_S)
                    answer = self.edited(site, worker, number, changes, auth)
                self.assertEqual(answer.status, 200, answer.body)
                seen = json.loads(answer.body)
                for name, value in changes.items():
                    self.assertEqual((seen[name], row[name]), (value, value), (name, changes))
                if answer.handed_over is not None:
                    answer.handed_over(not lost)
            site.clock.advance(pause_s)

    def edited(self, site: Site, worker: Worker, number: int, changes: Any, auth: bytes) -> Response:
        for _ in range(6):
            answer = worker.get(worker.send("PATCH", f"/notes/{number}", changes, auth=auth))
            if answer.status == 200:
                break
            site.clock.advance(2)
        return answer

    @settings(max_examples=60, deadline=None)
    @given(st.lists(STEP, min_size=3, max_size=12), st.lists(FAULT, max_size=4))
    def test_what_was_wished_last_stands(self, steps: list[Any], faults: list[Any]) -> None:
        self.wish(steps, faults, pause_s=4.0, knowable=True)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(STEP, min_size=3, max_size=12), st.lists(FAULT, max_size=4))
    def test_so_it_does_where_changes_follow_too_fast_to_be_told_apart(
        self, steps: list[Any], faults: list[Any]
    ) -> None:
        """A date less than two seconds before a PATCH proves nothing: some of these are unknown."""
        self.wish(steps, faults, pause_s=1.5, knowable=False)
