"""HOSP goes away and comes back: no client waits for it, and afterwards everything is as before."""

from __future__ import annotations

from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor

from .http_client import ask, control, journal
from .processes import Hosp, Processes, Proxy
from .test_fates import until
from .test_guarantees import NOTE


def seconds() -> float:
    return cast(Any, reactor).seconds()  # type: ignore[no-any-return]


async def away(hosp: Hosp, offline: bool = True) -> None:
    await control(hosp.control_url, "POST", "/offline", {"offline": offline})


async def gauge(proxy: Proxy, name: str) -> float:
    """A metric of the proxy without labels."""
    text = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"hospproxy_{name} ")).split()[1])


pytestmark = pytest.mark.alone  # the promise is in seconds, and a surge uses the whole machine


@pytest.mark.parametrize("mode", ["refuse", "reset"])
@pytest_twisted.ensureDeferred
async def test_hosp_goes_and_comes_back(processes: Processes, mode: str) -> None:
    hosp = await processes.hosp("--offline-mode", mode)
    proxy = await processes.proxy(hosp.url)
    assert (await ask(proxy.url, "GET", "/hospitals", user="staff1")).status == 200
    await away(hosp)

    async def told() -> bool:
        answer = await ask(proxy.url, "GET", "/notes?patient_id=1", user="staff1")
        assert answer.status in (502, 503)
        return answer.status == 503

    await until(told, "the breaker opens", 10.0)
    assert await gauge(proxy, "breaker_open") == 1
    for method, path, *document in (
        ("GET", "/notes?patient_id=2"),
        ("POST", "/notes", NOTE),
        ("POST", "/patients/7/screen", {"images": ["a"]}),
        ("DELETE", "/notes/3"),
    ):
        began = seconds()
        answer = await ask(proxy.url, method, path, *document, user="staff1")
        assert (answer.status, answer.json()["status"]) == (503, 503), (method, answer)
        assert int(answer.field("retry-after") or 0) > 0
        assert seconds() - began < 2.0, method  # what users are promised
    # Fresh cache entries are still served.
    hit = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    assert (hit.status, "hit" in (hit.field("cache-status") or "")) == (200, True)
    [refused] = [each for each in proxy.records() if each["method"] == "DELETE" and each["kind"] == "request"]
    assert refused["outcome"] == "hosp is away"

    back = seconds()
    await away(hosp, False)

    async def written() -> bool:
        return (await ask(proxy.url, "POST", "/notes", NOTE, user="staff1")).status == 201

    await until(written, "writes go on", 10.0)
    assert seconds() - back < 10.0  # what users are promised
    assert await gauge(proxy, "breaker_open") == 0
    assert len(await journal(hosp.control_url, "stored", "notes")) == 1
    probes = [each for each in proxy.records() if each["own"] == "probe"]
    assert probes[0]["status"] == 502
    assert probes[-1]["status"] == 200
    assert {each["route"] for each in probes} == {"/"}


@pytest_twisted.ensureDeferred
async def test_a_surge_is_answered_at_once_or_in_time_and_hosp_never_gets_more_than_its_limit(
    processes: Processes,
) -> None:
    """All clients send at one moment, again and again, to a HOSP that serves 10 requests a second."""
    from twisted.internet.defer import gatherResults

    hosp = await processes.hosp("--delay", "fixed:0.5", "--places", "5")
    proxy = await processes.proxy(hosp.url, top="deadline_s = 6.0\n", options="[cache]\nenabled = false\n")
    for user in (1, 2, 3):
        await ask(proxy.plain_url, "GET", "/notes", user=f"staff{user}")
    await gatherResults([ask(proxy.plain_url, "GET", "/notes", user="staff1") for _ in range(10)])

    async def one(number: int) -> tuple[int, float, str | None]:
        began = seconds()
        answer = await ask(
            proxy.plain_url, "GET", f"/patients/{number % 50 + 1}", user=f"staff{number % 3 + 1}"
        )
        return answer.status, seconds() - began, answer.field("retry-after")

    from twisted.internet.defer import Deferred

    cast(Any, reactor).suggestThreadPoolSize(150)
    try:
        got = await gatherResults([Deferred.fromCoroutine(one(number)) for number in range(140)])
    finally:
        cast(Any, reactor).suggestThreadPoolSize(10)
    refused = [(took, after) for status, took, after in got if status == 503]
    assert {200, 503} <= {status for status, _, _ in got} <= {200, 503, 504}
    assert all(after is not None for _, after in refused)
    served = len(got) - len(refused)
    assert served >= 30, served
    stats = await control(hosp.control_url, "GET", "/stats")
    assert stats["in_flight"] <= stats["max_in_flight"] <= 5
