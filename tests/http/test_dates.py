"""Dates in HTTP fields."""

from __future__ import annotations

import os
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.dates import seconds_of


class DateTests(SynchronousTestCase):
    def test_each_form_is_in_utc(self) -> None:
        self.patch(os, "environ", {**os.environ, "TZ": "America/New_York"})
        os.putenv("TZ", "America/New_York")
        time.tzset()
        self.addCleanup(time.tzset)
        self.addCleanup(os.unsetenv, "TZ")
        for form in (
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
            b"Sun, 06 Nov 1994 08:49:37 -0000",
        ):
            self.assertEqual(seconds_of(form), 784_111_777.0, form)

    @given(st.binary(max_size=40))
    def test_any_bytes_are_a_date_or_none(self, value: bytes) -> None:
        self.assertIsInstance(seconds_of(value), (float, type(None)))

    def test_no_date(self) -> None:
        for wrong in (None, b"", b"yesterday", b"\xff", b"Sun, 06 Nov 99999 08:49:37 GMT"):
            self.assertIsNone(seconds_of(wrong))
