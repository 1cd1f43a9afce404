from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.memory.staleness import account_of_write, tags_of_answer, tags_of_write

from .cache_rig import ANN, BEN, CONTRACT, call_of


def strikes(write: Call, read: Call) -> bool:
    return not set(tags_of_write(write)).isdisjoint(tags_of_answer(read, ANN))


class StalenessTests(SynchronousTestCase):
    def assertStrikes(self, write: Call, reads: list[Call], spared: list[Call]) -> None:
        for read in reads:
            self.assertTrue(strikes(write, read), f"{read.operation.id} must be stale")
        for read in spared:
            self.assertFalse(strikes(write, read), f"{read.operation.id} is not touched")

    def test_a_new_record(self) -> None:
        self.assertStrikes(
            call_of("createNote"),
            [call_of("listNotes"), call_of("listNotes", patient_id="3")],
            [call_of("getNote", "7"), call_of("listPatients"), call_of("getMe"), call_of("getStatus")],
        )

    def test_a_changed_record(self) -> None:
        for operation in ("updateNote", "deleteNote"):
            self.assertStrikes(
                call_of(operation, "7"),
                [call_of("listNotes", patient_id="3"), call_of("getNote", "7")],
                [call_of("getNote", "77"), call_of("getNote", "8"), call_of("getPatient", "7")],
            )

    def test_what_the_contract_names_is_stale_altogether(self) -> None:
        self.assertStrikes(
            call_of("deletePatient", "7"),
            [
                call_of("listNotes"),
                call_of("getNote", "1"),
                call_of("getPatient", "7"),
                call_of("listPatients"),
            ],
            [call_of("getPatient", "8"), call_of("getMe"), call_of("listHospitals")],
        )
        self.assertStrikes(
            call_of("deleteHospital", "7"),
            [
                call_of("getMe"),
                call_of("getStaff", "1"),
                call_of("getPatient", "1"),
                call_of("listHospitals"),
            ],
            [call_of("getHospital", "8"), call_of("getStatus")],
        )

    def test_who_am_iis_stale_with_every_member_of_staff(self) -> None:
        self.assertStrikes(call_of("updateStaff", "7"), [call_of("getMe"), call_of("getStaff", "7")], [])

    def test_a_search_below_arecord_is_alist(self) -> None:
        below = evolve(CONTRACT.operation("listNotes"), template="/patients/{id}/notes", parameters=("id",))
        self.assertTrue(strikes(call_of("createNote"), Call(below, ("3",))))

    def test_an_answer_carries_its_asker(self) -> None:
        mine, bens = (tags_of_answer(call_of("listNotes"), who) for who in (ANN, BEN))
        self.assertIn("account:1", mine)
        self.assertEqual(set(mine) & set(bens), {"accounts", "all:notes", "list:notes"})
        self.assertEqual(tags_of_answer(call_of("getStatus"), None), ("public",))

    @given(
        st.sampled_from([one for one in CONTRACT.operations.values() if one.is_write]),
        st.sampled_from([one for one in CONTRACT.operations.values() if one.is_read and one.resource]),
        st.integers(1, 3),
        st.integers(1, 3),
    )
    def test_a_write_strikes_every_read_that_could_show_it(self, write, read, written, seen) -> None:  # type: ignore[no-untyped-def]
        shown = read.resource in write.makes_stale or (
            read.resource == write.resource
            and (not read.parameters or (bool(write.parameters) and written == seen))
        )
        writing = Call(write, (str(written),) if write.parameters else ())
        reading = Call(read, (str(seen),) if read.parameters else ())
        self.assertEqual(strikes(writing, reading), shown)


class AccountOfWriteTests(SynchronousTestCase):
    def test_whose_account(self) -> None:
        for call, expected in (
            (call_of("updateStaff", "7"), ("7",)),
            (call_of("deleteStaff", "7"), ("7",)),
            (call_of("createStaff"), ()),
            (call_of("deleteHospital", "7"), (None,)),
            (call_of("updateHospital", "7"), ()),
            (call_of("createHospital"), ()),
            (call_of("deletePatient", "7"), ()),
        ):
            self.assertEqual(account_of_write(CONTRACT, call), expected, call.operation.id)

    def test_my_own_record_may_be_anybodys(self) -> None:
        mine = evolve(CONTRACT.operation("updateStaff"), template="/staffs/me", parameters=())
        self.assertEqual(account_of_write(CONTRACT, Call(mine)), (None,))

    def test_without_accounts_there_is_nothing_to_change(self) -> None:
        self.assertEqual(account_of_write(evolve(CONTRACT, identity=None), call_of("updateStaff", "7")), ())
