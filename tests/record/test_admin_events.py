"""Audit records of what operators do to the proxy itself."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from fhir.resources.R4B.auditevent import AuditEvent
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.http.errors import RecordFailed
from hospproxy.keys.signing_key import Signer
from hospproxy.record.admin_events import MOST_WAIT_S, SIGNAL, AdminTrail, Operator, account, admin_record
from hospproxy.record.columns.entries import entry_of
from hospproxy.record.export.fhir import audit_event
from hospproxy.record.search.filters import Filters, parse
from hospproxy.record.search.match import matches
from hospproxy.record.trail import build_journal
from hospproxy.record.trail.build_journal import events_for, keep_apart
from hospproxy.record.trail.record_line import encode_record
from hospproxy.watch.audit_page.views import what, who_name

ANN = Operator("control socket", "ann", 1007)
RELOAD = admin_record("reload", "success", ANN, "reload of the options: retry.base_s", 1.5, ["retry.base_s"])


class RecordTests(SynchronousTestCase):
    def test_it_says_who_what_and_which_keys(self) -> None:
        self.assertEqual(RELOAD["time"], "1970-01-01T00:00:01.500Z")
        self.assertEqual(RELOAD["operator"], {"way": "control socket", "user": "ann", "uid": 1007})
        self.assertEqual((RELOAD["action"], RELOAD["outcome"]), ("reload", "success"))
        self.assertEqual((RELOAD["keys"], RELOAD["pid"]), (["retry.base_s"], os.getpid()))

    def test_an_account_without_a_name(self) -> None:
        with mock.patch("pwd.getpwuid", side_effect=KeyError):
            self.assertEqual(str(account(4242, "control socket")), "4242 (uid 4242), control socket")

    def test_it_is_bounded(self) -> None:
        long = admin_record("reload", "refused", ANN, "x" * 5000, 0.0, ["gate.concurrency"] * 5000)
        self.assertLess(len(encode_record(long)), 3000)

    def test_the_event_for_other_systems(self) -> None:
        codes = {
            "start": ("110100", "110120"),
            "stop": ("110100", "110121"),
            "reload": ("110113", "110129"),
            "undo": ("110113", "110129"),
            "log level": ("110113", "110129"),
            "upgrade": ("110113", "110131"),
            "rollback": ("110113", "110131"),
        }
        for action, (kind, subtype) in codes.items():
            event = audit_event({**RELOAD, "action": action}, "ab" * 32)
            assert event is not None
            AuditEvent.model_validate_json(json.dumps(event))
            self.assertEqual((event["type"]["code"], event["subtype"][0]["code"]), (kind, subtype))
        self.assertEqual(event["agent"][2]["who"]["identifier"]["value"], "ann")
        self.assertEqual([each["requestor"] for each in event["agent"]], [False, False, True])
        refused = audit_event({**RELOAD, "outcome": "refused"}, "ab" * 32)
        assert refused is not None
        self.assertEqual(refused["outcome"], "4")
        alone = audit_event(admin_record("stop", "success", SIGNAL, "stops", 0.0), "ab" * 32)
        assert alone is not None
        AuditEvent.model_validate_json(json.dumps(alone))
        self.assertEqual([each["requestor"] for each in alone["agent"]], [True, False])

    def test_what_the_page_says(self) -> None:
        self.assertEqual((who_name(RELOAD), what(RELOAD)), ("ann (operator)", RELOAD["text"]))
        self.assertEqual(who_name(admin_record("stop", "success", SIGNAL, "stops", 0.0)), "signal (operator)")


class SearchTests(SynchronousTestCase):
    def test_filters_find_it(self) -> None:
        for given in (
            [("kind", "admin")],
            [("action", "reload")],
            [("kind", "admin"), ("outcome", "success")],
            [],
        ):
            self.assertTrue(matches(RELOAD, parse(given), {}), given)
        self.assertFalse(matches(RELOAD, parse([("action", "undo")]), {}))
        self.assertTrue(matches({**RELOAD, "outcome": "refused"}, parse([("trouble", "true")]), {}))

    def test_it_is_nobody_who_looked_at_a_patient(self) -> None:
        """An operator's account may have the name of a member of staff, or of an auditor."""
        for filters in (
            Filters(patient="7"), Filters(staff="ann"), Filters(claimed="ann"), Filters(auditor="ann"),
            Filters(staff="1007"),
        ):  # fmt: skip
            self.assertFalse(matches(RELOAD, filters, {}), filters)

    def test_the_index_has_the_same_values(self) -> None:
        entry, _ = entry_of(encode_record(RELOAD), "w0-1", 1, 0)
        self.assertEqual((entry.kind, entry.action, entry.outcome), ("admin", "reload", "success"))
        self.assertEqual((entry.staff, entry.name, entry.patient, entry.trouble), (None, None, None, None))


class TrailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.noted: list[Mapping[str, Any]] = []
        self.result: Deferred[None] = succeed(None)
        self.trail = AdminTrail(self.append, self.clock, lambda: 0.0)

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:
        self.noted.append(record)
        return self.result

    def note(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.trail.note("reload", "success", ANN, "options"))

    def test_the_change_waits_for_its_record(self) -> None:
        self.result = Deferred()
        noting = self.note()
        self.assertNoResult(noting)
        self.result.callback(None)
        self.successResultOf(noting)
        self.assertEqual(self.noted[0]["text"], "options (ann (uid 1007), control socket)")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_record_that_cannot_be_kept_is_logged(self) -> None:
        for failing in (fail(RecordFailed("the disk is full")), Deferred[None]()):
            self.result = failing
            with mock.patch.object(self.trail._log, "error") as logged:
                noting = self.note()
                self.clock.advance(MOST_WAIT_S)
                self.successResultOf(noting)
            [call] = logged.mock_calls
            self.assertIn("no audit record could be kept", call.args[0])


class ApartTests(SynchronousTestCase):
    """A process that has no journal, or has closed it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=Path(folder.name)
        )
        signer = mock.patch.object(build_journal, "_signer", return_value=Signer.generate())
        signer.start()
        self.addCleanup(signer.stop)

    def kinds(self) -> list[str]:
        lines = [
            json.loads(line)
            for file in sorted(self.settings.audit_path.glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [line["kind"] for line in lines]

    def test_the_file_is_closed_again(self) -> None:
        keep_apart(self.settings, RELOAD)
        self.assertEqual(self.kinds(), ["begin", "admin", "digest"])
        keep_apart(self.settings, RELOAD)
        self.assertEqual(self.kinds(), ["begin", "admin", "digest"] * 2)

    def test_after_the_journal_is_closed(self) -> None:
        class At:
            def __init__(self, _reactor: object, _name: str) -> None: ...

            def run(self, task: Any) -> Deferred[None]:
                task()
                return succeed(None)

        closed = mock.Mock(append=lambda _record: fail(RecordFailed("the audit journal is closed")))
        self.patch(build_journal, "BriefThread", At)
        trail = events_for(self.settings, Clock(), closed)
        self.successResultOf(Deferred.fromCoroutine(trail.note("upgrade", "failed", ANN, "it did not start")))
        self.assertEqual(self.kinds(), ["begin", "admin", "digest"])
