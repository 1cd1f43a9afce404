"""Permission rules through the running proxy: a refusal, breaking the glass, and their record and alert."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from .http_client import ask
from .processes import Processes, Proxy

ENFORCED = '[permissions.rules]\nother_hospital = "enforce"\n'
GLASS = {"X-Break-Glass": "Collapsed in the \u00fcber-full waiting room\u202e".encode().decode("latin-1")}


def requests(proxy: Proxy) -> list[dict[str, Any]]:
    return [record for record in proxy.records() if record["kind"] == "request"]


async def another_hospitals_patient(proxy: Proxy) -> int:
    """The id of a patient of another hospital than staff1's."""
    me = (await ask(proxy.plain_url, "GET", "/staffs/me", user="staff1")).json()
    patients = (await ask(proxy.plain_url, "GET", "/patients", user="staff1")).json()
    found: int = next(one["id"] for one in patients if one["hospital_id"] != me["hospital_id"])
    return found


@pytest_twisted.ensureDeferred
async def test_reported_as_it_comes(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    number = await another_hospitals_patient(proxy)
    assert (await ask(proxy.plain_url, "GET", f"/patients/{number}", user="staff1")).status == 200
    assert requests(proxy)[-1]["rule_hits"] == ["permissions:other_hospital(report)"]


@pytest_twisted.ensureDeferred
async def test_enforced_with_aglass(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=ENFORCED)
    number = await another_hospitals_patient(proxy)
    refused = await ask(proxy.plain_url, "GET", f"/patients/{number}", user="staff1")
    assert (refused.status, refused.json()["status"]) == (403, 403)
    record = requests(proxy)[-1]
    assert (record["outcome"], record["patient_id"]) == ("refused", str(number))
    passed = await ask(proxy.plain_url, "GET", f"/patients/{number}", user="staff1", headers=GLASS)
    assert passed.json()["id"] == number
    record = requests(proxy)[-1]
    assert record["rule_hits"] == ["permissions:other_hospital", "permissions:break-glass"]
    assert record["break_glass"].startswith("Collapsed in the \u00fcber-full waiting room")
    assert await proxy.stop() == 0
    [alert] = [record for record in proxy.records() if record["kind"] == "alert"]
    assert (alert["rule"], alert["who"]["name"]) == ("break-glass", "staff1")
    assert f"patient {number}: Collapsed" in alert["text"]
