from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Response
from hospproxy.process.slices import SliceQueue
from hospproxy.record import disclosures
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.record.disclosures import Disclosure, Disclosures, disclosure_of, ids_in
from hospproxy.record.trail.null_journal import NullJournal
from hospproxy.record.trail.scan import MAX_LINE

from .exchanges import CREATE_NOTE, LIST_NOTES, answer, exchange

NOTES = evolve(LIST_NOTES, discloses="patient_id")
BODY = (
    b'[{"id":1,"patient_id":12},{"id":2,"patient_id":3},{"id":3,"patient_id":12},'
    b'{"id":4,"patient_id":null},{"id":5}]'
)
IDS = st.lists(st.one_of(st.integers(), st.text()), max_size=40)


def made(*ids: int | str, part_bytes: int = 1 << 20) -> Disclosure:
    found = disclosure_of(ids, part_bytes)
    assert found is not None
    return found


def records(disclosure: Disclosure) -> list[Any]:
    return [json.loads(line) for line in disclosure.lines(0.0)]


class Sets(SynchronousTestCase):
    def test_the_record_of_a_set(self) -> None:
        digest = sha256(b'["3","7","12"]').hexdigest()
        self.assertEqual(
            records(made(12, 3, 7, 12)),
            [
                {
                    "v": 1,
                    "kind": "disclosure",
                    "time": "1970-01-01T00:00:00.000Z",
                    "set": digest,
                    "count": 3,
                    "part": 1,
                    "parts": 1,
                    "patients": ["3", "7", "12"],
                }
            ],
        )
        self.assertEqual(made(12, 3, 7).named, {"set": digest, "count": 3})

    def test_nobody_is_no_set(self) -> None:
        self.assertIsNone(disclosure_of([]))
        self.assertIsNone(disclosure_of([""]))

    def test_one_alone_says_no_more_than_its_name(self) -> None:
        self.assertFalse(made(7).says_more_than("7"))
        self.assertTrue(made(7).says_more_than(None))
        self.assertTrue(made(7).says_more_than("8"))
        self.assertTrue(made(7, 8).says_more_than("7"))
        self.assertTrue(made(7, 8).says_more_than(None))

    @given(IDS, st.randoms(use_true_random=False), st.integers(1, 60))
    def test_order_and_repetition_and_parts_make_no_difference(
        self, ids: list[int | str], random: Any, part_bytes: int
    ) -> None:
        other = ids + ids[: len(ids) // 2]
        random.shuffle(other)
        one, two = disclosure_of(ids), disclosure_of(other, part_bytes)
        if one is None or two is None:
            self.assertEqual((one, two), (None, None))
            return
        self.assertEqual(one.named, two.named)
        [whole] = records(one)
        parts = records(two)
        self.assertEqual([member for part in parts for member in part["patients"]], whole["patients"])
        self.assertEqual([part["part"] for part in parts], list(range(1, len(parts) + 1)))
        self.assertEqual({part["parts"] for part in parts}, {len(parts)})
        self.assertEqual(len(set(whole["patients"])), one.count)
        self.assertLessEqual(sum(map(len, two.lines(0.0))), two.size)

    @given(st.sets(st.integers(0, 10**12), min_size=1))
    def test_its_hash_can_be_made_again_by_anybody(self, ids: set[int]) -> None:
        as_text = json.dumps([str(one) for one in sorted(ids)], separators=(",", ":"))
        self.assertEqual(made(*ids).set, sha256(as_text.encode()).hexdigest())

    @given(IDS.filter(lambda ids: any(one != "" for one in ids)))
    def test_whatever_an_id_holds_its_line_is_printable_json(self, ids: list[int | str]) -> None:
        for line in made(*ids).lines(0.0):
            self.assertTrue(line.isascii() and line.decode().isprintable())

    def test_no_line_is_longer_than_readers_take(self) -> None:
        for ids in (range(10**9, 10**9 + 300_000), ["x" * (MAX_LINE + 1)], [10**400, 10**400 + 1]):
            lines = made(*ids).lines(0.0)
            self.assertLess(max(map(len, lines)), MAX_LINE // 4)
        self.assertGreater(len(made(*range(10**9, 10**9 + 300_000)).lines(0.0)), 1)


class Ids(SynchronousTestCase):
    def test_those_of_one_field(self) -> None:
        self.assertEqual(ids_in(BODY, "patient_id"), [12, 3, 12])
        self.assertEqual(ids_in(BODY, "id"), [1, 2, 3, 4, 5])
        self.assertEqual(ids_in(b"[]", "id"), [])

    def test_an_element_of_another_shape_hides_no_other(self) -> None:
        body = b'[{"id":1},7,null,[],{"id":{}},{"id":true},{"id":1.5},{"id":"x"},{"id":2}]'
        self.assertEqual(ids_in(body, "id"), [1, "x", 2])

    def test_what_is_no_list(self) -> None:
        for body in (b"", b"{}", b"<html>", b"[", b'[{"id":1}', b"null", b'[{"id":"\xff"}]', b"[" * 100_000):
            self.assertIsNone(ids_in(body, "id"), body[:20])

    @given(st.binary(max_size=60))
    def test_any_bytes_are_survived(self, body: bytes) -> None:
        for whole in (body, b"[" + body + b"]"):
            ids_in(whole, "id")


class OfAnswers(SynchronousTestCase):
    def of(self, what: object, **known: Any) -> Disclosure | None:
        return Disclosures().of(exchange(NOTES, **known), what)

    def test_a_list(self) -> None:
        found = self.of(answer(BODY))
        assert found is not None
        self.assertEqual(found.named, made(3, 12).named)

    def test_a_304_says_that_it_was_looked_at_again(self) -> None:
        found = self.of(answer(status=304), unchanged=BODY)
        assert found is not None
        self.assertEqual(found.count, 2)
        self.assertIsNone(self.of(answer(status=304)))

    def test_what_discloses_nobody(self) -> None:
        self.assertIsNone(self.of(answer(BODY, status=404)))
        self.assertIsNone(self.of(ProxyError("no")))
        self.assertIsNone(self.of(None))
        self.assertIsNone(self.of(answer(BODY), own="look"))
        self.assertIsNone(Disclosures().of(exchange(LIST_NOTES), answer(BODY)))
        self.assertIsNone(Disclosures().of(exchange(), answer(BODY)))
        got = exchange(NOTES)
        head = evolve(got, request=evolve(got.request, method="HEAD"))
        self.assertIsNone(Disclosures().of(head, answer(BODY)))

    def test_a_list_that_cannot_be_read_is_told_of_each_time(self) -> None:
        disclosures = Disclosures()
        for _ in range(2):
            given = exchange(NOTES)
            self.assertIsNone(disclosures.of(given, answer(b"<html>")))
            self.assertEqual(given.trace.rule_hits, ["disclosure:unreadable"])
        empty = exchange(NOTES)
        self.assertIsNone(disclosures.of(empty, answer(b"[]")))
        self.assertEqual(empty.trace.rule_hits, [])

    def test_an_equal_answer_is_not_read_again(self) -> None:
        disclosures = Disclosures()
        first = disclosures.of(exchange(NOTES), answer(BODY))
        self.assertIs(disclosures.of(exchange(NOTES), answer(bytes(bytearray(BODY)))), first)
        other = disclosures.of(exchange(evolve(NOTES, discloses="id")), answer(BODY))
        assert other is not None
        self.assertEqual(other.count, 5)

    def test_what_is_remembered_is_bounded(self) -> None:
        few = Disclosures(max_sets=2)
        for number in range(5):
            few.of(exchange(NOTES), answer(b'[{"patient_id":%d}]' % number))
        self.assertEqual(len(few), 2)
        small = Disclosures(max_bytes=1000)
        for number in range(50):
            small.of(exchange(NOTES), answer(b'[{"patient_id":%d}]' % number))
            self.assertLessEqual(small.bytes, 1000)
        self.assertGreater(len(small), 1)
        held = len(small)
        found = small.of(exchange(NOTES), answer(b'[{"patient_id":7}]' + b" " * 2000))
        self.assertEqual((found is not None, len(small)), (True, held))

    def test_the_contract_says_which_lists(self) -> None:
        lists = {one.id: one.discloses for one in load().operations.values() if one.discloses}
        self.assertEqual(lists, {"listPatients": "id", "listNotes": "patient_id"})


class Keeping(NullJournal):
    def __init__(self) -> None:
        self.kept: list[tuple[Any, Disclosure | None]] = []

    def append(self, record: Any, disclosure: Disclosure | None = None) -> Any:
        self.kept.append((record, disclosure))
        return super().append(record, disclosure)


class InTheRecord(SynchronousTestCase):
    def recorded(self, given: Exchange, what: Response) -> tuple[Any, Disclosure | None]:
        journal = Keeping()

        async def proceed(_: Exchange) -> Response:
            return what

        audit = Audit(journal, Describer(b"k"), Clock())
        self.successResultOf(Deferred.fromCoroutine(audit.process(given, proceed)))
        [(record, disclosure)] = journal.kept
        return record["disclosed"], disclosure

    def test_the_set_goes_with_the_record_that_names_it(self) -> None:
        named, disclosure = self.recorded(exchange(NOTES), answer(BODY))
        assert disclosure is not None
        self.assertEqual(named, disclosure.named)

    def test_a_large_answer_is_read_in_slices_and_names_the_same(self) -> None:
        body = b"[" + b",".join(b'{"patient_id":%d,"title":"},{"}' % (n % 5000) for n in range(20_000)) + b"]"
        journal, clock = Keeping(), Clock()
        turns = SliceQueue(clock)

        async def proceed(_: Exchange) -> Response:
            return answer(body)

        audit = Audit(journal, Describer(b"k"), clock, turns=turns)
        self.patch(disclosures, "disclosure_of", self.fail)
        done = Deferred.fromCoroutine(audit.process(exchange(NOTES), proceed))
        for _ in range(100):
            clock.advance(0)
        self.successResultOf(done)
        [(record, disclosure)] = journal.kept
        self.assertEqual(record["disclosed"], made(*range(5000)).named)
        self.assertGreater(turns.slices, 10)
        self.assertIsNotNone(disclosure)

    def test_a_large_answer_that_cannot_be_read(self) -> None:
        given, clock = exchange(NOTES), Clock()

        async def proceed(_: Exchange) -> Response:
            return answer(b"[" * 80_000)

        done = Deferred.fromCoroutine(Audit(Keeping(), Describer(b"k"), clock).process(given, proceed))
        clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(given.trace.rule_hits, ["disclosure:unreadable"])

    def test_the_one_patient_that_was_asked_for_is_named_already(self) -> None:
        body = b'[{"patient_id":7},{"patient_id":7}]'
        asked = exchange(NOTES, query=(("patient_id", "7"),))
        self.assertEqual(self.recorded(asked, answer(body)), (None, None))
        asked = exchange(NOTES, query=(("patient_id", "7"),))
        self.assertIsNotNone(self.recorded(asked, answer(BODY))[0])
        self.assertIsNotNone(self.recorded(exchange(NOTES), answer(body))[0])

    def test_other_records_name_none(self) -> None:
        given = exchange(CREATE_NOTE, document={"patient_id": 7})
        self.assertEqual(self.recorded(given, answer(b'{"id":1}', status=201)), (None, None))
