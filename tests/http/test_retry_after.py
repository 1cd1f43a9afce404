from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Response
from hospproxy.http.retry_after import MOST_S, retry_after_s, with_retry_after
from tests.rig import Rig


def headers(value: bytes, date: bytes | None = None) -> Headers:
    dated = () if date is None else ((b"Date", date),)
    return Headers(((b"Retry-After", value), *dated))


class SayingTests(SynchronousTestCase):
    def test_seconds_and_dates(self) -> None:
        self.assertEqual(retry_after_s(headers(b"120")), 120.0)
        self.assertEqual(retry_after_s(headers(b"0")), 0.0)
        self.assertIsNone(retry_after_s(Headers()))
        later, now = b"Sun, 06 Nov 1994 08:49:57 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT"
        self.assertEqual(retry_after_s(headers(later, now)), 20.0)
        self.assertEqual(retry_after_s(headers(now, later)), 0.0)
        self.assertIsNone(retry_after_s(headers(later)), "nobody knows how late it is there")
        self.assertIsNone(retry_after_s(headers(b"%d" % (MOST_S + 1))))

    @given(st.binary(max_size=40), st.one_of(st.none(), st.binary(max_size=40)))
    def test_any_bytes_are_seconds_or_nothing(self, value: bytes, date: bytes | None) -> None:
        said = retry_after_s(headers(value, date))
        self.assertTrue(said is None or 0.0 <= said <= MOST_S)


class PassingOnTests(SynchronousTestCase):
    def test_what_hosp_says_stays_and_what_it_leaves_out_is_said_for_it(self) -> None:
        for status in (429, 503):
            self.assertEqual(with_retry_after(Response(status)).headers.get(b"retry-after"), b"5")
            said = Response(status, headers(b"70"))
            self.assertIs(with_retry_after(said), said)
            nonsense = with_retry_after(Response(status, headers(b"never")))
            self.assertEqual(nonsense.headers.all(b"retry-after"), [b"5"])
        for status in (200, 404, 500, 502, 504):
            self.assertIsNone(with_retry_after(Response(status)).headers.get(b"retry-after"))

    def test_a_client_is_told_when_to_come_back_to_a_hosp_that_is_busy(self) -> None:
        for status in (429, 503):
            rig = Rig()
            rig.get(rig.send("GET", "/notes"))
            rig.hosp.read_faults = [status] * 9
            answer = rig.get(rig.send("GET", "/notes"))
            self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (status, b"5"))
