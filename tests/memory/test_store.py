from __future__ import annotations

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.http.messages import Headers, Identity, Response
from hospproxy.interfaces import ICacheStore
from hospproxy.memory.staleness import tags_of_answer
from hospproxy.memory.storable import to_keep
from hospproxy.memory.store import CacheEntry, LruStore, size_of

from .cache_rig import answer, call_of

NO_FIELDS = Headers()
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.sampled_from("abcdef"), st.integers(1, 60), st.sets(st.sampled_from("xyz"))
        ),
        st.tuples(st.just("get"), st.sampled_from("abcdef")),
        st.tuples(st.just("drop"), st.sampled_from("xyz")),
    ),
    max_size=60,
)


class LruStoreTests(SynchronousTestCase):
    def test_is_astore(self) -> None:
        self.assertTrue(verifyObject(ICacheStore, LruStore(1)))

    def test_the_least_recently_used_goes_first(self) -> None:
        store = LruStore(30)
        for key in (b"a", b"b", b"c"):
            store.put(key, key, 10, ())
        store.get(b"a")
        store.put(b"d", b"d", 10, ())
        self.assertEqual([store.get(key) for key in (b"a", b"b", b"c", b"d")], [b"a", None, b"c", b"d"])
        self.assertEqual((store.bytes, len(store), store.evicted), (30, 3, 1))

    def test_what_is_larger_than_the_store_displaces_nothing(self) -> None:
        store = LruStore(30)
        store.put(b"a", 1, 10, ("x",))
        store.put(b"b", 2, 31, ("x",))
        self.assertEqual((store.get(b"a"), store.get(b"b")), (1, None))
        store.put(b"a", 3, 31, ("x",))
        self.assertIsNone(store.get(b"a"), "the older answer must not outlive the newer")
        self.assertEqual((store.bytes, store.drop_tag("x")), (0, 0))

    def test_a_tag_drops_what_carries_it(self) -> None:
        store = LruStore(100)
        store.put(b"a", 1, 10, ("x", "y"))
        store.put(b"b", 2, 10, ("y",))
        store.put(b"c", 3, 10, ())
        self.assertEqual(store.drop_tag("x"), 1)
        self.assertEqual([store.get(key) for key in (b"a", b"b", b"c")], [None, 2, 3])
        self.assertEqual((store.drop_tag("x"), store.drop_tag("y"), store.drop_tag("z")), (0, 1, 0))

    @given(STEPS)
    def test_against_amodel(self, steps) -> None:  # type: ignore[no-untyped-def]
        store, model = LruStore(100), dict[bytes, tuple[int, int, set[str]]]()
        for number, step in enumerate(steps):
            key = step[1].encode()
            if step[0] == "put":
                model.pop(key, None)
                model[key] = (number, step[2], step[3])
                while sum(size for _, size, _ in model.values()) > 100:
                    del model[next(iter(model))]
                store.put(key, number, step[2], tuple(step[3]))
            elif step[0] == "get":
                if key in model:
                    model[key] = model.pop(key)
                self.assertEqual(store.get(key), model[key][0] if key in model else None)
            else:
                hit = [one for one, held in model.items() if step[1] in held[2]]
                for one in hit:
                    del model[one]
                self.assertEqual(store.drop_tag(step[1]), len(hit))
            self.assertEqual(list(store._held), list(model))
            self.assertEqual(store.bytes, sum(size for _, size, _ in model.values()))
            index = {(tag, key) for tag, keys in store._keys_of.items() for key in keys}
            self.assertEqual(index, {(tag, key) for key, held in model.items() for tag in held[2]})
            self.assertNotIn(set(), store._keys_of.values(), "an index that keeps empty sets grows for ever")


class SizeTests(SynchronousTestCase):
    def _fill(self, store: LruStore, number: int) -> None:
        """Store one patient as one user reads it, without sharing any object with other entries."""
        who = Identity(number % 50, "x", number.to_bytes(32, "big"))
        tags = tags_of_answer(call_of("getPatient", str(number)), who)
        response = to_keep(answer(b'{"id":%d}' % number))
        fresh = tuple((bytes(bytearray(name)), bytes(bytearray(value))) for name, value in response.headers)
        entry = CacheEntry(Response(200, Headers(fresh), response.body), 0.5 + number, 60.5 + number)
        entry.response.headers.get(b"etag")  # a hit indexes the fields, and the index stays
        store.put(number.to_bytes(32, "big"), entry, size_of(entry, tags), tags)

    def test_no_less_is_counted_than_is_taken(self) -> None:
        store = LruStore(1 << 30)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(3000):
                self._fill(store, number)
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(len(store), 3000)
        self.assertLessEqual(taken, store.bytes)
        self.assertLess(store.bytes, taken * 2, "so much is counted that half the memory would lie idle")

    def test_every_part_counts(self) -> None:
        def size(body: bytes = b"", headers: Headers = NO_FIELDS, tags: tuple[str, ...] = ()) -> int:
            return size_of(CacheEntry(Response(200, headers, body), 0, 0), tags)

        self.assertEqual(size(b"x" * 1000) - size(), 1000)
        self.assertGreater(size(headers=Headers(((b"n" * 500, b"v" * 500),))) - size(), 1000)
        self.assertGreater(size(tags=("t" * 1000,)) - size(), 1000)
