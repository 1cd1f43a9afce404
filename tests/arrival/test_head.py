"""Heads: compared with a second tokeniser, split anywhere, and within time."""

from __future__ import annotations

import re

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.head import HeadFinder, parse_head
from hospproxy.arrival.line import METHODS, HeadRefused
from hospproxy.options.arrival_section import ArrivalSettings
from tests.arrival.memory_transport import Line
from tests.corpus import ALL
from tests.corpus.case import get, post, request

LIMITS = ArrivalSettings(max_head_bytes=2048, max_target_bytes=512, max_fields=20)

# The oracle: two linear regular expressions, independent of llhttp.
_TCHAR = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD = rb"(" + _TCHAR + rb"++):([\t\x20-\x7e\x80-\xff]*+)\r\n"
_HEAD = re.compile(
    rb"(" + rb"|".join(sorted(METHODS)) + rb") ([\x21-\x7e\x80-\xff]++) HTTP/(1)\.([01])\r\n((?:"
    + _FIELD.replace(b"(" + _TCHAR, b"(?:" + _TCHAR).replace(b":([", b":(?:[") + rb")*+)\r\n"
)  # fmt: skip
_FIELDS = re.compile(_FIELD)

_BASES = [
    get(b"/patients?hospital_id=1", b"Accept: */*", b"Authorization: Basic YTpi"),
    post(b"", b"Content-Length: 12", b"Content-Type: application/json", b"Expect: 100-continue"),
    post(b"", b"Transfer-Encoding: chunked", b"Connection: close, x"),
    request(b"OPTIONS", b"*", b"Connection: keep-alive", version=b"1.0"),
    get(b"http://a/x", b"Connection: upgrade", b"Upgrade: h2c", b"Cookie: a=b; c"),
]
_ALPHABET = [bytes([b]) for b in b'\x00\t\n\r !"#%,./:;@A\\aZ~\x7f\x80\xff01']
_ALPHABET += [b"\r\n", b"\r\n\r\n", b"Host: b\r\n", b"chunked", b"HTTP/1.0", b"GET ", b"5"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid head with a few bytes changed, added or removed."""
    data = draw(st.sampled_from(_BASES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from((0, 0, 1, 1, 3)))
        data = data[:start] + draw(st.sampled_from([b"", *_ALPHABET])) + data[end:]
    return data


def outcome(*pieces: bytes) -> tuple[object, ...]:
    """What the client and the handler see of a connection that sends these bytes."""
    line = Line(limits=LIMITS)
    line.send(*pieces)
    line.pass_time(200, step_s=5)
    return (
        line.handler.handled,
        [error.status for _, error in line.handler.refused],
        line.statuses(),
        line.gone,
    )


class OracleTests(SynchronousTestCase):
    @settings(max_examples=1500, deadline=None)
    @given(mutated())
    def test_agrees(self, data: bytes) -> None:
        """The oracle parses each accepted head in the same way; a head that it cannot parse is refused."""
        try:
            head = HeadFinder(LIMITS).take(bytearray(data))
            if head is None:
                return
            parsed = parse_head(head, LIMITS)
        except HeadRefused as error:
            if "header section" in error.detail and not re.search(
                rb"(?i)content-length|transfer-encoding", data
            ):
                start = data.removeprefix(b"\r\n").removeprefix(b"\r\n")
                self.assertIsNone(_HEAD.fullmatch(start[: start.find(b"\r\n\r\n") + 4]), data)
            return
        match = _HEAD.fullmatch(head)
        assert match is not None, head
        pairs = [(name.lower(), value.strip(b" \t")) for name, value in _FIELDS.findall(match[5])]
        self.assertEqual(list(parsed.fields), pairs)
        self.assertEqual((parsed.line.method, parsed.line.version), (match[1], (1, int(match[4]))))

    def test_the_oracle_reads_sound_heads(self) -> None:
        """Otherwise its refusals would prove nothing."""
        for base in _BASES:
            self.assertIsNotNone(_HEAD.fullmatch(base), base)

    @settings(max_examples=400, deadline=None)
    @given(mutated(), st.binary(max_size=8), st.data())
    def test_cuts_change_nothing(self, data: bytes, more: bytes, cuts: st.DataObject) -> None:
        """However a stream is split, the forwarded requests and the responses stay the same."""
        stream = data + more
        places = sorted(cuts.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
        pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        self.assertEqual(outcome(*pieces), outcome(stream))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=300), st.data())
    def test_noise(self, noise: bytes, cuts: st.DataObject) -> None:
        """Any bytes get a response of the proxy or none, and the connection ends."""
        place = cuts.draw(st.integers(0, len(noise)))
        handled, _, statuses, gone = outcome(noise[:place], noise[place:])
        self.assertTrue(gone)
        self.assertEqual(handled, [])
        self.assertLessEqual(len(statuses), 1)


class LlhttpTests(SynchronousTestCase):
    """The behaviour of httptools that we rely on. Its leniencies are switches; these tests pin that they are off."""

    def refuses(self, data: bytes, **leniencies: bool) -> bool:
        parser = httptools.HttpRequestParser(object())
        if leniencies:
            parser.set_dangerous_leniencies(**leniencies)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            return True
        return False

    def test_leniencies_are_off(self) -> None:
        both = post(b"", b"Content-Length: 5", b"Transfer-Encoding: chunked")
        pinned = {
            "lenient_headers": get(b"/", b"X: a\x01b"),
            "lenient_chunked_length": both,
            "lenient_transfer_encoding": post(b"", b"Transfer-Encoding: chunked, gzip"),
            "lenient_version": get(version=b"1.7"),
            "lenient_optional_lf_after_cr": b"GET / HTTP/1.1\rHost: a\r\r",
            "lenient_optional_cr_before_lf": b"GET / HTTP/1.1\nHost: a\n\n",
        }
        for leniency, data in pinned.items():
            self.assertTrue(self.refuses(data), leniency)
        self.assertFalse(self.refuses(pinned["lenient_version"], lenient_version=True))

    def test_ours_has_no_leniency(self) -> None:
        """The same inputs through our own function."""
        for data in (get(b"/", b"X: a\x01b"), post(b"", b"Content-Length: 5", b"Transfer-Encoding: chunked")):
            self.assertEqual(self.assertRaises(HeadRefused, parse_head, data, ArrivalSettings()).status, 400)


class HeadTests(SynchronousTestCase):
    def test_knows_the_method_of_what_it_refuses(self) -> None:
        """A response to HEAD has no content, not even a refusal; and the record needs the method."""
        for data, known in (
            (request(b"HEAD", b"/x?y", b"Host: b"), (b"HEAD", b"/x", b"y")),
            (request(b"HEAD", b"/#"), (b"HEAD", b"", None)),
            (request(b"PATCH", b"/x", b"Content-Length: x"), (b"PATCH", b"/x", None)),
        ):
            line = self.assertRaises(HeadRefused, parse_head, data, ArrivalSettings()).known
            self.assertEqual((line.method, line.path, line.query), known)

    def test_refuses_half_a_head(self) -> None:
        self.assertEqual(
            self.assertRaises(HeadRefused, parse_head, b"GET / HT", ArrivalSettings()).status, 400
        )

    def test_the_limit_of_a_line_is_never_above_that_of_a_head(self) -> None:
        small = ArrivalSettings(max_head_bytes=200, max_target_bytes=8192)
        for data in (b"GET /" + b"a" * 195, b"GET /" + b"a" * 500 + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
            error = self.assertRaises(HeadRefused, HeadFinder(small).take, bytearray(data))
            self.assertEqual(error.status, 414)


class CorpusPatternTests(SynchronousTestCase):
    def test_methods_of_the_corpus_cover_all_that_we_know(self) -> None:
        passed = {each.method.encode() for case in ALL for each in case.passed}
        self.assertEqual(passed, set(METHODS))
