"""Never another's answer, never one for credentials that are revoked: the short form of tests.memory.credentials."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.messages import Headers, Origin, Response

from .credentials import Fuzz, Sent, mark, run


class CredentialsTests(SynchronousTestCase):
    def test_nobodyGetsAnothersAnswer(self) -> None:
        """A failure names its seed: ``python -m tests.memory.credentials --seed …``."""
        for seed in (1, 2, random.randrange(1 << 32)):
            seen = run(seed, 1200)
            for what in ("2xx", "4xx", "from memory", "asked though revoked", "revocations"):
                self.assertTrue(seen[what], f"seed {seed} never had: {what}")


class JudgeTests(SynchronousTestCase):
    """The model sees what it is there for."""

    def setUp(self) -> None:
        self.fuzz = Fuzz(1, self.mktemp())
        self.addCleanup(self.fuzz.life.disk._file.close)

    def broken(self, body: bytes, method: str = "GET", revoked: bool = False, **how: object) -> bool:
        auth = b"Basic x"
        if revoked:
            self.fuzz.hosp.revoked.add(auth)
        sent = Sent(0, auth, "1", method, "/notes", revoked, **how)  # type: ignore[arg-type]
        self.fuzz._judge(Response(200, Headers(), body, Origin.MEMORY), sent)
        found, self.fuzz.broken = bool(self.fuzz.broken), []
        return found

    def test_whatIsWrongIsSeen(self) -> None:
        mine = mark(b"Basic x").encode()
        self.assertFalse(self.broken(b'{"person":"1","made_for":"%b"}' % mine))
        self.assertTrue(self.broken(b'{"person":"2","made_for":"%b"}' % mine))
        self.assertTrue(self.broken(b'{"person":"1","made_for":"other"}'))
        self.assertFalse(self.broken(b'{"person":"1","made_for":"other"}', "POST"))
        self.assertTrue(self.broken(b"{}", revoked=True))

    def test_onlyWhoChoseAPasswordMaySeeWhatItOpens(self) -> None:
        theirs = b'{"person":"2","made_for":"%b"}' % mark(b"Basic new").encode()
        self.assertFalse(self.broken(theirs, "PATCH", revokes=2, chosen=b"Basic new"))
        self.assertTrue(self.broken(theirs, "PATCH", revokes=2, chosen=b"Basic another"))
        self.assertTrue(self.broken(theirs, "PATCH", revokes=3, chosen=b"Basic new"))
