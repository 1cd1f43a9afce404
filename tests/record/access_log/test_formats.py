"""Lines of the access log: others' readers take each apart into the right fields, whatever a client has sent."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.access_log.entry import Entry, UnreadableRecord, entry_of
from hospproxy.record.access_log.formats import balancer_id, maker_of
from hospproxy.report.formats import ALB_FIELDS

from .records import TRAIL, line

ATHENA = re.compile(
    r"([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*):([0-9]*) ([^ ]*)[:-]([0-9]*) ([-.0-9]*) ([-.0-9]*) ([-.0-9]*) (|[-0-9]*)"
    r' (-|[-0-9]*) ([-0-9]*) ([-0-9]*) "([^ ]*) (.*) (- |[^ ]*)" "([^"]*)" ([A-Z0-9-_]+) ([A-Za-z0-9.-]*) ([^ ]*)'
    r' "([^"]*)" "([^"]*)" "([^"]*)" ([-.0-9]*) ([^ ]*) "([^"]*)" "([^"]*)" "([^ ]*)" "([^\s]+?)" "([^\s]+)"'
    r' "([^ ]*)" "([^ ]*)" ?([^ ]*)? ?( .*)?'
)
"""How Athena takes an entry apart, as its manual says."""

COMBINED = re.compile(
    r'(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) (\S+)" (\d{3}|-) (\d+|-) "([^"]*)" "([^"]*)"'
)

HOSTILE = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.text(alphabet='"\\ \n\r\t\x00\x1b\x7f\u2028\u202e,;|{}é😀', max_size=40),
    st.sampled_from(['" 200 "', "\\", '\\"', '"', "a\nb", "https://a:1/ HTTP/1.1", "\udcff"]),
)


def made(format: str, **more: Any) -> bytes:
    ids = bool(more.pop("record_ids", False))
    entry = entry_of(line(**more), record_ids=ids)
    assert entry is not None
    return maker_of(format, "hospproxy", "hosp.internal:3000")(entry, TRAIL)


def alb(**more: Any) -> dict[str, str]:
    """The fields of an entry, as Python's csv reads them."""
    [fields] = csv.reader([made("alb", **more).decode("ascii")], delimiter=" ", strict=True)
    assert len(fields) == len(ALB_FIELDS), fields
    return dict(zip(ALB_FIELDS, fields, strict=True))


