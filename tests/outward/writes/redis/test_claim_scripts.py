"""Replies of the claim scripts are trusted only if they have the right types."""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.writes.entry import WriteNames
from hospproxy.outward.writes.redis.claim_scripts import ClaimScripts
from hospproxy.sharing.kinds import Away
from hospproxy.watch.metrics import Metrics


class Saying:
    """A Redis whose reply to each script is set by the test."""

    member = b"m.a"
    sees_others = True
    sees_since = -math.inf
    vault: Any = None

    def __init__(self, said: list[Any]) -> None:
        self.said = said

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        return b"{p}:" + kind.encode() + (b":00" if data else b"")

    async def run(self, *_: Any) -> list[Any]:
        return self.said


class ClaimTests(SynchronousTestCase):
    def test_a_turn_without_its_moments_is_no_turn(self) -> None:
        """How long ago it was sent must be said: nothing in its place would be taken for a failure elsewhere."""
        for said in (
            [b"yours", b"", b"", 0, 1, 0],
            [b"over", b"7", 0, 0, 1, b""],
            [b"yours", b"x", 0, 0, 1, 0],
        ):
            common: Any = Saying([b"mark", *said])
            meter = Metrics(strict=True)
            scripts = ClaimScripts(common, common, Clock(), meter, lambda: None)
            claiming = Deferred.fromCoroutine(
                scripts.claim(
                    "ref", WriteNames(b"turn", b"equal", None), left_s=1.0, keep_s=1.0, resource="", highest="",
                    record="", late_s=1.0, gone="", author="", most=10,
                )
            )  # fmt: skip
            self.failureResultOf(claiming, Away)
            self.assertEqual(meter.value("claims_total", outcome="nonsense"), 1)
