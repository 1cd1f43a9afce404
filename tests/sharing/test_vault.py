"""Sealed data opens only at its own place, with any known key, and never if a bit of it has changed."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.encryption import Unsealable
from hospproxy.keys.secrets import MasterKey
from hospproxy.sharing import vault as vaults
from hospproxy.sharing.kinds import Sealing
from hospproxy.sharing.vault import MOST_KEYS, OVERHEAD, KeyNames, Vault
from hospproxy.watch.metrics import Metrics

OLD, NEW, OTHER = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics(strict=True)
        self.clock = Clock()
        self.numbers = itertools.count(1)

    def random(self, size: int) -> bytes:
        return next(self.numbers).to_bytes(size, "big")

    def vault(self, key: MasterKey = OLD, *further: MasterKey) -> Vault:
        return Vault(MasterKey(key.secret, further), self.meter, self.clock.seconds, self.random)

    def refused(self, vault: Vault, sealed: bytes, name: bytes = b"n") -> str:
        with self.assertRaises(Unsealable) as caught:
            vault.open(sealed, name)
        return str(caught.exception)

    def counted(self, reason: str) -> float | None:
        return self.meter.value("redis_values_refused_total", reason=reason)


class VaultTests(Case):
    """Tests of ``Vault``."""

    @settings(deadline=None)
    @given(st.binary(max_size=200), st.binary(max_size=40))
    def test_what_is_sealed_opens(self, plain: bytes, name: bytes) -> None:
        """In the process that sealed it, and in any other process with the same key."""
        vault: Sealing = self.vault()
        sealed = vault.seal(plain, name)
        self.assertEqual(len(sealed), len(plain) + OVERHEAD)
        self.assertEqual(vault.open(sealed, name), plain)
        self.assertEqual(self.vault().open(sealed, name), plain)

    def test_every_bit_counts(self) -> None:
        sealed = self.vault().seal(b"patient", b"n")
        self.vault().open(sealed, b"n")
        for at in range(len(sealed) * 8):
            changed = bytearray(sealed)
            changed[at // 8] ^= 1 << at % 8
            self.refused(self.vault(), bytes(changed))
        for length in range(len(sealed)):
            self.refused(self.vault(), sealed[:length])
        self.refused(self.vault(), sealed + b"\0")

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_no_bytes_do_harm(self, data: bytes) -> None:
        self.refused(self.vault(), data)
        self.refused(self.vault(), bytes([vaults.FORMAT]) + bytes.fromhex(OLD.key_id) + data)

    def test_another_place(self) -> None:
        """A value that was moved to another key does not open."""
        vault = self.vault()
        sealed = vault.seal(b"patient", b"{p}:a:1")
        for name in (b"{p}:a:2", b"", b"{p}:a:1 ", b"\1{p}:a:1"):
            self.assertIn("another place", self.refused(vault, sealed, name))

    def test_what_is_no_bytes(self) -> None:
        """Redis may return anything."""
        for value in (None, 1, [b"x"], "x" * 99):
            self.refused(self.vault(), value)  # type: ignore[arg-type]

    def test_nothing_is_said_in_the_clear(self) -> None:
        self.assertNotIn(b"patient", self.vault().seal(b"patient" * 9, b"n"))

    def test_nonces_never_repeat(self) -> None:
        """Even if the random bytes are the same each time; and two processes never share a key."""
        vault = Vault(OLD, self.meter, self.clock.seconds, lambda size: b"r" * size)
        heads = {vault.seal(b"same", b"n")[:33] for _ in range(1000)}
        self.assertEqual(len(heads), 1000)
        other = self.vault()
        self.assertNotEqual(vault.seal(b"", b"n")[5:21], other.seal(b"", b"n")[5:21])

    def test_chance_is_in_each_nonce(self) -> None:
        """Two copies of one process (a cloned virtual machine) have the same counter."""
        vault = self.vault()
        nonces = [vault.seal(b"", b"n")[21:27] for _ in range(3)]
        self.assertEqual(len(set(nonces)), 3)

    def test_an_unknown_key(self) -> None:
        sealed = self.vault(OTHER).seal(b"patient", b"n")
        self.assertIn("does not have", self.refused(self.vault(OLD, NEW), sealed))
        self.assertEqual(self.counted("unknown_key"), 1)
        self.assertIsNone(self.counted("damaged"))

    def test_rotation(self) -> None:
        """At every step each machine opens what every other machine seals."""
        steps = [
            (self.vault(OLD), self.vault(OLD, NEW)),
            (self.vault(OLD, NEW), self.vault(NEW, OLD)),
            (self.vault(NEW, OLD), self.vault(NEW)),
        ]
        for one, two in steps:
            for sealing, opening in ((one, two), (two, one)):
                self.assertEqual(opening.open(sealing.seal(b"patient", b"n"), b"n"), b"patient")

    def test_keys_of_others_are_bounded(self) -> None:
        """And a forged salt is never stored."""
        self.patch(vaults, "MOST_KEYS", 3)
        vault = self.vault()
        sealed = [self.vault().seal(b"x", b"n") for _ in range(9)]
        for each in (*sealed, *sealed):
            vault.open(each, b"n")
        self.assertEqual(len(vault._ready), 3)
        before = list(vault._ready)
        self.refused(vault, sealed[0][:5] + b"s" * 16 + sealed[0][21:])
        self.assertEqual(list(vault._ready), before)
        self.assertGreater(MOST_KEYS, 64 * 8)  # workers of eight machines

    def test_a_reason_is_said_once_and_counted_each_time(self) -> None:
        said: list[str] = []
        self.patch(vaults._log, "observer", lambda event: said.append(event["words"]))
        vault = self.vault()
        for _ in range(3):
            self.refused(vault, b"nonsense")
        self.refused(vault, self.vault(OTHER).seal(b"", b"n"))
        self.assertEqual(len(said), 2)
        self.assertEqual(self.counted("damaged"), 3)
        self.clock.advance(vaults.SAY_AGAIN_S)
        self.refused(vault, b"nonsense")
        self.assertEqual(len(said), 3)


class NamesTests(Case):
    """Tests of ``KeyNames``."""

    def test_all_share_them(self) -> None:
        """Workers that open the sealed key make the same names; another installation makes other ones."""
        names = KeyNames.new(self.random)
        opened = KeyNames.opened(self.vault(NEW, OLD), names.sealed(self.vault(OLD)))
        self.assertEqual(opened.key("p", "a", b"x"), names.key("p", "a", b"x"))
        self.assertNotEqual(KeyNames.new(self.random).key("p", "a", b"x"), names.key("p", "a", b"x"))

    @settings(deadline=None)
    @given(st.binary(max_size=30), st.binary(max_size=30))
    def test_a_name_hides_what_it_is_of(self, one: bytes, two: bytes) -> None:
        names = KeyNames(b"n" * 32)
        name = names.key("p", "gen", one)
        self.assertRegex(name, rb"\A\{p\}:gen:[0-9a-f]{36}\Z")
        self.assertEqual(name == names.key("p", "gen", two), one == two)
        self.assertNotEqual(names.key("p", "a", one)[-36:], name[-36:])

    def test_plain_names(self) -> None:
        self.assertEqual(KeyNames(b"n" * 32).key("p", "head"), b"{p}:head")

    def test_kind_and_data_are_told_apart(self) -> None:
        names = KeyNames(b"n" * 32)
        self.assertNotEqual(names.key("p", "ab", b"c")[-36:], names.key("p", "a", b"bc")[-36:])

    def test_which_key_has_sealed_them(self) -> None:
        """After a rotation the key must be sealed again."""
        sealed = KeyNames.new(self.random).sealed(self.vault(OLD))
        self.assertTrue(self.vault(OLD, NEW).is_current(sealed))
        self.assertFalse(self.vault(NEW, OLD).is_current(sealed))

    def test_what_is_none(self) -> None:
        for sealed in (
            b"",
            b"x" * 90,
            self.vault().seal(b"short", b"names"),
            self.vault().seal(b"n" * 32, b"n"),
        ):
            with self.assertRaises(Unsealable):
                KeyNames.opened(self.vault(), sealed)

    def test_neither_shows_its_secret(self) -> None:
        self.assertNotIn("nnnn", repr(KeyNames(b"n" * 32)))
