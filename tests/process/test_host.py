from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.host import Host


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.drawn: list[bytes] = []
        self.host = Host(entropy=self.entropy)

    def entropy(self, size: int) -> bytes:
        self.drawn.append(os.urandom(size))
        return self.drawn[-1]

    def test_each_has_its_own_bytes_and_many_are_drawn_at_one_time(self) -> None:
        token = self.host.tokens(16)
        self.assertEqual(self.drawn, [])  # not before the first is needed: a daemon forks after it was built
        made = [token() for _ in range(200)]
        self.assertEqual({len(bytes.fromhex(each)) for each in made}, {16})
        self.assertEqual(len(set(made)), 200)
        self.assertLess(len(self.drawn), 5)
        everything = b"".join(self.drawn)
        self.assertTrue(all(bytes.fromhex(each) in everything for each in made))
