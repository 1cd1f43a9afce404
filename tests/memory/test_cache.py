from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.errors import ProxyError
from hospproxy.interfaces import IProcessor
from hospproxy.messages import Origin

from .house import ANN, BEN, JSON, House, answer, call_of

NO_CACHE = (b"Cache-Control", b"no-cache")


class HitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House()

    def test_isAProcessor(self) -> None:
        self.assertTrue(verifyObject(IProcessor, self.house.cache))

    def test_theSecondReadIsAnsweredFromMemory(self) -> None:
        self.house.warm("listHospitals", answer(b"[1]"))
        self.house.clock.advance(7)
        second = self.house.send("listHospitals")
        self.assertEqual(len(self.house.hosp), 1)
        self.assertEqual(second.response.body, b"[1]")
        self.assertIs(second.response.origin, Origin.MEMORY)
        self.assertEqual(second.response.headers.get(b"age"), b"7")
        self.assertEqual(second.status, b"hospproxy; hit; ttl=293")
        self.assertEqual(second.exchange.cache_status, "hit")

    def test_theFirstSaysThatItWasStored(self) -> None:
        first = self.house.warm("listHospitals")
        self.assertEqual(first.status, b"hospproxy; fwd=uri-miss; fwd-status=200; stored; ttl=300")
        self.assertEqual(first.exchange.cache_status, "miss")
        self.assertIs(first.response.origin, Origin.UPSTREAM)
        self.assertIsNone(first.response.headers.get(b"age"))
        self.assertEqual(first.exchange.attempts, 1)

    def test_devicesAreToldToKeepNothing(self) -> None:
        expiring = (b"Expires", b"Thu, 01 Dec 2033 16:00:00 GMT")
        for reading in (
            self.house.warm("listHospitals", answer(b"[]", expiring)),
            self.house.send("listHospitals"),
            self.house.warm("getStatus", answer(b"ok", headers=((b"Content-Type", b"text/html"),))),
            self.house.warm(call_of("createNote", document={}), answer(status=201)),
            self.house.warm(call_of("screenPatient", "1", document={})),
            self.house.warm("listStaffs", answer(b"{}", status=500)),
        ):
            self.assertEqual(reading.response.headers.all(b"cache-control"), [b"private, no-store"])
            self.assertIsNone(reading.response.headers.get(b"expires"))

    def test_whatBelongsToOneExchangeIsNotRepeated(self) -> None:
        first = self.house.warm("listHospitals")
        second = self.house.send("listHospitals")
        self.assertEqual(first.response.headers.get(b"x-request-id"), b"of-the-first")
        self.assertIsNone(second.response.headers.get(b"x-request-id"))
        self.assertEqual(second.response.headers.get(b"etag"), b'W/"abc"')

    def test_lifetimesAreTheContracts(self) -> None:
        for call, lifetime_s in (
            (call_of("listHospitals"), 300),
            (call_of("getHospital", "1"), 300),
            (call_of("listNotes", patient_id="1"), 60),
            (call_of("getMe"), 60),
        ):
            self.house.warm(call)
            self.house.clock.advance(lifetime_s - 0.001)
            self.assertEqual(self.house.send(call).exchange.cache_status, "hit", call.operation.id)
            self.house.clock.advance(0.001)
            again = self.house.warm(call)
            self.assertEqual(again.exchange.cache_status, "expired", call.operation.id)
            self.assertIn(b"fwd=stale", again.status)

    def test_anOperatorMayChangeALifetime(self) -> None:
        house = House(lifetimes={"listHospitals": 10.0, "listNotes": 0.0})
        self.assertIn(b"ttl=10", house.warm("listHospitals").status)
        self.assertIn(b"fwd=bypass", house.warm("listNotes").status)
        self.assertEqual(len(house.store), 1)

    def test_theTimeRunsFromTheAnswerAndTheAgeFromTheQuestion(self) -> None:
        """HOSP takes up to 20 s: `GET /`, kept for 5 s, would otherwise never be kept at all."""
        reading = self.house.send("getStatus", who=None)
        self.house.clock.advance(20)
        self.house.reply(answer(b"ok", headers=((b"Content-Type", b"text/html"),)))
        self.assertIn(b"stored; ttl=5", reading.status)
        self.house.clock.advance(4)
        hit = self.house.send("getStatus", who=None)
        self.assertEqual(hit.status, b"hospproxy; hit; ttl=1")
        self.assertEqual(hit.response.headers.get(b"age"), b"24")

    def test_theAgeThatAnAnswerCameWithCounts(self) -> None:
        self.house.warm("listHospitals", answer(b"[]", (b"Age", b"100")))
        self.house.clock.advance(10)
        hit = self.house.send("listHospitals")
        self.assertEqual(hit.response.headers.all(b"age"), [b"110"])
        self.assertEqual(hit.status, b"hospproxy; hit; ttl=190")

    def test_whatIsTooOldWhenItComesIsNotKept(self) -> None:
        first = self.house.warm("listHospitals", answer(b"[]", (b"Age", b"300")))
        self.assertTrue(first.status.endswith(b"; detail=too-old"))
        self.assertEqual(len(self.house.store), 0)

    def test_otherCachesStatusGoesBeforeOurs(self) -> None:
        first = self.house.warm("listHospitals", answer(b"[]", (b"Cache-Status", b"inner; hit")))
        self.assertTrue(first.status.startswith(b"inner; hit, hospproxy; fwd=uri-miss"))
        self.assertTrue(self.house.send("listHospitals").status.startswith(b"hospproxy; hit"))

    def test_hospsNoCacheIsHonoured(self) -> None:
        first = self.house.warm(
            "listHospitals", answer(b"[]", headers=(JSON, (b"Cache-Control", b"no-cache")))
        )
        self.assertEqual(first.status, b"hospproxy; fwd=uri-miss; fwd-status=200; detail=no-cache")
        self.house.warm("listHospitals")

    def test_theGaugesShowTheStore(self) -> None:
        self.house.warm("listHospitals")
        self.assertEqual(self.house.meter.gauges["cache_entries"](), 1)
        self.assertEqual(self.house.meter.gauges["cache_bytes"](), self.house.store.bytes)
        self.house.send("listHospitals")
        self.assertEqual(self.house.meter.counts["cache_events_total:hit"], 1)


class PrivacyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House()

    def test_nobodyIsServedAnothersAnswer(self) -> None:
        self.house.warm("listHospitals", answer(b'["for ann"]'))
        ben = self.house.warm("listHospitals", answer(b'["for ben"]'), who=BEN)
        self.assertEqual(ben.response.body, b'["for ben"]')
        self.assertEqual(self.house.send("listHospitals").response.body, b'["for ann"]')

    def test_withoutKnowingWhoAsksNothingIsReadOrKept(self) -> None:
        self.house.warm("listHospitals")
        unknown = self.house.warm("listHospitals", who=None)
        self.assertEqual(unknown.exchange.cache_status, "bypass")
        self.assertEqual(len(self.house.store), 1)

    def test_whatIsPublicIsForEverybody(self) -> None:
        self.house.warm("getStatus", answer(b"ok", headers=((b"Content-Type", b"text/html"),)), who=None)
        for who in (None, ANN, BEN):
            self.assertEqual(self.house.send("getStatus", who=who).exchange.cache_status, "hit")

    def test_hostsAreKeptApart(self) -> None:
        self.house.warm("listHospitals", host="a.example")
        self.assertEqual(self.house.warm("listHospitals", host="b.example").exchange.cache_status, "miss")

    def test_equalRequestsOfTwoPeopleAreTwoFetches(self) -> None:
        ann, ben = self.house.send("listHospitals"), self.house.send("listHospitals", who=BEN)
        self.house.reply(answer(b'["for ann"]'), 0)
        self.house.reply(answer(b'["for ben"]'), 1)
        self.assertEqual([ann.response.body, ben.response.body], [b'["for ann"]', b'["for ben"]'])

    def test_aRefusalPutsWhatWasAnsweredBeforeOutOfReach(self) -> None:
        self.house.warm("listHospitals")
        refused = self.house.warm("listNotes", answer(b"denied", status=401, headers=()))
        self.assertEqual(refused.response.status, 401)
        self.assertEqual(self.house.warm("listHospitals").exchange.cache_status, "miss")


