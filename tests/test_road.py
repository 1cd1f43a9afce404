"""``make bench-road``: the requests go all the way to HOSP, and their records are made."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.road import LISTS, client_of, requests


class RoadTests(SynchronousTestCase):
    def test_each_request_of_a_trial_reaches_hosp(self) -> None:
        for trial, status in (("pass", b"cache-status: hospproxy; fwd=bypass"), ("miss", b"fwd=uri-miss")):
            folder = Path(self.mktemp())
            folder.mkdir()
            client = client_of(trial, folder)
            for request in islice(requests(trial), len(LISTS) + 1):
                answer = client.ask(request)
                self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:300])
                self.assertIn(
                    status, answer.partition(b"\r\n\r\n")[0].replace(b"Cache-Status", b"cache-status")
                )
