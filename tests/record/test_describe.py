from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import Resource
from hospproxy.exchange.exchange import Presence
from hospproxy.http.errors import OutcomeUnknown, Refused, Unauthorized
from hospproxy.http.messages import Client, ClientCertificate, Identity, Origin, Request
from hospproxy.record.describe import Describer, gap, timestamp
from hospproxy.record.http_facts import HttpFacts
from hospproxy.record.trail.record_line import encode_record
from tests.stages import arrived

from .exchanges import CREATE_NOTE, LIST_NOTES, READ_NOTE, SCREEN, SECRET, answer, exchange

ANA = Identity(7, "Ana", b"hmac")
DESCRIBER = Describer(b"k" * 32, {"notes": Resource("notes")})


class Request_(SynchronousTestCase):
    def test_the_whole_record(self) -> None:
        done = exchange(
            READ_NOTE, ("3",), identity=ANA, claimed_name="ana", cache_status="hit", attempts=2, looks=1
        )
        done.trace.rule_hits.append("schema: title")
        record = DESCRIBER.request(done, answer(b'{"patient_id":9}', origin=Origin.UPSTREAM), 0.0123)
        self.assertEqual(
            record,
            {
                "v": 1,
                "kind": "request",
                "time": "2023-11-14T22:13:20.250Z",
                "duration_ms": 12.3,
                "request_id": "req-1",
                "who": {"id": 7, "name": "Ana", "certainty": "verified"},
                "own": None,
                "on_behalf_of": None,
                "client": {
                    "address": "192.0.2.7",
                    "peer": "10.0.0.1",
                    "chain": ["10.0.0.9"],
                    "scheme": "https",
                    "certificate": None,
                },
                "method": "GET",
                "route": "/notes/{id}",
                "action": "read",
                "resource": "notes",
                "record_id": "3",
                "patient_id": "9",
                "patient_before": None,
                "disclosed": None,
                "outcome": "success",
                "status": 200,
                "answered_by": "upstream",
                "cache": "hit",
                "attempts": 2,
                "looks": 1,
                "rule_hits": ["schema: title"],
                "break_glass": None,
                "reference": None,
                "client_gone": False,
            },
        )

    def test_a_certificate_is_short(self) -> None:
        one = exchange()
        shown = ClientCertificate("CN=" + "x" * 300, ("y" * 300,) * 60, "ab" * 32)
        client = evolve(one.request.client, certificate=shown)
        one = evolve(one, request=evolve(one.request, client=client))
        said = DESCRIBER.request(one, answer(), 0)["client"]["certificate"]
        self.assertEqual(
            said, {"subject": shown.subject[:200], "names": ["y" * 200] * 50, "sha256": shown.sha256}
        )

    def test_every_field_stands_in_the_docs(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
        page = page.partition("\n## The fields")[2].partition("\n### ")[0]
        documented = set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))
        ours = evolve(DESCRIBER, http=HttpFacts()).request(exchange(claimed_name="x"), answer(), 0)
        names = set(ours) - {"who", "client"} | set(gap(lambda: 0.0)(1, ""))
        names |= {"seq", "prev"}  # the writing thread puts them on
        names |= {f"who.{name}" for name in ours["who"]} | {f"client.{name}" for name in ours["client"]}
        self.assertEqual(documented, names)

    def test_no_secret_of_the_request_is_in_it(self) -> None:
        document = {"patient_id": 9, "body": SECRET, "password": SECRET}
        body = b'{"id":1,"body":"%s"}' % SECRET.encode()
        for one in (
            exchange(),
            exchange(CREATE_NOTE, document=document),
            exchange(LIST_NOTES, query=(("q", SECRET),)),
        ):
            one.trace.claimed_name = SECRET
            for what in (answer(body), ValueError(SECRET), Refused(SECRET), CancelledError(SECRET)):
                for record in (DESCRIBER.request(one, what, 0), DESCRIBER.intent(one, 0)):
                    self.assertNotIn(SECRET.encode(), encode_record(record))

    def test_what_is_not_in_the_contract_has_no_route(self) -> None:
        record = DESCRIBER.request(exchange(), answer(status=404), 0)
        self.assertEqual((record["route"], record["action"], record["record_id"]), ("unknown", None, None))

    def test_a_method_that_is_none_may_be_a_word_of_a_note(self) -> None:
        lost = arrived(Request("Ornithorhynchus", client=Client(peer="192.0.2.1")))
        record = DESCRIBER.request(lost, Refused("no", status=501), 0)
        self.assertEqual(record["method"], "unknown")

    def test_arrival_knows_next_to_nothing_and_it_is_recorded(self) -> None:
        bare = arrived(Request(client=Client(peer="192.0.2.1")))
        record = DESCRIBER.request(bare, Refused("no", status=431), 0)
        self.assertEqual((record["method"], record["status"], record["outcome"]), (None, 431, "refused"))
        encode_record(record)

    def test_whatever_a_client_sends_a_record_stays_small(self) -> None:
        huge = "\x00" * 100_000
        client = Client(huge, huge, (huge,) * 1000, huge, huge, huge)
        large = exchange(
            READ_NOTE, (huge,), identity=Identity(7, huge, b""), cache_status=huge, outcome=huge, own=huge
        )
        large = evolve(large, request=Request(huge, client=client))
        large.trace.rule_hits = [huge] * 1000
        large.trace.reference = large.trace.patient = huge
        self.assertLess(len(encode_record(DESCRIBER.request(large, answer(), 0))), 200_000)