class AlbTests(SynchronousTestCase):
    def test_every_field_of_a_request_that_hosp_answered(self) -> None:
        found = alb(http={"query": "hospital_id=*"})
        self.assertEqual(
            found,
            dict.fromkeys(ALB_FIELDS, "-")
            | {
                "type": "https",
                "time": "2026-11-29T05:20:00.135300Z",
                "elb": "app/hospproxy/0123456789abcdef",
                "client:port": "192.0.2.7:0",
                "target:port": "hosp.internal:3000",
                "request_processing_time": "0.0015",
                "target_processing_time": "0.0108",
                "response_processing_time": "0.000",
                "elb_status_code": "200",
                "target_status_code": "200",
                "received_bytes": "0",
                "sent_bytes": "366",
                "request": "GET https://hosp.example:443/patients/{id}?hospital_id=* HTTP/1.1",
                "user_agent": "curl/8.5",
                "trace_id": "4f3c0a",
                "domain_name": "hosp.example",
                "request_creation_time": "2026-11-29T05:20:00.123000Z",
                "actions_executed": "forward",
                "target:port_list": "hosp.internal:3000",
                "target_status_code_list": "200",
            },
        )

    def test_a_hit_of_the_cache_has_no_target(self) -> None:
        found = alb(attempts=0, answered_by="memory", http={"waited_ms": None})
        self.assertEqual((found["target:port"], found["target_status_code"]), ("-", "-"))
        self.assertEqual(
            (found["request_processing_time"], found["target_processing_time"]), ("0.0123", "0.0000")
        )
        self.assertEqual(found["actions_executed"], "fixed-response")

    def test_a_client_that_left_has_460_whatever_became_of_its_request(self) -> None:
        for status in (None, 201):
            self.assertEqual(alb(client_gone=True, status=status)["elb_status_code"], "460")

    def test_a_failure_says_its_reason(self) -> None:
        found = alb(status=503, outcome="hosp is away", answered_by="proxy", attempts=0)
        self.assertEqual((found["elb_status_code"], found["error_reason"]), ("503", "hosp-is-away"))

    def test_a_record_of_before_the_access_log_was_on(self) -> None:
        bare = line()[: line().index(b',"http"')] + b"}"
        entry = entry_of(bare)
        assert entry is not None
        written = maker_of("alb", "hospproxy", "h:1")(entry, TRAIL).decode()
        [fields] = csv.reader([written], delimiter=" ", strict=True)
        self.assertEqual(len(fields), len(ALB_FIELDS))
        self.assertEqual(fields[10:13], ["-1", "-1", "GET https://-:443/patients/{id} -"])

    def test_a_request_that_was_not_understood(self) -> None:
        found = alb(method=None, route="unknown", status=400, answered_by="proxy", attempts=0)
        self.assertEqual(found["request"], "- https://hosp.example:443/unknown -")

    def test_hosts_with_ports_and_of_ipv6(self) -> None:
        for host, shown in (
            ("a:8443", "a:8443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("[::1]:81", "[::1]:81"),
        ):
            self.assertIn(f"GET https://{shown}/", alb(http={"host": host})["request"])
        self.assertEqual(alb(http={"host": "[2001:db8::1]"})["domain_name"], "[2001:db8::1]")

    @given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    def test_hostile_texts_stay_in_their_fields(
        self, agent: Any, host: Any, id: Any, address: Any, query: Any, outcome: Any
    ) -> None:
        more = {"client": {"address": address}, "outcome": outcome or "", "request_id": id, "record_id": id}
        http = {"user_agent": agent, "host": host, "query": query}
        found = alb(**more, http=http, record_ids=True)
        self.assertEqual(found["elb_status_code"], "200")
        self.assertTrue(found["request"].startswith("GET https://"), found)
        self.assertTrue(found["request"].endswith(" HTTP/1.1"), found)
        self.assertEqual(found["request"].count(" "), 2)
        written = made("alb", **more, http=http)
        self.assertNotRegex(written.decode("ascii"), r"[^ -~]")
        athena = ATHENA.fullmatch(written.decode())
        assert athena is not None, written
        self.assertEqual((athena[11], athena[15], athena[17]), ("200", "GET", "HTTP/1.1"))
        self.assertEqual(athena[18], found["user_agent"])
        combined = COMBINED.fullmatch(made("combined", **more, http=http).decode("ascii"))
        assert combined is not None
        self.assertEqual((combined[5], combined[8], combined[9]), ("GET", "200", "366"))


class OtherFormats(SynchronousTestCase):
    def test_combined(self) -> None:
        self.assertEqual(
            made("combined", http={"query": "hospital_id=*"}),
            b'192.0.2.7 - - [29/Nov/2026:05:20:00 +0000] "GET /patients/{id}?hospital_id=* HTTP/1.1" 200 366'
            b' "-" "curl/8.5"',
        )
        self.assertIn(b'" 503 - "-"', made("combined", status=503, http={"sent": None}))

    @given(HOSTILE, HOSTILE)
    def test_json_gives_texts_back(self, agent: Any, host: Any) -> None:
        written = made("json", http={"user_agent": agent, "host": host})
        self.assertNotIn(b"\n", written)
        found = json.loads(written)
        if "\udcff" not in f"{agent}{host}":
            self.assertEqual((found["http"]["user_agent"], found["http"]["host"]), (agent, host))

    def test_json_names_nobody(self) -> None:
        found = json.loads(made("json"))
        self.assertEqual(found["route"], "/patients/{id}")
        self.assertEqual(found["client"], {"address": "192.0.2.7", "scheme": "https"})
        self.assertEqual({"who", "patient_id", "record_id"} & set(found), set())


class PrivacyTests(SynchronousTestCase):
    def test_neither_person_nor_patient_is_in_a_line_unless_asked_for(self) -> None:
        for format in ("alb", "combined", "json"):
            for word in (b"Ana", b"4711", b"Secretname"):
                self.assertNotIn(word, made(format))
            self.assertIn(b"/patients/4711", made(format, record_ids=True))
            self.assertNotIn(b"Ana", made(format, record_ids=True))

    def test_a_created_records_id_has_no_place(self) -> None:
        self.assertIn(b"/notes ", made("alb", route="/notes", record_ids=True))

    def test_the_place_of_an_id_in_the_middle(self) -> None:
        self.assertIn(b"/patients/4711/screen ", made("alb", route="/patients/{id}/screen", record_ids=True))


class EntryTests(SynchronousTestCase):
    def test_only_clients_requests_are_entries(self) -> None:
        for kind in ("own", "intent", "finding", "digest", "look"):
            self.assertIsNone(entry_of(line(kind=kind, reason='"kind":"request"')))
        self.assertIsInstance(entry_of(line()), Entry)

    def test_a_record_that_cannot_be_read(self) -> None:
        for bad in (line(time="yesterday"), line()[:-3], line(status="200"), line(client={"address": 7})):
            with self.assertRaises(UnreadableRecord):
                entry_of(bad)

    def test_a_machines_id(self) -> None:
        self.assertEqual(balancer_id("ABC-1"), "abc1000000000000")
        self.assertEqual(balancer_id(""), "0" * 16)
