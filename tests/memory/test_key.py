from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.messages import Client, Identity
from hospproxy.memory.key import key_of

from .cache_rig import ANN, CONTRACT, call_of

TEXT = st.text(st.characters(), max_size=4)
CALLS = st.builds(
    lambda operation, path, query, accept: Call(operation, tuple(path), tuple(query), accept=accept),
    st.sampled_from([one for one in CONTRACT.operations.values() if one.is_read]),
    st.lists(TEXT, max_size=3),
    st.lists(st.tuples(TEXT, TEXT), max_size=3),
    TEXT,
)
CLIENTS = st.builds(
    lambda scheme, host: Client(scheme=scheme, host=host), st.sampled_from(["http", "https"]), TEXT
)
PEOPLE = st.none() | st.builds(Identity, st.integers(1, 99) | TEXT, TEXT, st.binary(max_size=4))
ASKED = st.tuples(CALLS, CLIENTS, PEOPLE, st.integers(0, 9))


def told_apart(call: Call, client: Client, identity: Identity | None, generation: int) -> object:
    """Return a value that differs for two requests if and only if their keys must differ."""
    who = None if identity is None else (str(identity.id), identity.credentials, generation)
    return call.operation.id, call.path, call.query, call.accept, client.origin, who


class KeyTests(SynchronousTestCase):
    @given(ASKED, ASKED)
    def test_equal_keys_mean_equal_requests(self, one, other) -> None:  # type: ignore[no-untyped-def]
        self.assertEqual(key_of(*one) == key_of(*other), told_apart(*one) == told_apart(*other))

    def test_each_part_counts(self) -> None:
        call, client = call_of("listPatients", hospital_id="1"), Client(host="a.example")
        asked = [
            (call, client, ANN, 1),
            (call, client, ANN, 2),
            (call, client, None, 1),
            (call, client, evolve(ANN, id=2), 1),
            (call, client, evolve(ANN, credentials=b"other"), 1),
            (call, evolve(client, host="b.example"), ANN, 1),
            (call, evolve(client, scheme="http"), ANN, 1),
            (evolve(call, accept="html"), client, ANN, 1),
            (evolve(call, query=()), client, ANN, 1),
            (evolve(call, query=(("hospital_id", ""),)), client, ANN, 1),
            (evolve(call, query=(("hospital_id", "2"),)), client, ANN, 1),
            (call_of("listNotes", hospital_id="1"), client, ANN, 1),
            (call_of("getPatient", "1"), client, ANN, 1),
            (call_of("getPatient", "2"), client, ANN, 1),
        ]
        self.assertEqual(len({key_of(*one) for one in asked}), len(asked))

    def test_parts_do_not_run_together(self) -> None:
        client = Client(host="a.example")
        ab, c = call_of("getPatient", "ab", "c"), call_of("getPatient", "a", "bc")
        self.assertNotEqual(key_of(ab, client, ANN, 1), key_of(c, client, ANN, 1))

    def test_what_makes_no_difference_to_hosp(self) -> None:
        call, client = call_of("getMe"), Client(host="a.example")
        same = [
            (call, client, ANN, 1),
            (call, evolve(client, peer="192.0.2.1", request_id="other"), ANN, 1),
            (call, client, evolve(ANN, id="1"), 1),
            (evolve(call, authorization=b"Basic x"), client, ANN, 1),
        ]
        self.assertEqual(len({key_of(*one) for one in same}), 1)

    def test_nothing_can_be_read_back(self) -> None:
        key = key_of(call_of("getMe"), Client(), ANN, 1)
        self.assertEqual(len(key), 32)
        self.assertNotIn(ANN.credentials, key)
