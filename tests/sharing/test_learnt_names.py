"""The names of keys, if Redis also holds keys of others."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.encryption import Unsealable
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.learnt_names import LearntNames

from .small_redis import SmallVault
from .world import Names


class NamingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.said: list[str] = []
        self.naming = LearntNames(SmallVault(), self.made, "p", self.said.append)

    def made(self, _vault: Any, sealed: bytes | None) -> Any:
        if sealed == b"theirs":
            raise Unsealable("sealed with a master key that this machine does not have")
        return Names()

    def test_anothers_are_said_with_what_to_do(self) -> None:
        """Such a worker never owns a slot at HOSP, so it must get no requests."""
        with self.assertRaises(Away):
            self.naming.learn(b"theirs")
        self.assertTrue(self.naming.foreign)
        self.assertIn("master_key_file", self.said[0])
        self.naming.learn(b"ours")  # Redis was emptied
        self.assertFalse(self.naming.foreign)

    def test_who_has_learnt_them_is_no_stranger(self) -> None:
        """Otherwise anyone who can write to Redis could take all machines out of service."""
        self.naming.learn(b"ours")
        with self.assertRaises(Away):
            self.naming.learn(b"theirs")
        self.assertFalse(self.naming.foreign)
