"""The report reads a journal as the proxy writes it: with digests, a reserve, and packed files."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.signing_key import Signer
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.upkeep import TrailUpkeep
from hospproxy.report.log_files import Format, find
from hospproxy.report.measure import measure

RECORD = {
    "v": 1,
    "kind": "request",
    "time": "2026-11-20T22:00:00.000Z",
    "duration_ms": 12.3,
    "client": {"address": "192.0.2.7", "peer": "10.0.0.1", "chain": [], "scheme": "https"},
    "method": "GET",
    "route": "/patients/{id}",
    "status": 200,
    "client_gone": False,
}


class JournalTests(SynchronousTestCase):
    def test_a_running_proxys_folder(self) -> None:
        folder, signer = Path(self.mktemp()), Signer.generate()
        folder.mkdir()
        now = 1_795_212_000.0

        def clock() -> float:
            return now

        keeper = TrailKeeper(
            folder, clock, signer=signer, plan=RotationPlan(rotate_bytes=100_000, reserve_bytes=2_000_000)
        )
        for number in range(20):
            kinds = ("request", "request", "own", "intent")
            keeper.keep([encode_record(RECORD | {"kind": kinds[number % 4]}) for _ in range(100)])
        assert keeper.committed is not None
        TrailUpkeep(folder, signer, clock).run(keeper.committed)
        found = find([folder])
        self.assertEqual({file.format for file in found.files}, {Format.JOURNAL})
        self.assertEqual({file.packed for file in found.files}, {True, False})
        report = measure(found)
        keeper.close()
        self.assertEqual((report.counts.requests, report.broken, report.damaged), (1000, 0, ()))
        self.assertEqual(report.durations.max_ms, 12.3)
