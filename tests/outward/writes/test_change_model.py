"""Changes of one record, while HOSP may fail or be late and the process may be killed, each at any point.

One user changes a name again and again, each time after the previous response. At the end the record has the
last acknowledged name, unless a change after it ended *unknown*.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from tests.rig import Rig

RESET = FailedAfterSending("reset")
TIMED_OUT = FailedAfterSending("no answer", timed_out=True)
FAULT = st.one_of(
    st.just(("none", 200)),
    st.tuples(st.just("before"), st.sampled_from([500, 503, RESET, NotSent("x")])),
    st.tuples(st.just("after"), st.sampled_from([500, 503, RESET])),
    st.tuples(st.floats(0.1, 24.5).map("late:{}".format), st.sampled_from([RESET, TIMED_OUT, 503])),
)
STEP = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(["Juno", "Juno", "A", "B"])),
    st.tuples(st.just("change"), st.sampled_from(["Juno", "A", "A", "B"])),
    st.tuples(st.just("kill"), st.floats(0, 12)),
    st.tuples(st.just("wait"), st.floats(0, 30)),
    st.tuples(st.just("read"), st.just(0)),
    st.tuples(st.just("fail"), st.integers(1, 6)),
)


class World:
    """The process, HOSP and the one user.

    :ivar acknowledged: the name that was acknowledged last.
    :ivar doubtful: names that may have been written since.
    """

    def __init__(self, faults: list[Any]) -> None:
        self.rig = Rig()
        self.rig.get(self.rig.send("GET", "/patients"))
        self.rig.hosp.faults = list(faults)
        self.acknowledged = "Juno"
        self.doubtful: set[str] = set()
        self.number = 0

    def sending(self, name: str) -> Deferred[Response]:
        self.number += 1
        headers = [(b"idempotency-key", b"key-%d" % self.number)]
        return self.rig.send("PATCH", "/patients/7", {"name": name}, headers=headers)

    def change(self, name: str) -> None:
        answer = self.rig.get(self.sending(name))
        if answer.status == 200:
            self.acknowledged, self.doubtful = name, set()
        elif b"unknown" in answer.body:
            self.doubtful.add(name)

    def kill(self, after_s: float) -> None:
        """Kill the process while a change is in flight; its client gets no response."""
        self.sending("killed")
        self.doubtful.add("killed")
        self.rig.clock.pump([0.1] * int(after_s * 10))
        self.rig = self.rig.crash()

    def do(self, what: str, which: Any) -> None:
        if what == "change":
            self.change(which)
        elif what == "kill":
            self.kill(which)
        elif what == "read":
            self.rig.get(self.rig.send("GET", "/patients/7"))
        elif what == "fail":
            self.rig.hosp.read_faults = [500] * which
        else:
            self.rig.clock.pump([0.1] * int(which * 10))


class LastAcknowledgedTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(st.lists(STEP, min_size=2, max_size=10), st.lists(FAULT, max_size=8))
    def test_what_was_acknowledged_last_stands(self, steps: list[tuple[str, Any]], faults: list[Any]) -> None:
        world = World(faults)
        for what, which in steps:
            world.do(what, which)
        world.rig.clock.pump([0.5] * 200)
        name = world.rig.hosp.records["patients"][0]["name"]
        self.assertIn(name, {world.acknowledged} | world.doubtful)
        world.rig.clock.pump([0.5] * 1300)
        self.assertEqual((len(world.rig.entries), len(world.rig.entries._turns)), (0, 0))
