"""The rule by which a record matches filters."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.search.filters import Filters
from hospproxy.record.search.match import matches

RECORD: dict[str, Any] = {
    "kind": "request",
    "time": "1970-01-01T00:00:10.500Z",
    "request_id": "r1",
    "who": {"id": 7, "name": "Ada", "certainty": "verified"},
    "own": None,
    "on_behalf_of": None,
    "client": {"address": "192.0.2.7"},
    "route": "/patients/{id}",
    "action": "read",
    "resource": "patients",
    "record_id": "3",
    "patient_id": "3",
    "outcome": "success",
    "status": 200,
    "disclosed": {"set": "h", "count": 2},
}
OWN: dict[str, Any] = {
    **RECORD,
    "kind": "own",
    "request_id": "r2",
    "who": {"id": None, "name": None, "certainty": "proxy"},
    "own": "look",
    "on_behalf_of": {"request_id": "r1", "id": 7, "name": "Ada", "certainty": "verified"},
}


class MatchesTests(SynchronousTestCase):
    """Tests of ``matches``."""

    def fits(self, record: dict[str, Any], **wanted: Any) -> bool:
        return matches(record, Filters(**wanted), {"h": {"3", "4"}})

    def test_each_field(self) -> None:
        """An equal value matches, and another value does not."""
        so = {
            "staff": "7", "patient": "3", "action": "read", "outcome": "success", "route": "/patients/{id}",
            "resource": "patients", "record_id": "3", "request_id": "r1", "address": "192.0.2.7", "kind": "request",
        }  # fmt: skip
        for name, value in so.items():
            self.assertTrue(self.fits(RECORD, **{name: value}), name)
            self.assertFalse(self.fits(RECORD, **{name: value + "x"}), name)
        self.assertTrue(self.fits(RECORD, status=200))
        self.assertFalse(self.fits(RECORD, status=201))
        self.assertTrue(self.fits(RECORD, staff="Ada"))

    def test_who_proved_it_who_claimed_it_and_who_looked_at_the_trail(self) -> None:
        claimed = {**RECORD, "who": {"id": None, "name": "Ada", "certainty": "claimed"}, "status": 401}
        look = {**RECORD, "kind": "look", "who": {"id": None, "name": "Ada", "certainty": "auditor"}}
        guess = {**look, "who": {**look["who"], "certainty": "claimed"}, "action": "log-in failure"}
        of_claimed = {**OWN, "on_behalf_of": {"request_id": "r1", "id": None, "name": "Ada"}}
        for record, whose in (
            (RECORD, "staff"), (OWN, "staff"), (claimed, "claimed"), (look, "auditor"), (guess, "claimed"),
            (of_claimed, "claimed"),
        ):  # fmt: skip
            found = {
                name
                for name in ("staff", "claimed", "auditor")
                if self.fits(record, own=True, **{name: "Ada"})
            }
            self.assertEqual(found, {whose}, record)

    def test_a_claim_and_a_look_have_no_id(self) -> None:
        nobody = {**RECORD, "who": {"id": None, "name": None, "certainty": "claimed"}}
        for name in ("staff", "claimed", "auditor"):
            self.assertFalse(self.fits(nobody, **{name: "7"}), name)
        self.assertFalse(self.fits(RECORD, claimed="7"))

    def test_time(self) -> None:
        """`since` is inclusive, `until` is exclusive."""
        self.assertTrue(self.fits(RECORD, since=10.5, until=10.501))
        self.assertFalse(self.fits(RECORD, until=10.5))
        self.assertFalse(self.fits(RECORD, since=10.501))

    def test_a_patient_among_those_disclosed(self) -> None:
        """A patient in the record's disclosure set matches; an unknown set does not."""
        self.assertTrue(self.fits(RECORD, patient="4"))
        self.assertFalse(self.fits({**RECORD, "disclosed": {"set": "other", "count": 2}}, patient="4"))
        self.assertFalse(self.fits({**RECORD, "disclosed": None}, patient="4"))

    def test_own(self) -> None:
        """The proxy's own requests only for whoever asks for them, or for what they were made for."""
        self.assertFalse(self.fits(OWN))
        self.assertFalse(self.fits(OWN, staff="7"))
        for asked in (
            {"own": True, "staff": "7"},
            {"own": True, "staff": "Ada"},
            {"request_id": "r1"},
            {"kind": "own"},
        ):
            self.assertTrue(self.fits(OWN, **asked), asked)

    def test_hidden(self) -> None:
        """Kinds of the trail's own only by their name."""
        for kind in ("begin", "digest", "disclosure", "intent"):
            self.assertFalse(self.fits({**RECORD, "kind": kind}, own=True), kind)
            self.assertTrue(self.fits({**RECORD, "kind": kind}, kind=kind), kind)

    def test_trouble(self) -> None:
        """Failed log-ins, refusals and alerts are trouble; nothing else is."""
        self.assertFalse(self.fits(RECORD, trouble=True))
        for change in ({"status": 401}, {"outcome": "refused"}, {"kind": "alert"}):
            self.assertTrue(self.fits({**RECORD, **change}, trouble=True), change)

    def test_login_failure(self) -> None:
        """A filter finds it as an action, though the record has the attempted action."""
        failed = {**RECORD, "status": 401}
        self.assertTrue(self.fits(failed, action="log-in failure"))
        self.assertTrue(self.fits(failed, action="read"))
        self.assertFalse(self.fits(RECORD, action="log-in failure"))

    def test_nonsense(self) -> None:
        """A record of any shape is compared, never an error."""
        for record in ({}, {"kind": 1, "time": 2, "who": [], "client": "x", "disclosed": 3, "status": True}):
            self.assertFalse(self.fits(record, staff="7"))
            self.assertFalse(self.fits(record, patient="7", since=1.0))
