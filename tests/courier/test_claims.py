"""How the courier asks whether an alert is its machine's to raise."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.courier.messages import Claim, Claimed
from hospproxy.courier.process import _MOST_KEPT, CLAIM_S, SentClaims


class ClaimTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.sent = Clock(), list[Any]()
        self.claims = SentClaims(self.clock, mock.Mock(say=self.sent.append))

    def test_the_service_decides(self) -> None:
        first, second = self.claims.claim("a", 60.0), self.claims.claim("b", 60.0)
        self.assertEqual(self.sent, [Claim(1, "a", 60.0), Claim(2, "b", 60.0)])
        self.claims.claimed(Claimed(2, False))
        self.claims.claimed(Claimed(1, True))
        self.claims.claimed(Claimed(1, False))
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (True, False))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_service_that_is_silent_prevents_no_alert(self) -> None:
        asked = self.claims.claim("a", 60.0)
        self.clock.advance(CLAIM_S)
        self.assertTrue(self.successResultOf(asked))
        self.claims.claimed(Claimed(1, False))

    def test_what_waits_is_bounded(self) -> None:
        for _ in range(_MOST_KEPT):
            self.claims.claim("a", 60.0)
        self.assertTrue(self.successResultOf(self.claims.claim("a", 60.0)))
        self.assertEqual(len(self.sent), _MOST_KEPT)
        self.clock.advance(CLAIM_S)
