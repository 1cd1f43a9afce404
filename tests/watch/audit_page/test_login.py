from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from hospproxy.guard.credentials import basic, parse_basic
from hospproxy.keys import audit_users as users
from hospproxy.watch.audit_page.login import LoggedIn, LogIn, TooManyLogins, Verdict, WrongLogin
from tests.record.trail.disks import HandWorker

from .page_rig import NAME, PASSWORD, QUICK, PageCase, pseudonym


class LogInTests(PageCase):
    def judge(self, name: str = NAME, password: str = PASSWORD, address: str = "a") -> Deferred[Verdict]:
        credentials = parse_basic(basic(name, password))
        assert credentials is not None
        return Deferred.fromCoroutine(self.login.judge(credentials, address))

    def test_right_and_wrong(self) -> None:
        self.assertEqual(self.successResultOf(self.judge()), LoggedIn(NAME))
        self.assertEqual(self.successResultOf(self.judge(password="b")), WrongLogin(known=True))
        self.assertEqual(self.successResultOf(self.judge("who", "b", "b")), WrongLogin(known=False))

    def test_a_wrong_one_makes_the_next_wait_even_if_it_is_right(self) -> None:
        self.assertEqual(self.successResultOf(self.judge(password="guess")), WrongLogin(known=True))
        for seconds in (0.5, 1.0, 2.0):
            late = self.judge(password="guess")
            self.clock.advance(seconds - 0.01)
            self.assertNoResult(late)
            self.clock.advance(0.01)
            self.assertEqual(self.successResultOf(late), WrongLogin(known=True))
        right = self.judge()
        self.clock.advance(3.99)
        self.assertNoResult(right)
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(right), LoggedIn(NAME))

    def test_what_was_right_is_right_at_once_whoever_else_is_wrong(self) -> None:
        self.successResultOf(self.judge())
        for _ in range(4):
            self.judge(password="guess")
        worked = self.worker.done
        self.assertEqual(self.successResultOf(self.judge()), LoggedIn(NAME))
        self.assertEqual(self.worker.done, worked)

    def test_it_is_forgotten_after_a_while(self) -> None:
        self.successResultOf(self.judge())
        self.clock.advance(301)
        worked = self.worker.done
        self.successResultOf(self.judge())
        self.assertEqual(self.worker.done, worked + 2)  # the file, and the password

    def test_a_user_who_was_removed_is_out_within_seconds(self) -> None:
        self.successResultOf(self.judge())
        users.add(self.file, "other", "x", QUICK)
        users.remove(self.file, NAME)
        self.clock.advance(2.0)
        self.assertEqual(self.successResultOf(self.judge()), WrongLogin(known=False))

    def test_a_new_password_makes_the_old_one_wrong(self) -> None:
        self.successResultOf(self.judge())
        users.add(self.file, NAME, "another", QUICK)
        self.clock.advance(2.0)
        self.assertEqual(self.successResultOf(self.judge()), WrongLogin(known=True))

    def test_without_a_file_nobody_is_right(self) -> None:
        self.successResultOf(self.judge())
        self.file.unlink()
        self.clock.advance(2.0)
        self.assertEqual(self.successResultOf(self.judge()), WrongLogin(known=False))

    def test_too_many_at_once(self) -> None:
        self.successResultOf(self.judge(password="b"))
        waiting = [self.judge(password=f"guess {n}") for n in range(4)]
        self.assertEqual(self.successResultOf(self.judge(password="x")), TooManyLogins(known=True))
        self.clock.advance(30)
        for each in waiting:
            self.assertEqual(self.successResultOf(each), WrongLogin(known=True))

    def test_a_network_of_ipv6_is_one_sender(self) -> None:
        """A client with one address there has 2^64 of them."""
        self.successResultOf(self.judge(password="b", address="2001:db8::1"))
        self.assertNoResult(self.judge("other", "b", address="2001:db8::2"))
        self.assertEqual(
            self.successResultOf(self.judge("somebody", "b", address="2001:db8:0:1::1")), WrongLogin(False)
        )

    def test_a_password_that_is_changed_while_it_is_tried_is_not_remembered(self) -> None:
        worker = HandWorker()
        self.login = LogIn(self.file, worker, self.clock, pseudonym, 300.0)
        wrong = self.judge(password="guess")
        worker.step()  # the file
        worker.step()
        self.assertEqual(self.successResultOf(wrong), WrongLogin(known=True))
        self.clock.advance(1.8)
        old = self.judge()  # must wait for half a second
        users.add(self.file, NAME, "another", QUICK)
        self.clock.advance(0.3)
        self.judge("other", "b", "b")  # lets the page read the file
        self.clock.advance(0.2)
        worker.step()  # the file
        worker.step()
        self.assertEqual(self.successResultOf(old), LoggedIn(NAME))
        self.assertNoResult(self.judge())

    def test_leaving_early_gains_nothing(self) -> None:
        worker = HandWorker()
        self.login = LogIn(self.file, worker, self.clock, pseudonym, 300.0)
        left = self.judge(password="guess")
        worker.step()  # the file
        left.cancel()
        self.failureResultOf(left, CancelledError)
        worker.step()  # the password is hashed all the same
        self.judge(password="another guess")
        self.assertEqual(worker.tasks, [])
        self.clock.advance(0.5)
        self.assertEqual(len(worker.tasks), 1)

    def test_the_first_two_at_a_time_wait_for_the_file(self) -> None:
        worker = HandWorker()
        self.login = LogIn(self.file, worker, self.clock, pseudonym, 300.0)
        one, other = self.judge(), self.judge(address="b")
        worker.step()
        self.assertEqual(len(worker.tasks), 1)
        worker.step()
        self.assertEqual(self.successResultOf(one), LoggedIn(NAME))
        # The same name at the same time: it waits as if the first attempt had failed.
        self.clock.advance(0.5)
        worker.step()
        self.assertEqual(self.successResultOf(other), LoggedIn(NAME))
