"""HOSP accepts requests and never responds: users get cached responses long before the deadline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest_twisted

from .http_client import ask, control
from .processes import Processes
from .test_breaker import gauge
from .test_fates import until

CONTRACT = Path(__file__).parents[1] / "hospproxy" / "contract" / "hosp.openapi.yaml"
SHORT = "[cache.lifetimes]\nlistNotes = 0.2\nlistPatients = 0.2\n"


@pytest_twisted.ensureDeferred
async def test_reads_that_are_in_memory_do_not_wait_for_a_hosp_that_has_stalled(
    processes: Processes, tmp_path: Path
) -> None:
    contract = tmp_path / "contract.yaml"
    # Otherwise a response that just expired would be served at once, stall or not.
    contract.write_text(CONTRACT.read_text().replace("stale_while_revalidate_s: 30,", ""))
    hosp = await processes.hosp("--delay", "fixed:0.1", "--places", "0")
    proxy = await processes.proxy(
        hosp.url,
        top=f"deadline_s = 12.0\ncontract_file = {json.dumps(str(contract))}\n",
        options=SHORT + "[gate]\nslow_s = 7.0\n",
    )
    for number in range(1, 13):
        answer = await ask(proxy.plain_url, "GET", f"/notes?patient_id={number}", user="staff1")
        assert answer.status == 200
    await control(hosp.control_url, "POST", "/faults", {"stall": 1.0})
    # This one waits until the stall is noticed; nothing else shows that HOSP is away.
    answer = await ask(proxy.plain_url, "GET", "/notes?patient_id=1", user="staff1")
    assert answer.status == 200
    assert "detail=stale-while-stalled" in (answer.field("cache-status") or "")
    assert (await gauge(proxy, "upstream_stalled"), await gauge(proxy, "breaker_open")) == (1, 0)
    for number in range(2, 13):
        answer = await ask(proxy.plain_url, "GET", f"/notes?patient_id={number}", user="staff1")
        assert "detail=stale-while-stalled" in (answer.field("cache-status") or "")
    await control(hosp.control_url, "POST", "/faults", {})

    async def fresh() -> bool:
        answer = await ask(proxy.plain_url, "GET", "/patients?hospital_id=1", user="staff1")
        return answer.status == 200 and "fwd" in (answer.field("cache-status") or "")

    await until(fresh, "HOSP is asked again", 90.0)
    assert await gauge(proxy, "upstream_stalled") == 0
