"""Typed text becomes Filters, or an error that names the field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.describe import timestamp
from hospproxy.record.search.filters import NAMES, BadFilterError, Filters, decode_key, encode_key, parse
from hospproxy.record.search.rows import RowKey, RowName


class ParseTests(SynchronousTestCase):
    """Tests of ``parse``."""

    def refused(self, *pairs: tuple[str, str]) -> BadFilterError:
        return self.assertRaises(BadFilterError, parse, pairs)

    def test_everything(self) -> None:
        """Each name sets its field."""
        given = dict.fromkeys(NAMES, "x")
        given.update(
            status="404", since="1970-01-02", until="1970-01-02T00:00:01.5Z", own="true", trouble="1"
        )
        expected = Filters(
            staff="x", claimed="x", auditor="x",
            patient="x", action="x", outcome="x", route="x", resource="x", record_id="x", request_id="x",
            address="x", kind="x", status=404, since=86400.0, until=86401.5, own=True, trouble=True,
        )  # fmt: skip
        self.assertEqual(parse(given.items()), expected)

    def test_empty_asks_for_nothing(self) -> None:
        """A form sends all its fields."""
        self.assertEqual(parse((name, " ") for name in NAMES), Filters())

    def test_times(self) -> None:
        """Times with an offset, without one, and to the minute."""
        for said in (
            "1970-01-01T01:00",
            "1970-01-01 01:00:00",
            "1970-01-01T02:00:00+01:00",
            "1970-01-01t01:00:00z",
        ):
            self.assertEqual(parse([("since", said)]).since, 3600.0, said)

    def test_the_end_of_time_can_be_recorded(self) -> None:
        """A look at everything "until the end" is on record as any other."""
        for said in ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59Z"):
            until = parse([("until", said)]).until
            assert until is not None
            self.assertEqual(timestamp(until), "9999-12-31T23:59:59.000Z", said)

    def test_refused(self) -> None:
        """Each error names its field."""
        cases = [
            ("colour", "red"), ("status", "99"), ("status", "600"), ("status", "2e2"), ("status", "٢٠٠"),
            ("since", "yesterday"), ("since", "2026-02-30"), ("until", "2026-11-24T25:00"), ("until", "20261124"),
            ("since", "٢٠٢٦-11-24"), ("own", "perhaps"), ("staff", "x" * 201), ("patient", "a\0b"),
        ]  # fmt: skip
        for name, value in cases:
            self.assertEqual(self.refused((name, value)).field, name, (name, value))

    def test_repeated(self) -> None:
        """Two values for one name are an error."""
        self.assertEqual(self.refused(("staff", "1"), ("staff", "1")).field, "staff")

    def test_no_time_between(self) -> None:
        """until must follow since."""
        self.assertEqual(self.refused(("since", "2026-01-02"), ("until", "2026-01-02")).field, "until")


class KeyTests(SynchronousTestCase):
    """Tests of ``encode_key`` and ``decode_key``."""

    @given(
        st.integers(0, 10**15),
        st.text("0123456789abcdef-", max_size=40),
        st.integers(0, 9999),
        st.integers(1, 10**17),
    )
    def test_there_and_back(self, time_ms: int, trail: str, number: int, seq: int) -> None:
        """A key survives encoding and decoding."""
        key = RowKey(time_ms, RowName(trail, f"w{number}", seq))
        self.assertEqual(decode_key(encode_key(key)), key)

    def test_refused(self) -> None:
        """Texts that are not keys are refused."""
        for said in ("", "1", "1~t~w0", "1~t~w0~1~2", "1~t~x0~1", "-1~t~w0~1", "1~t~w0~1\n", "١~t~w0~1"):
            self.assertRaises(BadFilterError, decode_key, said)