class NotKeptTests(SynchronousTestCase):
    def assertNotKept(self, response: object, detail: bytes, call: str = "listHospitals") -> None:
        house = House()
        first = house.warm(call, response)  # type: ignore[arg-type]
        self.assertTrue(first.status.endswith(b"; detail=" + detail), first.status)
        self.assertEqual(len(house.store), 0)
        self.assertEqual(house.warm(call).exchange.cache_status, "miss")

    def test_errors(self) -> None:
        for status in (201, 204, 206, 301, 304, 400, 401, 404, 500, 503):
            self.assertNotKept(answer(b"{}", status=status), b"status")

    def test_cookiesButTheirOwnAskerGetsThem(self) -> None:
        cookie = (b"Set-Cookie", b"session=1")
        self.assertNotKept(answer(b"[]", cookie), b"set-cookie")
        first = House().warm("listHospitals", answer(b"[]", cookie))
        self.assertEqual(first.response.headers.get(b"set-cookie"), b"session=1")

    def test_whatVariesOnMoreThanTheKeyHolds(self) -> None:
        for vary in (b"*", b"Accept, Accept-Language", b"X-Forwarded-For", b"Cookie"):
            self.assertNotKept(answer(headers=(JSON, (b"Vary", vary))), b"vary")

    def test_whatHospForbids(self) -> None:
        self.assertNotKept(answer(headers=(JSON, (b"Cache-Control", b"No-Store"))), b"no-store")

    def test_anotherTypeThanTheContractSays(self) -> None:
        self.assertNotKept(answer(b"<html>", headers=((b"Content-Type", b"text/html"),)), b"type")
        self.assertNotKept(answer(b"[]", headers=()), b"type")
        self.assertNotKept(answer(b"{}", headers=(JSON,)), b"type", "getStatus")

    def test_halfADocument(self) -> None:
        for body in (b"", b"[{}, {", b"[] []", b"<html>"):
            self.assertNotKept(answer(body), b"malformed")

    def test_whatIsTooLarge(self) -> None:
        house = House(max_entry_bytes=1024)
        self.assertIn(
            b"detail=too-large", house.warm("listHospitals", answer(b'"%s"' % (b"x" * 1023))).status
        )
        self.assertIn(b"stored", house.warm("listHospitals", answer(b'"%s"' % (b"x" * 1022))).status)


class RequestDirectiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House()
        self.house.warm("listHospitals", answer(b"[1]"))
        self.house.clock.advance(10)

    def test_noCacheGoesToHospAndItsAnswerIsKept(self) -> None:
        for field in (NO_CACHE, (b"Cache-Control", b"max-age=0"), (b"Pragma", b"no-cache")):
            before = len(self.house.hosp)
            reading = self.house.send("listHospitals", field)
            self.assertEqual(len(self.house.hosp), before + 1, field)
            self.house.reply(answer(b"[2]"))
            self.assertEqual(reading.exchange.cache_status, "refresh")
            self.assertIn(b"fwd=request; fwd-status=200; stored", reading.status)
            self.assertEqual(self.house.send("listHospitals").response.body, b"[2]")

    def test_noStoreIsServedButNotKept(self) -> None:
        no_store = (b"Cache-Control", b"no-store")
        self.assertEqual(self.house.send("listHospitals", no_store).exchange.cache_status, "hit")
        self.house.send("listNotes", no_store)
        self.house.reply(answer())
        self.assertEqual(len(self.house.store), 1)

    def test_onlyIfCached(self) -> None:
        field = (b"Cache-Control", b"only-if-cached")
        self.assertEqual(self.house.send("listHospitals", field).exchange.cache_status, "hit")
        for call, how in (("listNotes", {}), ("listHospitals", {"who": None}), ("getStatus", {"who": None})):
            error = self.house.send(call, field, **how).error  # type: ignore[arg-type]
            assert isinstance(error, ProxyError)
            self.assertEqual(error.status, 504)
            self.assertEqual(error.headers.get(b"cache-status"), b"hospproxy; detail=only-if-cached")
        self.assertEqual(len(self.house.hosp), 1)

    def test_maxAgeAndMinFresh(self) -> None:
        for value, word in (
            (b"max-age=10", "hit"),
            (b"max-age=9", "refresh"),
            (b"min-fresh=290", "hit"),
            (b"min-fresh=291", "refresh"),
            (b"max-age=nine, min-fresh=-5", "hit"),
        ):
            reading = self.house.send("listHospitals", (b"Cache-Control", value))
            self.assertEqual(reading.exchange.cache_status, word, value)
            if word == "refresh":
                reading.result.cancel()

    def test_looksNeitherReadNorStore(self) -> None:
        look = self.house.send("listHospitals", past_cache=True)
        self.house.reply(answer(b"[9]"))
        self.assertEqual((look.response.body, look.exchange.cache_status), (b"[9]", "bypass"))
        self.assertEqual(self.house.send("listHospitals").response.body, b"[1]")

    def test_switchedOffNothingIsKept(self) -> None:
        house = House(enabled=False)
        house.warm("listHospitals")
        self.assertEqual(house.warm("listHospitals").exchange.cache_status, "bypass")


class ConditionalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House()

    def test_aHitIsA304(self) -> None:
        self.house.warm("listHospitals")
        reading = self.house.send("listHospitals", (b"If-None-Match", b'"x", "abc"'))
        response = reading.response
        self.assertEqual((response.status, response.body), (304, b""))
        names = {name.lower() for name, _ in response.headers}
        self.assertEqual(names, {b"etag", b"vary", b"cache-control", b"age", b"cache-status"})
        self.assertEqual(reading.exchange.cache_status, "hit")

    def test_aMissIsA304AndIsKeptWhole(self) -> None:
        reading = self.house.send("listHospitals", (b"If-None-Match", b'W/"abc"'))
        self.house.reply(answer(b"[1]", (b"Set-Cookie", b"a=b")))
        self.assertEqual(reading.response.status, 304)
        self.assertEqual(reading.response.headers.get(b"set-cookie"), b"a=b")
        reading = self.house.send("listHospitals", (b"If-None-Match", b'W/"abc"'))
        self.house.reply(answer(b"[1]"))
        self.assertEqual(reading.response.status, 304)
        self.assertEqual(self.house.send("listHospitals").response.body, b"[1]")

    def test_aRecordKnowsWhomA304WasAbout(self) -> None:
        note = call_of("getNote", "3")
        self.house.warm(note, answer(b'{"id":3,"patient_id":7}'))
        reading = self.house.send(note, (b"If-None-Match", b'"abc"'))
        self.assertEqual((reading.response.status, reading.exchange.patient), (304, "7"))
        self.assertEqual(reading.exchange.unchanged, b'{"id":3,"patient_id":7}')

    def test_anotherTagOrNoneIsAnsweredWhole(self) -> None:
        self.house.warm("listHospitals")
        self.assertEqual(self.house.send("listHospitals", (b"If-None-Match", b'"x"')).response.status, 200)
        self.house.warm("listNotes", answer(headers=(JSON,)))
        reading = self.house.send("listNotes", (b"If-None-Match", b'"abc"'))
        self.assertEqual(reading.response.status, 200)
        self.assertIsNone(reading.response.headers.get(b"etag"))

    def test_errorsAreNever304(self) -> None:
        reading = self.house.send("listHospitals", (b"If-None-Match", b"*"))
        self.house.reply(answer(b"{}", status=500))
        self.assertEqual(reading.response.status, 500)

    def test_writesAreNever304(self) -> None:
        reading = self.house.send(call_of("updateNote", "1", document={}), (b"If-None-Match", b"*"))
        self.house.reply(answer(b"{}"))
        self.assertEqual(reading.response.status, 200)
