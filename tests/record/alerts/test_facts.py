from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.facts import facts_of

from .records import facts, failed_login, record


class FailedLogins(SynchronousTestCase):
    def test_credentials_that_were_refused_by_hosp_or_by_the_proxy(self) -> None:
        for given in (
            failed_login(),
            failed_login(outcome="refused"),
            failed_login(status=429, action="log-in failure"),
        ):
            self.assertTrue(facts(given).failed_login, given)
            self.assertIsNone(facts(given).person)

    def test_no_credentials_are_no_failure(self) -> None:
        nobody = {"id": None, "name": None, "certainty": "none"}
        for action in ("search", "log-in failure"):
            self.assertFalse(facts(record(who=nobody, status=401, action=action)).failed_login)

    def test_a_claim_that_hosp_could_not_judge_is_none(self) -> None:
        self.assertFalse(facts(failed_login(status=502)).failed_login)

    def test_at_the_audit_page(self) -> None:
        look = {"kind": "look", "action": "log-in failure", "client": {"address": "192.0.2.7"}, "who": None}
        self.assertEqual((facts(look).failed_login, facts(look).address), (True, "192.0.2.7"))
        self.assertIsNone(facts_of({**look, "action": "search"}))


class Patients(SynchronousTestCase):
    def test_one_by_the_id_and_many_by_their_set(self) -> None:
        many = {"set": "c0ffee", "count": 500}
        self.assertEqual(facts(record(patient_id="7")).patient, "7")
        self.assertEqual(facts(record(patient_id="7", disclosed=many)).patient, "7")
        self.assertEqual(facts(record(disclosed=many)).patient, "set c0ffee")
        self.assertIsNone(facts(record(disclosed=None)).patient)

    def test_only_what_succeeded(self) -> None:
        for status in (None, 403, 404, 500):
            self.assertIsNone(facts(record(patient_id="7", status=status)).patient)


class OtherRecords(SynchronousTestCase):
    def test_the_proxys_own_and_what_tells_nothing_of_people(self) -> None:
        for kind in ("own", "intent", "finding", "gap", "disclosure", "alert", "begin"):
            self.assertIsNone(facts_of(record(kind=kind, patient_id="7")))

    def test_anothers_name_in_every_mode(self) -> None:
        for hit in ("ownership:assign:staff_id", "ownership:refuse:staff_id"):
            self.assertTrue(facts(record(rule_hits=["schema:x", hit])).anothers_name)
        self.assertFalse(facts(record(rule_hits=["identity:offline-grace"])).anothers_name)
