"""HMACs under a prepared key equal those of the standard library."""

import hmac

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.mac import Mac


class TestMac(SynchronousTestCase):
    @given(key=st.binary(max_size=200), data=st.binary(max_size=300))
    def test_equals_the_librarys(self, key: bytes, data: bytes) -> None:
        self.assertEqual(Mac(key).of(data), hmac.digest(key, data, "sha256"))

    @given(data=st.lists(st.binary(max_size=100), min_size=2, max_size=5))
    def test_one_leaves_nothing_for_the_next(self, data: list[bytes]) -> None:
        mac = Mac(b"key" * 30)
        self.assertEqual([mac.of(each) for each in data], [Mac(b"key" * 30).of(each) for each in data])

    def test_lengths_around_a_block(self) -> None:
        for size in (0, 1, 63, 64, 65, 128):
            key = bytes(range(size))
            self.assertEqual(Mac(key).of(b"text"), hmac.digest(key, b"text", "sha256"), size)

    def test_no_repr_shows_the_key(self) -> None:
        self.assertNotIn("secret", repr(Mac(b"secret")))
