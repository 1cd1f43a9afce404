from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Origin
from hospproxy.interfaces import IProcessor

from .cache_rig import ANN, BEN, JSON, CacheRig, answer, call_of

NO_CACHE = (b"Cache-Control", b"no-cache")


class HitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_is_aprocessor(self) -> None:
        self.assertTrue(verifyObject(IProcessor, self.rig.cache))

    def test_the_second_read_is_answered_from_memory(self) -> None:
        self.rig.warm("listHospitals", answer(b"[1]"))
        self.rig.clock.advance(7)
        second = self.rig.send("listHospitals")
        self.assertEqual(len(self.rig.hosp), 1)
        self.assertEqual(second.response.body, b"[1]")
        self.assertIs(second.response.origin, Origin.MEMORY)
        self.assertEqual(second.response.headers.get(b"age"), b"7")
        self.assertEqual(second.status, b"hospproxy; hit; ttl=293")
        self.assertEqual(second.exchange.trace.cache_status, "hit")

    def test_the_first_says_that_it_was_stored(self) -> None:
        first = self.rig.warm("listHospitals")
        self.assertEqual(first.status, b"hospproxy; fwd=uri-miss; fwd-status=200; stored; ttl=300")
        self.assertEqual(first.exchange.trace.cache_status, "miss")
        self.assertIs(first.response.origin, Origin.UPSTREAM)
        self.assertIsNone(first.response.headers.get(b"age"))
        self.assertEqual(first.exchange.trace.attempts, 1)

    def test_devices_are_told_to_keep_nothing(self) -> None:
        expiring = (b"Expires", b"Thu, 01 Dec 2033 16:00:00 GMT")
        for reading in (
            self.rig.warm("listHospitals", answer(b"[]", expiring)),
            self.rig.send("listHospitals"),
            self.rig.warm("getStatus", answer(b"ok", headers=((b"Content-Type", b"text/html"),))),
            self.rig.warm(call_of("createNote", document={}), answer(status=201)),
            self.rig.warm(call_of("screenPatient", "1", document={})),
            self.rig.warm("listStaffs", answer(b"{}", status=500)),
        ):
            self.assertEqual(reading.response.headers.all(b"cache-control"), [b"private, no-store"])
            self.assertIsNone(reading.response.headers.get(b"expires"))

    def test_what_belongs_to_one_exchange_is_not_repeated(self) -> None:
        first = self.rig.warm("listHospitals")
        second = self.rig.send("listHospitals")
        self.assertEqual(first.response.headers.get(b"x-request-id"), b"of-the-first")
        self.assertIsNone(second.response.headers.get(b"x-request-id"))
        self.assertEqual(second.response.headers.get(b"etag"), b'W/"abc"')

    def test_lifetimes_are_the_contracts(self) -> None:
        for call, lifetime_s in (
            (call_of("listHospitals"), 300),
            (call_of("getHospital", "1"), 300),
            (call_of("listNotes", patient_id="1"), 60),
            (call_of("getMe"), 60),
        ):
            self.rig.warm(call)
            self.rig.clock.advance(lifetime_s - 0.001)
            self.assertEqual(self.rig.send(call).exchange.trace.cache_status, "hit", call.operation.id)
            self.rig.clock.advance(0.001)
            again = self.rig.warm(call)
            self.assertEqual(again.exchange.trace.cache_status, "expired", call.operation.id)
            self.assertIn(b"fwd=stale", again.status)

    def test_an_operator_may_change_alifetime(self) -> None:
        rig = CacheRig(lifetimes={"listHospitals": 10.0, "listNotes": 0.0})
        self.assertIn(b"ttl=10", rig.warm("listHospitals").status)
        self.assertIn(b"fwd=bypass", rig.warm("listNotes").status)
        self.assertEqual(len(rig.store), 1)

    def test_the_time_runs_from_the_answer_and_the_age_from_the_question(self) -> None:
        """HOSP takes up to 20 s. If the lifetime ran from the request, `GET /` (5 s) would never be cached."""
        reading = self.rig.send("getStatus", who=None)
        self.rig.clock.advance(20)
        self.rig.reply(answer(b"ok", headers=((b"Content-Type", b"text/html"),)))
        self.assertIn(b"stored; ttl=5", reading.status)
        self.rig.clock.advance(4)
        hit = self.rig.send("getStatus", who=None)
        self.assertEqual(hit.status, b"hospproxy; hit; ttl=1")
        self.assertEqual(hit.response.headers.get(b"age"), b"24")

    def test_the_age_that_an_answer_came_with_counts(self) -> None:
        self.rig.warm("listHospitals", answer(b"[]", (b"Age", b"100")))
        self.rig.clock.advance(10)
        hit = self.rig.send("listHospitals")
        self.assertEqual(hit.response.headers.all(b"age"), [b"110"])
        self.assertEqual(hit.status, b"hospproxy; hit; ttl=190")

    def test_what_is_too_old_when_it_comes_is_not_kept(self) -> None:
        first = self.rig.warm("listHospitals", answer(b"[]", (b"Age", b"300")))
        self.assertTrue(first.status.endswith(b"; detail=too-old"))
        self.assertEqual(len(self.rig.store), 0)

    def test_other_caches_status_goes_before_ours(self) -> None:
        first = self.rig.warm("listHospitals", answer(b"[]", (b"Cache-Status", b"inner; hit")))
        self.assertTrue(first.status.startswith(b"inner; hit, hospproxy; fwd=uri-miss"))
        self.assertTrue(self.rig.send("listHospitals").status.startswith(b"hospproxy; hit"))

    def test_hosps_no_cache_is_honoured(self) -> None:
        first = self.rig.warm("listHospitals", answer(b"[]", headers=(JSON, (b"Cache-Control", b"no-cache"))))
        self.assertEqual(first.status, b"hospproxy; fwd=uri-miss; fwd-status=200; detail=no-cache")
        self.rig.warm("listHospitals")

    def test_the_gauges_show_the_store(self) -> None:
        self.rig.warm("listHospitals")
        self.assertEqual(self.rig.meter.gauges["cache_entries"](), 1)
        self.assertEqual(self.rig.meter.gauges["cache_bytes"](), self.rig.store.bytes)
        self.rig.send("listHospitals")
        self.assertEqual(self.rig.meter.counts["cache_events_total:hit"], 1)


class PrivacyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_nobody_is_served_anothers_answer(self) -> None:
        self.rig.warm("listHospitals", answer(b'["for ann"]'))
        ben = self.rig.warm("listHospitals", answer(b'["for ben"]'), who=BEN)
        self.assertEqual(ben.response.body, b'["for ben"]')
        self.assertEqual(self.rig.send("listHospitals").response.body, b'["for ann"]')

    def test_without_knowing_who_asks_nothing_is_read_or_kept(self) -> None:
        self.rig.warm("listHospitals")
        unknown = self.rig.warm("listHospitals", who=None)
        self.assertEqual(unknown.exchange.trace.cache_status, "bypass")
        self.assertEqual(len(self.rig.store), 1)

    def test_what_is_public_is_for_everybody(self) -> None:
        self.rig.warm("getStatus", answer(b"ok", headers=((b"Content-Type", b"text/html"),)), who=None)
        for who in (None, ANN, BEN):
            self.assertEqual(self.rig.send("getStatus", who=who).exchange.trace.cache_status, "hit")

    def test_hosts_are_kept_apart(self) -> None:
        self.rig.warm("listHospitals", host="a.example")
        self.assertEqual(self.rig.warm("listHospitals", host="b.example").exchange.trace.cache_status, "miss")

    def test_equal_requests_of_two_people_are_two_fetches(self) -> None:
        ann, ben = self.rig.send("listHospitals"), self.rig.send("listHospitals", who=BEN)
        self.rig.reply(answer(b'["for ann"]'), 0)
        self.rig.reply(answer(b'["for ben"]'), 1)
        self.assertEqual([ann.response.body, ben.response.body], [b'["for ann"]', b'["for ben"]'])

    def test_a_refusal_puts_what_was_answered_before_out_of_reach(self) -> None:
        self.rig.warm("listHospitals")
        refused = self.rig.warm("listNotes", answer(b"denied", status=401, headers=()))
        self.assertEqual(refused.response.status, 401)
        self.assertEqual(self.rig.warm("listHospitals").exchange.trace.cache_status, "miss")