class Who(SynchronousTestCase):
    def who(self, describer: Describer = DESCRIBER, **known: Any) -> Any:
        return describer.request(exchange(**known), answer(), 0)["who"]

    def test_nobody(self) -> None:
        self.assertEqual(self.who(), {"id": None, "name": None, "certainty": "none"})

    def test_a_claimed_name_is_an_hmac(self) -> None:
        who = self.who(claimed_name="Ana")
        self.assertEqual((who["name"], who["certainty"]), (None, "claimed"))
        self.assertRegex(who["name_hmac"], r"^[0-9a-f]{64}$")
        self.assertEqual(who, self.who(claimed_name="Ana"))
        self.assertNotEqual(who, self.who(claimed_name="Bea"))
        self.assertNotEqual(who, self.who(Describer(b"another key"), claimed_name="Ana"))

    def test_a_claimed_name_that_hosp_once_accepted_is_written(self) -> None:
        known = Describer(b"k", accepted=lambda name: name == "Ana")
        self.assertEqual(self.who(known, claimed_name="Ana")["name"], "Ana")
        self.assertIsNone(self.who(known, claimed_name="Bea")["name"])

    def test_a_claimed_name_may_be_any_text(self) -> None:
        self.assertEqual(self.who(claimed_name="\udcff")["certainty"], "claimed")

    def test_the_proxy_asks_on_somebodys_behalf(self) -> None:
        record = DESCRIBER.request(
            exchange(READ_NOTE, ("3",), identity=ANA, own="look", on_behalf_of="req-0"), answer(), 0
        )
        self.assertEqual((record["kind"], record["own"]), ("own", "look"))
        self.assertEqual(record["who"]["certainty"], "proxy")
        self.assertEqual(
            record["on_behalf_of"], {"request_id": "req-0", "id": 7, "name": "Ana", "certainty": "verified"}
        )


class Outcome(SynchronousTestCase):
    def outcome(self, what: Any, **known: Any) -> tuple[Any, Any]:
        record = DESCRIBER.request(exchange(READ_NOTE, ("3",), **known), what, 0)
        return record["outcome"], record["status"]

    def test_by_status_and_by_who_answered(self) -> None:
        for status, origin, outcome in (
            (200, Origin.MEMORY, "success"),
            (201, Origin.UPSTREAM, "success"),
            (304, Origin.MEMORY, "success"),
            (401, Origin.PROXY, "refused"),
            (401, Origin.UPSTREAM, "client error"),
            (404, Origin.MEMORY, "client error"),
            (500, Origin.UPSTREAM, "failed"),
            (503, Origin.PROXY, "failed"),
        ):
            self.assertEqual(self.outcome(answer(status=status, origin=origin)), (outcome, status))

    def test_what_a_processor_knows_better_goes_first(self) -> None:
        self.assertEqual(self.outcome(answer(status=502), outcome="unknown"), ("unknown", 502))

    def test_failures(self) -> None:
        self.assertEqual(self.outcome(Refused("no", status=403)), ("refused", 403))
        self.assertEqual(self.outcome(ValueError("x")), ("error", 500))

    def test_a_client_that_left_got_no_status(self) -> None:
        self.assertEqual(self.outcome(CancelledError(), outcome="success"), ("client gone", None))
        self.assertTrue(DESCRIBER.request(exchange(), CancelledError(), 0)["client_gone"])

    def test_a_write_whose_client_left_has_its_own_outcome(self) -> None:
        record = DESCRIBER.request(exchange(CREATE_NOTE, presence=Presence(gone=True)), answer(status=201), 0)
        self.assertEqual((record["outcome"], record["client_gone"]), ("success", True))

    def test_an_unknown_outcome_is_named(self) -> None:
        record = DESCRIBER.request(exchange(CREATE_NOTE), OutcomeUnknown("?", reference="ref-1"), 0)
        self.assertEqual(
            (record["outcome"], record["reference"], record["status"]), ("unknown", "ref-1", 502)
        )


