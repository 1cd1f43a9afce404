"""Everything that came from a client or HOSP is sealed."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.encryption import Seal, Unsealable

SEAL = Seal(b"k" * 32, "01234567")


class SealTests(SynchronousTestCase):
    @given(st.binary(max_size=200), st.text(max_size=20))
    def test_what_was_sealed_comes_back_at_its_place(self, plain: bytes, place: str) -> None:
        self.assertEqual(SEAL.open(SEAL.seal(plain, place), place), plain)

    def test_nothing_shows_and_no_two_are_alike(self) -> None:
        one, other = SEAL.seal(b"limping", "a"), SEAL.seal(b"limping", "a")
        self.assertNotIn(b"limping", one)
        self.assertNotEqual(one, other)

    def test_what_is_not_whole_of_this_key_and_of_this_place_is_refused(self) -> None:
        sealed = SEAL.seal(b"limping", "a")
        damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
        for seal, data, place in (
            (SEAL, sealed, "b"),
            (SEAL, damaged, "a"),
            (SEAL, sealed[:15], "a"),
            (SEAL, b"", "a"),
            (Seal(b"x" * 32, "01234567"), sealed, "a"),
            (Seal(b"k" * 32, "76543210"), sealed, "a"),
        ):
            with self.assertRaises(Unsealable):
                seal.open(data, place)

    def test_the_key_is_in_no_repr(self) -> None:
        self.assertNotIn("kkkk", repr(SEAL))
