"""Never another user's response, never one for revoked credentials: the short form of tests.memory.credentials."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Origin, Response

from .credentials import Fuzz, Sent, mark, run


class CredentialsTests(SynchronousTestCase):
    def test_nobody_gets_anothers_answer(self) -> None:
        """A failure names its seed: ``python -m tests.memory.credentials --seed …``."""
        for seed in (1, 2, random.randrange(1 << 32)):
            seen = run(seed, 1200)
            for what in ("2xx", "4xx", "from memory", "asked though revoked", "revocations"):
                self.assertTrue(seen[what], f"seed {seed} never had: {what}")


class JudgeTests(SynchronousTestCase):
    """The model detects the violations that it is made for."""

    def setUp(self) -> None:
        self.fuzz = Fuzz(1, self.mktemp())
        self.addCleanup(lambda: self.fuzz.life.kill())

    def broken(self, body: bytes, method: str = "GET", revoked: bool = False, **how: object) -> bool:
        auth = b"Basic x"
        if revoked:
            self.fuzz.hosp.revoked.add(auth)
        target = how.pop("target", "/notes")
        sent = Sent(0, auth, "1", method, target, revoked, **how)  # type: ignore[arg-type]
        self.fuzz._judge(Response(200, Headers(), body, Origin.MEMORY), sent)
        found, self.fuzz.broken = bool(self.fuzz.broken), []
        return found

    def test_what_is_wrong_is_seen(self) -> None:
        mine = mark(b"Basic x").encode()
        self.assertFalse(self.broken(b'{"person":"1","made_for":"%b"}' % mine))
        self.assertTrue(self.broken(b'{"person":"2","made_for":"%b"}' % mine))
        self.assertTrue(self.broken(b'{"person":"1","made_for":"other"}'))
        self.assertFalse(self.broken(b'{"person":"1","made_for":"other"}', "POST"))
        self.assertTrue(self.broken(b"{}", revoked=True))

    def test_only_who_chose_apassword_may_see_what_it_opens(self) -> None:
        theirs = b'{"person":"2","made_for":"%b"}' % mark(b"Basic new").encode()
        self.assertFalse(self.broken(theirs, "PATCH", revokes=2, chosen=b"Basic new"))
        self.assertTrue(self.broken(theirs, "PATCH", revokes=2, chosen=b"Basic another"))
        self.assertTrue(self.broken(theirs, "PATCH", revokes=3, chosen=b"Basic new"))

    def test_what_achange_told_stays_with_who_made_it(self) -> None:
        theirs = b'{"person":"2","made_for":"%b"}' % mark(b"Basic new").encode()
        self.assertTrue(self.broken(theirs, target="/staffs/2"))
        self.broken(theirs, "PATCH", revokes=2, chosen=b"Basic new")
        self.assertFalse(self.broken(theirs, target="/staffs/2"))
        self.assertTrue(self.broken(theirs))

    def test_what_is_stored_twice_is_seen(self) -> None:
        self.fuzz.hosp.stored["x None"] = 1
        self.fuzz._count()
        self.assertEqual(self.fuzz.broken, [])
        self.assertFalse(self.broken(b"{}", "POST", note="x None"))
        self.assertTrue(self.broken(b"{}", "POST", note="y None"))
        self.fuzz.hosp.stored["x None"] = 2
        self.fuzz._count()
        self.assertEqual(len(self.fuzz.broken), 1)
        self.fuzz.life.rig.findings.append(("ref-1", "carried out twice: 1, 2"))
        self.fuzz._count()
        self.assertEqual(len(self.fuzz.broken), 3)

    def test_hosp_stores_nothing_later_than_it_promises(self) -> None:
        """Each timer fires at its own moment, however much time passes."""
        begin, seen = self.fuzz.clock.seconds(), []
        for after in (10.0, 20.0):
            self.fuzz.clock.callLater(after, lambda: seen.append(self.fuzz.clock.seconds() - begin))
        self.fuzz._pass(1000.0)
        self.assertEqual([round(moment, 6) for moment in seen], [10.0, 20.0])
        self.assertEqual(round(self.fuzz.clock.seconds() - begin, 6), 1000.0)

    def test_who_is_known_and_what_is_written_are_of_one_mind(self) -> None:
        """After a change of a password the check of identities forgets the old one."""
        rig = self.fuzz.life.rig
        self.assertEqual(rig.get(rig.send("GET", "/hospitals")).status, 200)
        answer = rig.get(rig.send("PATCH", "/staffs/1", {"password": "other"}))
        self.assertEqual(answer.status, 200)
        rig.hosp.faults.append(("before", 500))
        self.assertEqual(rig.get(rig.send("POST", "/notes", {"title": "t", "patient_id": 7})).status, 401)
