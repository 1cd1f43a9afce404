"""The status page in a real browser, and its figures against those of a load that was counted elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from playwright.sync_api import Browser, BrowserContext, Page
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from .chromium import DESK, PHONE, axe, browse, overflow
from .http_client import ask
from .processes import Processes, Proxy
from .status_page_server import ServedStatus, serve_status
from .test_audit_page import install
from .worker_processes import WITH_REDIS, until

WALL = (1920, 1080)
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest_twisted.async_yield_fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedStatus]:
    """The page over an invented week."""
    opened = serve_status(cast(Any, reactor), tmp_path, hostile=HOSTILE)
    yield opened
    await opened.stop()


def window(
    browser: Browser, size: tuple[int, int], scheme: str = "light", *, bypass: bool = False
) -> BrowserContext:
    """A browser window in which scripts run.

    :param bypass: also those that the page's policy forbids; axe is one.
    """
    more: dict[str, Any] = {"color_scheme": scheme}
    return browser.new_context(
        viewport={"width": size[0], "height": size[1]}, bypass_csp=bypass, ignore_https_errors=True, **more
    )


def shown(page: Page, url: str) -> None:
    """Open the page and wait until it has drawn."""
    page.goto(url)
    page.wait_for_selector(".uplot canvas")
    page.wait_for_selector(".tile")


@pytest_twisted.ensureDeferred
async def test_everything_is_drawn_under_the_strict_policy(served: ServedStatus) -> None:
    def work(browser: Browser) -> tuple[list[str], list[str], str, int, str]:
        page = window(browser, WALL).new_page()
        mistakes: list[str] = []
        fetched: list[str] = []
        page.on("console", lambda message: mistakes.append(message.text))
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        shown(page, served.url + "/status")
        charts = page.locator(".uplot canvas").count()
        return mistakes, fetched, page.locator("#main").inner_text(), charts, page.title()

    mistakes, fetched, text, charts, title = await deferToThread(browse, work)
    assert mistakes == []
    assert all(url.startswith(served.url + "/") for url in fetched)
    assert charts == 4
    assert "POST /notes" in text and "surge begins (refusals)" in text
    assert HOSTILE[:10] in text and title != "1"
    assert "options file refused 10 min ago" in text
    assert re.search(r"generation\s+4\s+applied\s+90 min ago\s+refused\s+10 min ago", text)


@pytest_twisted.ensureDeferred
async def test_a_wall_screen_shows_all_of_it_and_a_phone_nothing_at_the_side(served: ServedStatus) -> None:
    def work(browser: Browser) -> dict[str, float]:
        found = {}
        for size in (PHONE, (320, 640), DESK, WALL):
            page = window(browser, size).new_page()
            shown(page, served.url + "/status#1d")
            found[f"side {size}"] = overflow(page)
            if size == WALL:
                found["below"] = page.evaluate("document.scrollingElement.scrollHeight - window.innerHeight")
        return {name: pixels for name, pixels in found.items() if pixels > 0.5}

    assert await deferToThread(browse, work) == {}


@pytest_twisted.ensureDeferred
async def test_axe_finds_nothing_serious(served: ServedStatus, processes: Processes) -> None:
    await install(processes)

    def work(browser: Browser) -> dict[str, list[str]]:
        found = {}
        for scheme in ("light", "dark"):
            for size in (DESK, PHONE):
                page = window(browser, size, scheme, bypass=True).new_page()
                shown(page, served.url + "/status")
                found[f"{scheme} {size}"] = axe(page)
        return {name: problems for name, problems in found.items() if problems}

    assert await deferToThread(browse, work) == {}


@pytest_twisted.ensureDeferred
async def test_it_goes_on_by_itself_and_says_when_the_proxy_is_gone(served: ServedStatus) -> None:
    def work(browser: Browser) -> tuple[str, str]:
        page = window(browser, DESK).new_page()
        page.clock.install()
        shown(page, served.url + "/status")
        served.recorder.history.add(
            served.recorder.started_at + 9 * 86400, 5.0, {"request|PATCH /new|2xx": 9.0}, {}
        )
        page.clock.run_for(6000)
        page.locator("#routes", has_text="PATCH /new").wait_for()
        page.route("**/status.json*", lambda route: route.abort())
        page.clock.run_for(6000)
        page.wait_for_selector("#lost:not([hidden])")
        lost = page.locator("#lost").inner_text()
        page.unroute("**/status.json*")
        page.clock.run_for(6000)
        page.wait_for_selector("#lost", state="hidden")
        return lost, page.locator("#routes").inner_text()

    lost, routes = await deferToThread(browse, work)
    assert "does not answer" in lost
    assert "PATCH /new" in routes


async def figures(proxy: Proxy) -> Any:
    return (await ask(proxy.admin_url, "GET", "/status.json?window=5m")).json()


async def loaded(proxy: Proxy) -> Counter[int]:
    """Send some hundred requests; return how many of them got which status."""
    counted: Counter[int] = Counter()
    plans = [
        ("GET", "/hospitals", "staff1"), ("GET", "/patients?hospital_id=1", "staff2"),
        ("GET", "/notes/999999", "staff1"),
        ("GET", "/nothing", "staff1"), ("GET", "/staffs/me", "staff3"),
    ]  # fmt: skip
    for _ in range(12):
        answers = await gatherResults([ask(proxy.plain_url, *plan[:2], user=plan[2]) for plan in plans * 2])
        counted.update(answer.status for answer in answers)
    return counted


@pytest.mark.parametrize("workers", [1, 2])
@pytest_twisted.ensureDeferred
async def test_figures_are_those_that_a_client_counts(processes: Processes, workers: int) -> None:
    """Within 1 %, for one process and for two; and they outlive a restart."""
    hosp = await processes.hosp("--faults", "error_before=0.1")
    options = ""
    if workers > 1:
        options = WITH_REDIS.format(port=(await processes.redis()).port)
    top = f"workers = {workers}\n"
    proxy = await processes.proxy(hosp.url, top=top, options=options)
    await proxy.until_said("hospproxy serves")
    first = await figures(proxy)
    assert first["workers"]["configured"] == workers
    counted = await loaded(proxy)
    sent = sum(counted.values())

    async def caught_up() -> Any:
        totals = (await figures(proxy))["totals"]
        return totals if totals["users"]["requests"] >= sent * 0.99 else None

    totals = await until(caught_up)
    by_status: Counter[str] = Counter()
    for route in totals["routes"]:
        by_status.update({status: round(count) for status, count in route["by_status"].items()})
    for kind in (2, 4, 5):
        expected = sum(number for status, number in counted.items() if status // 100 == kind)
        assert abs(by_status[f"{kind}xx"] - expected) <= max(1, sent * 0.01), (by_status, counted)
    assert totals["users"]["requests"] == pytest.approx(sent, rel=0.01)
    assert totals["hosp"]["attempts"] > 0 and totals["hosp"]["outcomes"]["5xx"] > 0
    assert await proxy.stop() == 0
    again = await processes.proxy(hosp.url, top=top, options=options, state=proxy.state)
    assert (await figures(again))["totals"]["users"]["requests"] == pytest.approx(sent, rel=0.01)