class FailedLogIns(SynchronousTestCase):
    def action(self, what: Any, operation: Any = READ_NOTE, **known: Any) -> Any:
        return DESCRIBER.request(exchange(operation, ("3",), **known), what, 0)["action"]

    def test_credentials_that_were_refused_by_whomever(self) -> None:
        for what in (
            answer(status=401),
            answer(status=401, origin=Origin.UPSTREAM),
            Unauthorized("malformed"),
        ):
            self.assertEqual(self.action(what), "log-in failure")
            self.assertEqual(self.action(what, CREATE_NOTE), "log-in failure")

    def test_what_was_attempted_stays(self) -> None:
        record = DESCRIBER.request(exchange(CREATE_NOTE), answer(status=401), 0)
        self.assertEqual((record["method"], record["route"], record["resource"]), ("POST", "/notes", "notes"))

    def test_any_other_answer_is_none(self) -> None:
        for what in (answer(), answer(status=403), answer(status=404), answer(status=500), CancelledError()):
            self.assertEqual(self.action(what), "read")
        self.assertEqual(DESCRIBER.intent(exchange(CREATE_NOTE), 0)["action"], "create")

    def test_without_credentials_it_is_no_log_in(self) -> None:
        given = exchange(READ_NOTE, ("3",))
        given = evolve(given, request=Request("GET", client=given.request.client))
        self.assertEqual(DESCRIBER.request(given, Unauthorized("missing"), 0)["action"], "read")

    def test_what_the_proxy_asked_by_itself_is_none(self) -> None:
        self.assertEqual(self.action(answer(status=401), own="identity"), "read")

    def test_a_name_that_was_tried_before_a_restart_is_known_again(self) -> None:
        before, after = (Describer(b"the same key" * 3) for _ in range(2))
        tried = [
            one.request(exchange(claimed_name="Ana"), answer(status=401), 0)["who"] for one in (before, after)
        ]
        self.assertEqual(tried[0], tried[1])
        self.assertIsNone(tried[0]["name"])


class Hostile(SynchronousTestCase):
    """Whatever a name, a path or a header contains, it reaches the journal as one printable line."""

    TEXTS = (
        "\x1b[2J\r\n{}",
        "=1+cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "\u202egnp.exe",
        "a\udcffb",
        "\x00",
        '","who":1',
    )

    def test_it_is_text_and_nothing_else(self) -> None:
        for text in self.TEXTS:
            client = Client(text, text, (text,), text, text, text)
            given = exchange(READ_NOTE, (text,), identity=Identity(7, text, b""), cache_status=text)
            request = Request(text, path=text.encode("utf-8", "replace"), client=client)
            given = evolve(given, request=request)
            given.trace.rule_hits = [text]
            given.trace.reference = given.trace.patient = given.trace.patient_before = given.trace.outcome = (
                text
            )
            line = encode_record(DESCRIBER.request(given, answer(), 0))
            self.assertTrue(line.isascii() and line.decode().isprintable(), line)
            record = msgspec.json.decode(line)
            shown = text.encode("utf-8", "backslashreplace").decode()
            for value in (record["who"]["name"], record["patient_id"], record["client"]["address"]):
                self.assertEqual(value, shown)
            self.assertEqual(set(record), set(DESCRIBER.request(exchange(), answer(), 0)))


class Ids(SynchronousTestCase):
    def test_a_create_has_its_answers_id(self) -> None:
        record = DESCRIBER.request(
            exchange(CREATE_NOTE, document={"patient_id": 9}), answer(b'{"id":5}', 201), 0
        )
        self.assertEqual((record["record_id"], record["patient_id"]), ("5", "9"))

    def test_what_a_processor_found_goes_first(self) -> None:
        done = exchange(READ_NOTE, ("3",), patient="8", record_id="4")
        record = DESCRIBER.request(done, answer(b'{"id":3,"patient_id":9}'), 0)
        self.assertEqual((record["record_id"], record["patient_id"]), ("4", "8"))

    def test_a_screening_names_its_patient(self) -> None:
        record = DESCRIBER.request(exchange(SCREEN, ("7",)), answer(), 0)
        self.assertEqual((record["record_id"], record["patient_id"], record["action"]), ("7", "7", "execute"))


class Others(SynchronousTestCase):
    def test_an_intent_has_no_answer_yet(self) -> None:
        record = DESCRIBER.intent(exchange(CREATE_NOTE, document={"patient_id": 9}, identity=ANA), 0.002)
        self.assertEqual((record["kind"], record["outcome"], record["status"]), ("intent", "intended", None))
        self.assertEqual((record["patient_id"], record["who"]["id"]), ("9", 7))

    def test_a_finding_names_the_first_record(self) -> None:
        record = DESCRIBER.finding(exchange(CREATE_NOTE, reference="old"), "ref-1", "found", 30.0)
        self.assertEqual((record["kind"], record["outcome"], record["status"]), ("finding", "found", None))
        self.assertEqual((record["request_id"], record["reference"]), ("req-1", "ref-1"))

    def test_a_gap(self) -> None:
        self.assertEqual(
            gap(lambda: 0.0)(3, "full"),
            {"v": 1, "kind": "gap", "time": "1970-01-01T00:00:00.000Z", "lost": 3, "reason": "full"},
        )

    def test_times_have_milliseconds_and_say_utc(self) -> None:
        self.assertEqual(timestamp(1_700_000_000), "2023-11-14T22:13:20.000Z")

    def test_a_clock_that_went_backwards_makes_no_negative_duration(self) -> None:
        self.assertEqual(DESCRIBER.request(exchange(), answer(), -1)["duration_ms"], 0)
