"""Which responses are compressed, and what their fields then say."""

from __future__ import annotations

import gc
import gzip
import zlib
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.exchange.exchange import Call, Deadline, Exchange
from hospproxy.http.messages import Headers, Request, Response
from hospproxy.http.repeat import HitAgain
from hospproxy.interfaces import IProcessor
from hospproxy.memory.coded_contents import CodedContents
from hospproxy.memory.coders import SLICE_BYTES
from hospproxy.memory.coders import gzip as gzip_coder
from hospproxy.memory.compression import Compression
from hospproxy.options.compression_section import CompressionSettings
from hospproxy.process.slices import SliceQueue
from hospproxy.watch.metrics import Metrics
from tests.rig import CONTRACT

TAG = b'"%b"' % (b"0a" * 16)
GZIPPED = TAG[:-1] + b'-gzip"'
BODY = b'[{"id":1,"name":"Root"}]' * 100
HEADERS = ((b"Content-Type", b"application/json; charset=utf-8"), (b"ETag", TAG), (b"Vary", b"Accept"))


class CompressionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = SliceQueue(self.clock)
        self.meter = Metrics("test", strict=True)
        self.kept = CodedContents(1 << 20)
        self.asked: list[Request] = []
        self.made = 0
        self.start()

    def start(self, **options: Any) -> None:
        def counted(content: bytes) -> Any:
            self.made += 1
            return gzip_coder(content)

        self.compression = Compression(
            CompressionSettings(enabled=True, **options),
            CONTRACT,
            self.kept,
            {b"gzip": counted, b"zstd": counted},
            self.turns,
            self.meter,
        )

    def exchange(self, method: str = "GET", *fields: tuple[str, str]) -> Exchange:
        given = [(name.encode(), value.encode()) for name, value in fields]
        return Exchange(
            Request(method, b"/hospitals", headers=Headers(tuple(given))), 0.0, 0.0, Deadline(28.0)
        )

    def answer(
        self,
        *fields: tuple[str, str],
        method: str = "GET",
        operation: str = "listHospitals",
        answer: Response | None = None,
        accepts: str = "gzip",
        stored: Response | None = None,
    ) -> Response:
        given = Response(200, Headers(HEADERS), BODY) if answer is None else answer
        if accepts:
            fields = (*fields, ("accept-encoding", accepts))
        self.last = exchange = self.exchange(method, *fields)

        async def proceed(asked: Exchange) -> Response:
            self.asked.append(asked.request)
            if operation:
                asked.trace.call = Call(CONTRACT.operations[operation], ())
            asked.trace.kept = stored
            return given

        if self.compression.passes(exchange):
            return given
        result = Deferred.fromCoroutine(self.compression.process(exchange, proceed))
        return self.successResultOf(result)

    def is_plain(self, response: Response) -> None:
        self.assertIsNone(response.coded)
        self.assertIsNone(response.headers.get(b"content-encoding"))


