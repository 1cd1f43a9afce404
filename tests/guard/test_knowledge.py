"""Knowledge learns the same from a document that is decoded already as from the bytes of the response."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call
from hospproxy.guard.knowledge import Knowledge
from hospproxy.http.messages import Json, Response

CONTRACT = load()
LIST = Call(CONTRACT.operation("listNotes"))

_value = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-3, 3), st.text(max_size=3), st.just("x" * 65),
    st.just([]), st.just({}),
)  # fmt: skip
_row = st.dictionaries(st.sampled_from(["id", "staff_id", "patient_id", "title"]), _value)
_document = st.one_of(_row, _value, st.lists(st.one_of(_row, _row, _value), max_size=4))


def learnt(answer: Json, **how: Any) -> dict[Any, Any]:
    knowledge = Knowledge(CONTRACT, {"notes": frozenset({"staff_id", "patient_id"})}, Clock(), most=3)
    knowledge.saw(LIST, Response(200, body=msgspec.json.encode(answer)), **how)
    return dict(knowledge._known)


class DecodedTests(SynchronousTestCase):
    @given(_document)
    def test_both_ways_are_the_same(self, document: Json) -> None:
        self.assertEqual(learnt(document, document=document), learnt(document))

    def test_no_more_are_kept_than_allowed(self) -> None:
        rows = [{"id": number, "staff_id": 1} for number in range(5)]
        self.assertEqual([key[1] for key in learnt(rows, document=rows)], ["2", "3", "4"])
