"""The caller is who HOSP says the credentials belong to, never who the header claims."""

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.identity import IdentityCheck
from hospproxy.http.errors import NotSent
from hospproxy.http.messages import IdentityCertainty
from tests.rig import CONTRACT, STAFF1, STAFF2, Rig


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp

    def status(self, *args: object, **kwargs: object) -> int:
        return self.rig.get(self.rig.send(*args, **kwargs)).status  # type: ignore[arg-type]

    def test_missing_or_malformed_ones_get_hosps_own_401(self) -> None:
        for auth in (None, b"Basic", b"Bearer x", b"Basic !!"):
            answer = self.rig.get(self.rig.send("GET", "/notes", auth=auth))
            self.assertEqual((answer.status, answer.body), (401, b"HTTP Basic: Access denied.\n"))
            self.assertEqual(answer.headers.get(b"www-authenticate"), b'Basic realm="Application"')
        self.assertEqual(self.hosp.calls, [])

    def test_asked_once_and_remembered(self) -> None:
        for _ in range(3):
            self.assertEqual(self.status("GET", "/notes"), 200)
        self.assertEqual(len(self.hosp.seen("getMe")), 1)
        client = [one for one in self.rig.exchanges if not one.own]
        self.assertEqual({one.trace.certainty for one in client}, {IdentityCertainty.VERIFIED})

    def test_equal_questions_at_the_same_time_are_asked_once(self) -> None:
        self.hosp.hold = True
        answers = [self.rig.send("GET", "/notes") for _ in range(4)]
        self.assertEqual(len(self.hosp.seen("getMe")), 1)
        self.hosp.hold = False
        self.hosp.held[0].callback(None)
        self.assertEqual([self.rig.get(answer).status for answer in answers], [200] * 4)

    def test_the_one_who_asked_may_leave_without_taking_the_others_along(self) -> None:
        self.hosp.hold = True
        first, second = self.rig.send("GET", "/notes"), self.rig.send("GET", "/notes")
        first.cancel()
        self.failureResultOf(first)
        self.hosp.hold = False
        self.hosp.held[0].callback(None)
        self.assertEqual(self.rig.get(second).status, 200)

    def test_without_a_lease_nothing_is_answered_here_that_hosp_has_not_judged(self) -> None:
        """Another worker may have revoked them, so a read must go to HOSP with them."""
        certain = True
        rig = Rig()
        check = IdentityCheck(CONTRACT, rig.accounts, rig.ask, b"i" * 32, rig.meter, certain=lambda: certain)
        self.rig = Rig(hosp=rig.hosp, clock=rig.clock, put_in={"guard.identity": check})
        self.hosp = rig.hosp
        self.assertEqual(self.status("GET", "/notes"), 200)
        self.hosp.passwords["staff1"] = "other"
        self.assertEqual(self.status("GET", "/.hospproxy/outcomes/ref-9"), 404)
        certain = False
        self.assertEqual(self.status("GET", "/.hospproxy/outcomes/ref-9"), 401)
        self.hosp.passwords["staff1"] = "password1"
        self.hosp.calls.clear()
        self.assertEqual(self.status("GET", "/notes"), 200)
        self.assertEqual(self.status("GET", "/notes"), 200)
        self.assertLessEqual(len(self.hosp.seen("getMe")), 1)
        before = len(self.hosp.seen("getMe"))
        self.assertEqual(self.status("PATCH", "/notes/1", {"title": "x"}), 404)
        self.assertEqual(len(self.hosp.seen("getMe")), before + 1)

    def test_memory_ends_and_use_renews_it(self) -> None:
        self.status("GET", "/notes")
        self.rig.clock.advance(250)
        self.status("GET", "/notes")
        self.rig.clock.advance(250)
        self.status("GET", "/notes")
        self.assertEqual(len(self.hosp.seen("getMe")), 1)
        self.rig.clock.advance(301)
        self.status("GET", "/notes")
        self.assertEqual(len(self.hosp.seen("getMe")), 2)

    def test_a_public_answer_renews_nothing(self) -> None:
        self.status("GET", "/notes")
        self.rig.clock.advance(250)
        self.status("GET", "/")
        self.rig.clock.advance(60)
        self.status("GET", "/notes")
        self.assertEqual(len(self.hosp.seen("getMe")), 2)

    def test_a_refusal_is_passed_on_and_forgets(self) -> None:
        self.status("GET", "/notes")
        self.hosp.passwords["staff1"] = "other"
        self.assertEqual(self.status("GET", "/notes"), 401)
        self.assertEqual(self.status("GET", "/notes"), 401)
        self.assertEqual(len(self.hosp.seen("listNotes")), 2)

    def test_a_500_of_the_look_up_is_never_a_401(self) -> None:
        self.hosp.read_faults = [500] * 5
        self.assertEqual(self.status("GET", "/notes"), 502)
        self.hosp.read_faults = [NotSent("x")] * 5
        self.assertEqual(self.status("GET", "/notes"), 502)
        self.assertEqual(self.status("GET", "/notes"), 200)

    def test_a_failed_look_up_is_tried_again_in_time(self) -> None:
        self.hosp.read_faults = [500, NotSent("x")]
        self.assertEqual(self.status("GET", "/notes"), 200)

    def test_the_question_itself_is_not_asked_twice(self) -> None:
        self.assertEqual(self.status("GET", "/staffs/me"), 200)
        self.assertEqual(self.status("GET", "/notes"), 200)
        self.assertEqual(len(self.hosp.seen("getMe")), 1)

    def test_the_name_in_the_header_alone_is_nobody(self) -> None:
        self.assertEqual(self.status("GET", "/notes", auth=b"Basic c3RhZmYxOndyb25n"), 401)
        client = next(one for one in self.rig.exchanges if not one.own)
        self.assertEqual(
            (client.trace.certainty, client.trace.claimed_name), (IdentityCertainty.CLAIMED, "staff1")
        )

    def test_every_caller_is_somebody_else(self) -> None:
        self.status("GET", "/notes", auth=STAFF1)
        self.status("GET", "/notes", auth=STAFF2)
        client = [one.trace.identity for one in self.rig.exchanges if not one.own]
        self.assertEqual([one.name for one in client if one], ["staff1", "staff2"])