class WhichTests(CompressionTestCase):
    def test_the_list_of_hospitals(self) -> None:
        verifyObject(IProcessor, self.compression)
        found = self.answer()
        self.assertEqual(found.headers.get(b"content-encoding"), b"gzip")
        self.assertEqual(gzip.decompress(found.content), BODY)
        self.assertEqual(found.body, BODY, "the record reads it")
        self.assertEqual(self.meter.value("compressed_responses_total", coding="gzip"), 1.0)

    def test_nothing_that_only_some_may_know(self) -> None:
        """What one user writes stands beside what another must not learn: the length would tell whether they agree."""
        secret = {"listPatients", "listNotes", "listStaffs", "getPatient", "getNote", "getStaff", "getMe"}
        self.assertLessEqual(secret, CONTRACT.operations.keys())
        for name in CONTRACT.operations.keys() - {"listHospitals"}:
            found = self.answer(operation=name)
            self.is_plain(found)
            self.assertEqual(found.headers.get(b"vary"), b"Accept", "no other form of it exists")

    def test_what_the_operator_has_risked(self) -> None:
        self.start(further_operations=("listPatients",))
        self.assertIsNotNone(self.answer(operation="listPatients").coded)
        self.assertIsNotNone(self.answer().coded)
        self.is_plain(self.answer(operation="listNotes"))

    def test_the_published_contract(self) -> None:
        page = Response(200, Headers(((b"content-type", b"application/json"),)), BODY)
        self.assertIsNotNone(self.answer(operation="", answer=page, stored=page).coded)
        self.is_plain(self.answer(operation="", answer=page))

    def test_only_successes(self) -> None:
        for status in (201, 206, 404, 500):
            self.is_plain(self.answer(answer=Response(status, Headers(HEADERS), BODY)))

    def test_short_content_is_sent_as_it_is(self) -> None:
        for size, coded in ((1023, False), (1024, True)):
            found = self.answer(answer=Response(200, Headers(HEADERS), BODY[:size]))
            self.assertEqual(found.coded is not None, coded, size)
            self.assertEqual(found.headers.get(b"vary"), b"Accept, Accept-Encoding")

    def test_what_does_not_pay_is_sent_as_it_is_and_not_tried_again(self) -> None:
        noise = b"".join(zlib.crc32(b"%d" % number).to_bytes(4, "big") for number in range(1000))
        stored = Response(200, Headers(HEADERS), noise)
        for _ in range(2):
            found = self.answer(answer=stored, stored=stored)
            self.is_plain(found)
            self.assertEqual(found.headers.get(b"etag"), TAG)
        self.assertEqual(self.made, 1)

    def test_what_the_upstream_has_said_of_the_bytes_stays_true(self) -> None:
        for name, value in (
            (b"Content-Encoding", b"br"),
            (b"Content-Digest", b"sha-256=:x:"),
            (b"Repr-Digest", b"sha-256=:x:"),
            (b"Cache-Control", b"private, No-Transform"),
        ):
            given = Response(200, Headers((*HEADERS, (name, value))), BODY)
            found = self.answer(answer=given)
            self.assertIsNone(found.coded, name)
            self.assertEqual(found.headers.get(name), value)

    def test_other_media_types_are_sent_as_they_are(self) -> None:
        for kind in (b"image/png", b"application/octet-stream", b"application/gzip", b""):
            self.is_plain(self.answer(answer=Response(200, Headers(((b"Content-Type", kind),)), BODY)))
        for kind in (b"text/html", b"application/fhir+json"):
            found = self.answer(answer=Response(200, Headers(((b"Content-Type", kind),)), BODY))
            self.assertIsNotNone(found.coded, kind)

    def test_only_for_clients_that_accept_it(self) -> None:
        for accepts in ("", "br", "gzip;q=0", "identity"):
            found = self.answer(accepts=accepts)
            self.is_plain(found)
            self.assertEqual(found.headers.get(b"vary"), b"Accept, Accept-Encoding")
        self.is_plain(self.answer(("cache-control", "no-transform")))

    def test_the_options_say_which_codings(self) -> None:
        self.is_plain(self.answer(accepts="zstd"))
        self.start(codings=("zstd", "gzip"))
        self.assertEqual(self.answer(accepts="gzip, zstd").headers.get(b"content-encoding"), b"zstd")

    def test_writes_pass(self) -> None:
        self.assertTrue(self.compression.passes(self.exchange("POST", ("accept-encoding", "gzip"))))
        self.assertFalse(self.compression.passes(self.exchange("PATCH", ("if-match", "*"))))


class FieldTests(CompressionTestCase):
    def test_a_strong_tag_belongs_to_the_bytes(self) -> None:
        self.assertEqual(self.answer().headers.get(b"etag"), GZIPPED)
        self.assertEqual(self.answer(accepts="").headers.get(b"etag"), TAG)
        weak = Headers(((b"Content-Type", b"text/html"), (b"ETag", b'W/"x"')))
        self.assertEqual(self.answer(answer=Response(200, weak, BODY)).headers.get(b"etag"), b'W/"x"')

    def test_vary_names_it_once(self) -> None:
        for given, expected in (
            (b"", b"Accept-Encoding"),
            (b"Accept, accept-encoding", b"Accept, accept-encoding"),
            (b"*", b"*"),
        ):
            headers = Headers(((b"Content-Type", b"text/html"), *([(b"Vary", given)] if given else [])))
            self.assertEqual(
                self.answer(answer=Response(200, headers, BODY)).headers.all(b"vary"), [expected]
            )

    def test_to_head_the_same_fields(self) -> None:
        get, head = self.answer(), self.answer(method="HEAD")
        self.assertEqual((head.headers, head.content), (get.headers, get.content))

    def test_a_304_to_a_client_that_has_the_coded_content(self) -> None:
        unchanged = Response(304, Headers(((b"ETag", TAG), (b"Vary", b"Accept"))))
        for sent, told in ((GZIPPED, GZIPPED), (TAG, TAG), (GZIPPED + b', "x", ' + TAG, TAG), (b"*", TAG)):
            found = self.answer(("if-none-match", sent.decode()), answer=unchanged)
            self.assertEqual(found.headers.get(b"etag"), told)
            self.assertEqual(found.headers.get(b"vary"), b"Accept, Accept-Encoding")
            self.assertNotIn(b"-gzip", self.asked[-1].headers.get(b"if-none-match") or b"")

    def test_the_tag_of_a_coding_that_is_not_accepted_now_matches_nothing(self) -> None:
        self.answer(("if-none-match", GZIPPED.decode()), accepts="")
        self.assertEqual(self.asked[-1].headers.get(b"if-none-match"), GZIPPED)

    def test_a_write_may_name_what_was_read_in_a_coding(self) -> None:
        self.answer(("if-match", GZIPPED.decode()), method="PATCH", operation="updateHospital", accepts="")
        self.assertEqual(self.asked[-1].headers.get(b"if-match"), TAG)


