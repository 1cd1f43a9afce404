"""Large bodies from a client's side: who may send one, and what it costs other clients."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest_twisted

from .http_client import ask, basic, raw
from .processes import Processes

ROOT = Path(__file__).parent.parent
QUICK = ("--delay", "none", "--places", "0")
IMAGES = {"images": ["QUJD" * 250_000] * 10}
SCREEN = "/patients/7/screen"


@pytest_twisted.ensureDeferred
async def test_a_first_request_that_is_large_is_answered(processes: Processes) -> None:
    hosp = await processes.hosp(*QUICK)
    proxy = await processes.proxy(hosp.url)
    answer = await ask(proxy.url, "POST", SCREEN, IMAGES, user="staff1")
    assert (answer.status, len(answer.json()["results"])) == (200, 10), answer.body[:200]


@pytest_twisted.ensureDeferred
async def test_a_guessed_password_gets_its_401_and_nothing_is_read(processes: Processes) -> None:
    hosp = await processes.hosp(*QUICK)
    proxy = await processes.proxy(hosp.url)
    answer = await ask(proxy.url, "POST", SCREEN, IMAGES, user="staff1", password="guessed")
    assert (answer.status, answer.field("connection")) == (401, "close")
    assert answer.field("www-authenticate") is not None


@pytest_twisted.ensureDeferred
async def test_100_continue_is_said_to_whom_may_go_on(processes: Processes) -> None:
    hosp = await processes.hosp(*QUICK)
    proxy = await processes.proxy(hosp.url)
    for target, user, password, status in (
        ("/notes", "staff1", "guessed", 401),
        ("/nothing", "staff1", None, 404),
        ("/hospitals/1", "staff1", None, 405),
    ):
        head = (
            f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            f"Authorization: {basic(user, password)}\r\n\r\n"
        )
        # http.client skips interim responses, so it would wait for a final one, which comes only after a body.
        answer = await raw(proxy.url, head.encode(), method="POST")
        assert answer.status == status, (target, answer.status)


@pytest_twisted.ensureDeferred
async def test_what_bodies_cost_is_measured(processes: Processes) -> None:
    """The benchmark itself works; its results are judged only on an idle machine (make bench-bodies)."""
    ran = await processes.run(
        "bodies", sys.executable, "-m", "benchmarks.bodies", "--quick", "--tell", cwd=ROOT, timeout_s=180.0
    )
    assert ran.status == 0, ran.log
    for name in ("numbers", "one image", "patients", "record with keys"):
        assert name in ran.log, ran.log