class NotKeptTests(SynchronousTestCase):
    def assertNotKept(self, response: object, detail: bytes, call: str = "listHospitals") -> None:
        rig = CacheRig()
        first = rig.warm(call, response)  # type: ignore[arg-type]
        self.assertTrue(first.status.endswith(b"; detail=" + detail), first.status)
        self.assertEqual(len(rig.store), 0)
        self.assertEqual(rig.warm(call).exchange.trace.cache_status, "miss")

    def test_errors(self) -> None:
        for status in (201, 204, 206, 301, 304, 400, 401, 404, 500, 503):
            self.assertNotKept(answer(b"{}", status=status), b"status")

    def test_cookies_but_their_own_asker_gets_them(self) -> None:
        cookie = (b"Set-Cookie", b"session=1")
        self.assertNotKept(answer(b"[]", cookie), b"set-cookie")
        first = CacheRig().warm("listHospitals", answer(b"[]", cookie))
        self.assertEqual(first.response.headers.get(b"set-cookie"), b"session=1")

    def test_what_varies_on_more_than_the_key_holds(self) -> None:
        for vary in (b"*", b"Accept, Accept-Language", b"X-Forwarded-For", b"Cookie"):
            self.assertNotKept(answer(headers=(JSON, (b"Vary", vary))), b"vary")

    def test_what_hosp_forbids(self) -> None:
        self.assertNotKept(answer(headers=(JSON, (b"Cache-Control", b"No-Store"))), b"no-store")

    def test_another_type_than_the_contract_says(self) -> None:
        self.assertNotKept(answer(b"<html>", headers=((b"Content-Type", b"text/html"),)), b"type")
        self.assertNotKept(answer(b"[]", headers=()), b"type")
        self.assertNotKept(answer(b"{}", headers=(JSON,)), b"type", "getStatus")

    def test_half_adocument(self) -> None:
        for body in (b"", b"[{}, {", b"[] []", b"<html>"):
            self.assertNotKept(answer(body), b"malformed")

    def test_what_is_too_large(self) -> None:
        rig = CacheRig(max_entry_bytes=1024)
        self.assertIn(b"detail=too-large", rig.warm("listHospitals", answer(b'"%s"' % (b"x" * 1023))).status)
        self.assertIn(b"stored", rig.warm("listHospitals", answer(b'"%s"' % (b"x" * 1022))).status)


class RequestDirectiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()
        self.rig.warm("listHospitals", answer(b"[1]"))
        self.rig.clock.advance(10)

    def test_no_cache_goes_to_hosp_and_its_answer_is_kept(self) -> None:
        for field in (NO_CACHE, (b"Cache-Control", b"max-age=0"), (b"Pragma", b"no-cache")):
            before = len(self.rig.hosp)
            reading = self.rig.send("listHospitals", field)
            self.assertEqual(len(self.rig.hosp), before + 1, field)
            self.rig.reply(answer(b"[2]"))
            self.assertEqual(reading.exchange.trace.cache_status, "refresh")
            self.assertIn(b"fwd=request; fwd-status=200; stored", reading.status)
            self.assertEqual(self.rig.send("listHospitals").response.body, b"[2]")

    def test_no_store_is_served_but_not_kept(self) -> None:
        no_store = (b"Cache-Control", b"no-store")
        self.assertEqual(self.rig.send("listHospitals", no_store).exchange.trace.cache_status, "hit")
        self.rig.send("listNotes", no_store)
        self.rig.reply(answer())
        self.assertEqual(len(self.rig.store), 1)

    def test_only_if_cached(self) -> None:
        field = (b"Cache-Control", b"only-if-cached")
        self.assertEqual(self.rig.send("listHospitals", field).exchange.trace.cache_status, "hit")
        for call, how in (("listNotes", {}), ("listHospitals", {"who": None}), ("getStatus", {"who": None})):
            error = self.rig.send(call, field, **how).error  # type: ignore[arg-type]
            assert isinstance(error, ProxyError)
            self.assertEqual(error.status, 504)
            self.assertEqual(error.headers.get(b"cache-status"), b"hospproxy; detail=only-if-cached")
        self.assertEqual(len(self.rig.hosp), 1)

    def test_max_age_and_min_fresh(self) -> None:
        for value, word in (
            (b"max-age=10", "hit"),
            (b"max-age=9", "refresh"),
            (b"min-fresh=290", "hit"),
            (b"min-fresh=291", "refresh"),
            (b"max-age=nine, min-fresh=-5", "hit"),
        ):
            reading = self.rig.send("listHospitals", (b"Cache-Control", value))
            self.assertEqual(reading.exchange.trace.cache_status, word, value)
            if word == "refresh":
                reading.result.cancel()

    def test_looks_neither_read_nor_store(self) -> None:
        look = self.rig.send("listHospitals", past_cache=True)
        self.rig.reply(answer(b"[9]"))
        self.assertEqual((look.response.body, look.exchange.trace.cache_status), (b"[9]", "bypass"))
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[1]")

    def test_switched_off_nothing_is_kept(self) -> None:
        rig = CacheRig(enabled=False)
        rig.warm("listHospitals")
        self.assertEqual(rig.warm("listHospitals").exchange.trace.cache_status, "bypass")


class ConditionalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = CacheRig()

    def test_a_hit_is_a304(self) -> None:
        self.rig.warm("listHospitals")
        reading = self.rig.send("listHospitals", (b"If-None-Match", b'"x", "abc"'))
        response = reading.response
        self.assertEqual((response.status, response.body), (304, b""))
        names = {name.lower() for name, _ in response.headers}
        self.assertEqual(names, {b"etag", b"vary", b"cache-control", b"age", b"cache-status"})
        self.assertEqual(reading.exchange.trace.cache_status, "hit")

    def test_a_miss_is_a304_and_is_kept_whole(self) -> None:
        reading = self.rig.send("listHospitals", (b"If-None-Match", b'W/"abc"'))
        self.rig.reply(answer(b"[1]", (b"Set-Cookie", b"a=b")))
        self.assertEqual(reading.response.status, 304)
        self.assertEqual(reading.response.headers.get(b"set-cookie"), b"a=b")
        reading = self.rig.send("listHospitals", (b"If-None-Match", b'W/"abc"'))
        self.rig.reply(answer(b"[1]"))
        self.assertEqual(reading.response.status, 304)
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[1]")

    def test_a_record_knows_whom_a304_was_about(self) -> None:
        note = call_of("getNote", "3")
        self.rig.warm(note, answer(b'{"id":3,"patient_id":7}'))
        reading = self.rig.send(note, (b"If-None-Match", b'"abc"'))
        self.assertEqual((reading.response.status, reading.exchange.trace.patient), (304, "7"))
        self.assertEqual(reading.exchange.trace.unchanged, b'{"id":3,"patient_id":7}')

    def test_another_tag_or_none_is_answered_whole(self) -> None:
        self.rig.warm("listHospitals")
        self.assertEqual(self.rig.send("listHospitals", (b"If-None-Match", b'"x"')).response.status, 200)
        self.rig.warm("listNotes", answer(headers=(JSON,)))
        reading = self.rig.send("listNotes", (b"If-None-Match", b'"abc"'))
        self.assertEqual(reading.response.status, 200)
        self.assertIsNone(reading.response.headers.get(b"etag"))

    def test_errors_are_never304(self) -> None:
        reading = self.rig.send("listHospitals", (b"If-None-Match", b"*"))
        self.rig.reply(answer(b"{}", status=500))
        self.assertEqual(reading.response.status, 500)

    def test_writes_are_never304(self) -> None:
        reading = self.rig.send(call_of("updateNote", "1", document={}), (b"If-None-Match", b"*"))
        self.rig.reply(answer(b"{}"))
        self.assertEqual(reading.response.status, 200)