class OnceTests(CompressionTestCase):
    """Content is compressed once for each stored response."""

    def setUp(self) -> None:
        super().setUp()
        self.stored = Response(200, Headers(HEADERS), BODY)

    def test_once(self) -> None:
        found = [self.answer(answer=self.stored.having(b"Age", b"1"), stored=self.stored) for _ in range(3)]
        self.assertEqual(self.made, 1)
        self.assertEqual(
            {one.content for one in found}, {gzip.compress(BODY, 6, mtime=0)[:9] + found[0].content[9:]}
        )

    def test_a_stored_response_with_another_body_is_not_its_source(self) -> None:
        other = Response(200, Headers(HEADERS), BODY + b" ")
        self.answer(answer=self.stored, stored=other)
        self.assertEqual(len(self.kept), 0)

    def test_large_content_in_slices_and_once_for_all_who_wait(self) -> None:
        large = Response(200, Headers(HEADERS), BODY * (4 * SLICE_BYTES // len(BODY)))
        waiting = []
        for _ in range(3):
            exchange = self.exchange("GET", ("accept-encoding", "gzip"))

            async def proceed(asked: Exchange) -> Response:
                asked.trace.call, asked.trace.kept = Call(CONTRACT.operations["listHospitals"], ()), large
                return large

            waiting.append(Deferred.fromCoroutine(self.compression.process(exchange, proceed)))
        self.assertFalse(any(each.called for each in waiting))
        self.clock.advance(0)
        self.assertGreaterEqual(self.turns.slices, 4)
        for each in waiting:
            self.assertEqual(gzip.decompress(self.successResultOf(each).content), large.body)
        self.assertEqual(self.made, 1)


class ShortcutTests(CompressionTestCase):
    """The cache's part in an equal request, with the coded content."""

    def setUp(self) -> None:
        super().setUp()
        self.stored: Response | None = Response(200, Headers(HEADERS), BODY)
        self.holds = True
        self.sent = self.hit()

    def hit(self) -> bytes:
        plain = HitAgain(
            holds=lambda _now: self.holds,
            count=lambda _now: True,
            content=lambda now: (int(now), 60 - int(now), BODY),
        )
        exchange = self.exchange("GET", ("accept-encoding", "gzip"))

        async def proceed(asked: Exchange) -> Response:
            asked.trace.call, asked.trace.kept = Call(CONTRACT.operations["listHospitals"], ()), self.stored
            asked.trace.hit = lambda: plain
            assert self.stored is not None
            return self.stored

        response = self.successResultOf(Deferred.fromCoroutine(self.compression.process(exchange, proceed)))
        self.again = exchange.trace.hit
        return response.content

    def repeated(self) -> HitAgain:
        assert self.again is not None
        made = self.again()
        assert made is not None and made.holds is not None
        return made

    def test_the_same_bytes(self) -> None:
        again = self.repeated()
        assert again.holds is not None and again.count is not None
        self.assertTrue(again.holds(3.0) and again.count(3.0))
        self.assertEqual(again.content(3.0), (3, 57, self.sent))
        self.assertEqual(self.meter.value("compressed_responses_total", coding="gzip"), 2.0)

    def test_it_holds_no_longer_than_the_caches_part(self) -> None:
        again = self.repeated()
        self.holds = False
        assert again.holds is not None
        self.assertFalse(again.holds(3.0))

    def test_it_ends_when_the_content_has_made_room(self) -> None:
        again = self.repeated()
        self.kept.reload(0)
        assert again.holds is not None
        self.assertFalse(again.holds(3.0))

    def test_it_keeps_neither_the_stored_response_nor_the_content(self) -> None:
        again = self.repeated()
        self.stored = None
        gc.collect()
        self.assertEqual(self.kept.bytes, 0)
        assert again.holds is not None
        self.assertFalse(again.holds(3.0))

    def test_what_is_not_kept_has_none(self) -> None:
        self.kept.reload(0)
        self.assertEqual(gzip.decompress(self.hit()), BODY)
        self.assertIsNone(self.again)

    def test_other_content_of_the_same_length_is_never_mixed_in(self) -> None:
        again = self.repeated()
        other = evolve(self.stored) if self.stored is not None else None
        assert other is not None
        self.kept.put(other, b"gzip", b"x" * len(self.sent))
        self.assertEqual(again.content(3.0)[2], self.sent)
