"""Two hundred wrong passwords from one address, and a user who works at the same address."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from .http_client import Answer, ask, journal
from .processes import Processes, Proxy

QUICK = "[admission]\naccount_free = 3\naddress_free = 20\ndelay_s = 1\naccount_waiting = 1\naddress_waiting = 4\n"


def requests(proxy: Proxy) -> list[dict[str, Any]]:
    return [record for record in proxy.records() if record["kind"] == "request"]


def name_of(record: dict[str, Any]) -> object:
    return record["who"]["name"] if record["who"]["certainty"] == "verified" else None


@pytest_twisted.ensureDeferred
async def test_guesses_are_slowed_and_whoever_works_there_is_not(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=QUICK)
    assert (await ask(proxy.plain_url, "GET", "/hospitals", user="staff1")).status == 200

    def guess(number: int) -> Deferred[Answer]:
        return ask(proxy.plain_url, "GET", "/notes", user=f"staff{number % 3 + 1}", password=f"no{number}")

    for batch in range(0, 200, 20):
        guesses = [guess(batch + each) for each in range(20)]
        work = [ask(proxy.plain_url, "GET", "/hospitals", user="staff1") for _ in range(5)]
        assert {answer.status for answer in await gatherResults(work)} == {200}
        answers = await gatherResults(guesses)
        assert {answer.status for answer in answers} <= {401, 429}
        for answer in answers:
            assert (answer.field("retry-after") is not None) == (answer.status == 429)
    assert await proxy.stop() == 0
    served = [record for record in requests(proxy) if name_of(record) == "staff1"]
    assert len(served) == 51
    assert all(record["rule_hits"] == [] and record["outcome"] == "success" for record in served)
    others = [record for record in requests(proxy) if name_of(record) is None]
    assert len(others) == 200
    slowed = [record for record in others if "admission:guessing" in record["rule_hits"]]
    assert len(slowed) >= 150
    assert {record["outcome"] for record in slowed if record["status"] == 429} == {"refused"}
    assert {record["who"]["certainty"] for record in slowed} == {"claimed"}


@pytest_twisted.ensureDeferred
async def test_each_wrong_one_waits_longer_than_the_one_before(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=QUICK.replace("delay_s = 1", "delay_s = 2"))
    for number in range(6):
        await ask(proxy.plain_url, "GET", "/notes", user="staff1", password=f"no{number}")
    assert await proxy.stop() == 0
    slowed = [record for record in requests(proxy) if "admission:guessing" in record["rule_hits"]]
    assert len(slowed) == 3
    for record, least_ms in zip(slowed, (500, 1000, 2000), strict=True):
        assert record["duration_ms"] >= least_ms


@pytest_twisted.ensureDeferred
async def test_hosp_is_asked_once_in_five_seconds_about_what_it_refused(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    for _ in range(50):
        answer = await ask(proxy.plain_url, "GET", "/notes", user="staff1", password="old")
        assert (answer.status, answer.body) == (401, b"HTTP Basic: Access denied.\n")
        assert answer.field("www-authenticate") == 'Basic realm="Application"'
    asked = [entry["at"] for entry in await journal(hosp.control_url, "request")]
    assert len(asked) < 50
    assert all(later - earlier >= 5 for earlier, later in pairwise(asked))
    account = {"name": "newcomer", "hospital_id": 1, "password": "soon"}
    assert (await ask(proxy.plain_url, "GET", "/notes", user="newcomer", password="soon")).status == 401
    assert (await ask(proxy.plain_url, "POST", "/staffs", account, user="staff2")).status == 201
    assert (await ask(proxy.plain_url, "GET", "/notes", user="newcomer", password="soon")).status == 200
    assert await proxy.stop() == 0
    failures = [record for record in requests(proxy) if record["action"] == "log-in failure"]
    assert len(failures) == 51
    lately = [record for record in failures if "identity:refused-lately" in record["rule_hits"]]
    assert len(lately) >= 51 - len(asked) - 1
    assert {record["attempts"] for record in failures} == {0}
