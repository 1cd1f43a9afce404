from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from hospproxy.outward.gate.signs import AttemptSign, Outcome, sign_of


def sign(outcome: Outcome, lasted_s: float = 4.0, cut_short: bool = False) -> AttemptSign:
    return sign_of(outcome, lasted_s=lasted_s, cut_short=cut_short, slow_s=20.0)


class SignTests(SynchronousTestCase):
    def test_answers(self) -> None:
        for status in (200, 201, 401, 404, 500):
            self.assertIs(sign(Response(status)), AttemptSign.WELL)
        for status in (502, 503, 504):
            self.assertIs(sign(Response(status)), AttemptSign.OVERLOADED)
        self.assertIs(sign(BadAnswer("x")), AttemptSign.THERE)
        self.assertIs(sign(FailedAfterSending("x", head_status=200)), AttemptSign.THERE)

    def test_nobody_there(self) -> None:
        self.assertIs(sign(NotSent("x")), AttemptSign.GONE)
        self.assertIs(sign(FailedAfterSending("x")), AttemptSign.GONE)

    def test_slow_is_not_dead(self) -> None:
        late = FailedAfterSending("x", timed_out=True)
        self.assertIs(sign(late, lasted_s=19.9, cut_short=True), AttemptSign.NONE)
        self.assertIs(sign(late, lasted_s=20.0, cut_short=True), AttemptSign.SILENT)
        cut = FailedAfterSending("x", timed_out=True, head_status=200)
        self.assertIs(sign(cut, lasted_s=28.0, cut_short=True), AttemptSign.NONE)
        self.assertIs(sign(NotSent("x"), lasted_s=0.1, cut_short=True), AttemptSign.NONE)
