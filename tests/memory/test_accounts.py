from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Identity
from hospproxy.memory.accounts import Accounts

ANN = Identity(1, "ann", b"ann 1")
ANN_ELSEWHERE = evolve(ANN, credentials=b"ann, spelled otherwise")
BEN = Identity("2", "ben", b"ben 1")


class AccountsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.accounts = Accounts(self.clock, 10, 300.0)
        self.told: list[str] = []
        self.accounts.revoked.listen(self.told.append)

    def accept(self, *identities: Identity) -> None:
        for identity in identities:
            self.accounts.remember(identity, self.accounts.ticket())

    def known(self, *identities: Identity) -> list[bool]:
        return [self.accounts.recall(one.credentials) == one for one in identities]

    def test_it_is_remembered_for_awhile(self) -> None:
        self.assertEqual(self.known(ANN), [False])
        self.accept(ANN)
        self.clock.advance(299.9)
        self.assertEqual(self.known(ANN, BEN), [True, False])
        self.clock.advance(0.1)
        self.assertEqual(self.known(ANN), [False])
        self.assertEqual(len(self.accounts), 0)

    def test_each_acceptance_renews_it(self) -> None:
        self.accept(ANN)
        self.clock.advance(200)
        self.accept(ANN)
        self.clock.advance(200)
        self.assertEqual(self.known(ANN), [True])

    def test_renewed_at_most_once_a_second(self) -> None:
        self.accept(ANN, BEN)
        self.clock.advance(0.9)
        self.accept(ANN)
        self.clock.advance(0.2)
        self.accept(BEN)
        self.clock.advance(298.95)
        self.assertEqual(self.known(ANN, BEN), [False, True])

    def test_a_short_memory_is_renewed_in_time(self) -> None:
        accounts = Accounts(self.clock, 10, 0.5)
        for _ in range(10):
            accounts.remember(ANN, accounts.ticket())
            self.clock.advance(0.2)
            self.assertIsNotNone(accounts.recall(ANN.credentials))

    def test_a_renewed_one_goes_last(self) -> None:
        crowd = [Identity(number, "x", b"%d" % number) for number in range(10)]
        self.accept(*crowd, crowd[0], ANN_ELSEWHERE)
        self.assertEqual(self.known(crowd[0], crowd[1]), [True, False])

    def test_the_least_recently_used_goes_first(self) -> None:
        crowd = [Identity(number, "x", b"%d" % number) for number in range(10)]
        self.accept(*crowd)
        self.assertEqual(self.known(crowd[0]), [True])
        self.accept(ANN_ELSEWHERE)
        self.assertEqual(len(self.accounts), 10)
        self.assertEqual(self.known(crowd[0], crowd[1], ANN_ELSEWHERE), [True, False, True])

    def test_a_change_forgets_every_credential_of_that_account_and_no_other(self) -> None:
        self.accept(ANN, ANN_ELSEWHERE, BEN)
        before = self.accounts.generation(ANN), self.accounts.generation(BEN)
        self.accounts.changing("1")
        self.assertEqual(self.known(ANN, ANN_ELSEWHERE, BEN), [False, False, True])
        during = self.accounts.generation(ANN)
        self.accounts.changed("1")
        self.assertLess(before[0], during)
        self.assertLess(during, self.accounts.generation(ANN))
        self.assertEqual(before[1], self.accounts.generation(BEN))
        self.assertEqual(self.told, ["account:1"] * 2)

    def test_ids_compare_as_strings(self) -> None:
        self.accept(BEN)
        self.accounts.changing("2")
        self.accept(evolve(BEN, id=2))
        self.assertEqual(self.known(evolve(BEN, id=2)), [False])

    def test_every_account_may_change(self) -> None:
        self.accept(ANN, BEN)
        before = self.accounts.generation(BEN)
        self.accounts.changing(None)
        self.accept(BEN)
        self.assertEqual(self.known(ANN, BEN), [False, False])
        self.accounts.changed(None)
        self.assertLess(before, self.accounts.generation(BEN))
        self.assertEqual(self.told, ["accounts"] * 2)
        self.accept(BEN)
        self.assertEqual(self.known(BEN), [True])

    def test_what_was_asked_before_achange_is_not_remembered(self) -> None:
        ticket = self.accounts.ticket()
        self.accounts.changing("1")
        self.accounts.changed("1")
        self.accounts.remember(ANN, ticket)
        self.accounts.remember(BEN, ticket)
        self.assertEqual(self.known(ANN, BEN), [False, True])

    def test_what_was_asked_before_arefusal_is_not_remembered(self) -> None:
        self.accept(ANN, ANN_ELSEWHERE)
        ticket = self.accounts.ticket()
        self.accounts.forget(ANN.credentials)
        self.assertEqual(self.told, ["credentials:" + ANN.credentials.hex()])
        self.accounts.remember(ANN, ticket)
        self.assertEqual(self.known(ANN, ANN_ELSEWHERE), [False, True])
        self.accept(ANN)
        self.assertEqual(self.known(ANN), [True])

    def test_several_writes_may_be_open(self) -> None:
        self.accounts.changing("1")
        self.accounts.changing("1")
        self.accounts.changed("1")
        self.accept(ANN)
        self.assertFalse(self.accounts.settled(ANN))
        self.assertEqual(self.known(ANN), [False])
        self.accounts.changed("1")
        self.assertTrue(self.accounts.settled(ANN))

    def test_an_unknown_outcome_stays_open_until_it_is_found(self) -> None:
        self.accounts.changing("1")
        self.accounts.left_open("1")
        self.clock.advance(1e6)
        self.accept(ANN)
        self.assertEqual((self.accounts.settled(ANN), self.known(ANN)), (False, [False]))
        before = self.accounts.generation(ANN)
        self.accounts.found("1")
        self.assertLess(before, self.accounts.generation(ANN))
        self.assertTrue(self.accounts.settled(ANN))

    def test_a_finding_ends_no_other_write(self) -> None:
        self.accounts.changing("1")
        self.accounts.found("1")
        self.assertFalse(self.accounts.settled(ANN))

    def test_with_nobody_who_looks_it_stays_open_for_its_time(self) -> None:
        self.accounts.changing("1")
        self.accounts.left_open("1", 25.0)
        self.clock.advance(24.9)
        ticket = self.accounts.ticket()
        self.assertFalse(self.accounts.settled(ANN))
        self.clock.advance(0.1)
        self.assertTrue(self.accounts.settled(ANN))
        self.accounts.remember(ANN, ticket)
        self.assertEqual(self.known(ANN), [False], "HOSP may have answered before it carried the write out")
        self.accept(ANN)
        self.assertEqual(self.known(ANN), [True])

    def test_the_longer_time_counts(self) -> None:
        for for_s in (25.0, 5.0):
            self.accounts.changing("1")
            self.accounts.left_open("1", for_s)
        self.clock.advance(10)
        self.assertFalse(self.accounts.settled(ANN))

    def test_too_many_open_ones_count_for_everybody(self) -> None:
        crowd = Identity(99, "x", b"x")
        for number in range(11):
            self.accounts.changing(str(number))
            self.accounts.left_open(str(number), 25.0)
        self.assertFalse(self.accounts.settled(crowd))
        self.assertFalse(self.accounts.settled(evolve(crowd, id=0)))
        self.clock.advance(25)
        self.assertTrue(self.accounts.settled(crowd))
        self.assertEqual((self.accounts._late, self.accounts._all_late), ({}, None))

    def test_every_map_is_bounded(self) -> None:
        accounts = Accounts(self.clock, 10, 300.0)
        for number in range(200):
            accounts.remember(Identity(number, "x", b"%d" % number), accounts.ticket())
            accounts.forget(b"guess %d" % number)
            accounts.changing(str(number % 50))
            accounts.left_open(str(number % 50), None if number % 2 else 25.0)
        for held in (
            accounts._accepted, accounts._credentials_of, accounts._changes, accounts._refusals,
            accounts._writing, accounts._unknown, accounts._late,
        ):  # fmt: skip
            self.assertLessEqual(len(held), 10)

    def test_the_index_keeps_nothing_of_the_forgotten(self) -> None:
        self.accept(ANN, ANN_ELSEWHERE, BEN, evolve(ANN, id=3))
        self.assertEqual(self.accounts._credentials_of.keys(), {"1", "2", "3"})
        for identity in (ANN, ANN_ELSEWHERE, BEN):
            self.accounts.forget(identity.credentials)
        self.assertEqual(self.accounts._credentials_of, {})

    def test_credentials_that_name_another_account_now_follow_it(self) -> None:
        """An account that was deleted and created again with the same name and password is another account."""
        self.accept(ANN)
        again = evolve(ANN, id=7)
        self.accept(again)
        self.assertEqual(self.known(again), [True])
        self.accounts.changing("1")
        self.assertEqual(self.known(again), [True])
        self.accounts.changing("7")
        self.assertEqual(self.known(again), [False])
