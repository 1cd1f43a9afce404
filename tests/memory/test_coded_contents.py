"""Compressed content beside stored responses: bounded, and gone with them."""

from __future__ import annotations

import gc
import gzip
import zlib
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.content_coding import GZIP, ZSTD
from hospproxy.http.messages import Response
from hospproxy.memory.coded_contents import OVERHEAD, CodedContents
from hospproxy.memory.coders import SLICE_BYTES, coders


class CodedContentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.kept = CodedContents(3 * (OVERHEAD + 100))

    def stored(self, *codings: bytes) -> Response:
        made = Response(200, body=b"plain")
        for coding in codings:
            self.assertTrue(self.kept.put(made, coding, b"c" * 100))
        return made

    def test_it_belongs_to_one_stored_response_and_one_coding(self) -> None:
        one, equal = self.stored(GZIP), Response(200, body=b"plain")
        self.assertEqual(self.kept.get(one, GZIP), b"c" * 100)
        self.assertIsNone(self.kept.get(one, ZSTD))
        self.assertIsNone(self.kept.get(equal, GZIP))

    def test_another_response_at_the_same_address_has_no_part_in_it(self) -> None:
        one, other = self.stored(GZIP), self.stored()
        self.kept._kept[(id(other), GZIP)] = self.kept._kept[(id(one), GZIP)]
        self.assertIsNone(self.kept.get(other, GZIP))

    def test_it_goes_with_the_stored_response(self) -> None:
        one = self.stored(GZIP, ZSTD)
        self.kept.put(one, GZIP, b"again")
        del one
        gc.collect()
        self.assertEqual((len(self.kept), self.kept.bytes), (0, 0))

    def test_the_one_used_longest_ago_makes_room(self) -> None:
        held = [self.stored(GZIP) for _ in range(3)]
        self.kept.get(held[0], GZIP)
        held.append(self.stored(GZIP))
        self.assertEqual([self.kept.get(one, GZIP) is not None for one in held], [True, False, True, True])
        self.assertEqual(self.kept.bytes, 3 * (OVERHEAD + 100))

    def test_what_is_larger_than_the_bound_is_not_kept(self) -> None:
        one = self.stored()
        self.assertFalse(self.kept.put(one, GZIP, b"c" * 5000))
        self.assertEqual((self.kept.get(one, GZIP), self.kept.bytes), (None, 0))

    def test_a_smaller_bound_drops_what_does_not_fit(self) -> None:
        held = [self.stored(GZIP) for _ in range(3)]
        self.kept.reload(OVERHEAD + 100)
        self.assertEqual([self.kept.get(one, GZIP) is not None for one in held], [False, False, True])
        self.kept.reload(0)
        self.assertEqual((len(self.kept), self.kept.bytes), (0, 0))


class Zstd:
    """As much of compression.zstd as is used."""

    def __init__(self, level: int) -> None:
        self._inner = zlib.compressobj(level)

    def compress(self, data: bytes) -> bytes:
        return self._inner.compress(data)

    def flush(self) -> bytes:
        return self._inner.flush()


def whole(work: Generator[None, None, bytes]) -> tuple[bytes, int]:
    slices = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, slices
        slices += 1


class CodersTests(SynchronousTestCase):
    def test_gzip_in_slices_always_gives_the_same_bytes(self) -> None:
        content = b"0123456789abcdef" * (SLICE_BYTES // 8)
        made, slices = whole(coders()[GZIP](content))
        self.assertEqual((gzip.decompress(made), slices), (content, 2))
        self.assertEqual(made[4:8], b"\0\0\0\0", "no time in it")
        self.assertEqual(made, whole(coders()[GZIP](content))[0])

    def test_zstd_comes_from_python_or_from_a_package_if_there_is_one(self) -> None:
        asked: list[str] = []

        def load(there: str) -> Any:
            def found(name: str) -> Any:
                asked.append(name)
                if name != there:
                    raise ImportError(name)
                return SimpleNamespace(ZstdCompressor=Zstd)

            return found

        self.assertNotIn(ZSTD, coders(load("nothing")))
        for there in ("compression.zstd", "backports.zstd"):
            made, _ = whole(coders(load(there))[ZSTD](b"content" * 100))
            self.assertEqual(zlib.decompress(made), b"content" * 100)
        self.assertEqual(asked[:3], ["compression.zstd", "backports.zstd", "compression.zstd"])
