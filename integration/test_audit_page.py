"""The audit page in a real browser, and through the running proxy."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import pytest_twisted
from playwright.sync_api import Browser, Page
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from .audit_page_server import HOSTILE, PASSWORD, USER, ServedPage, serve_page
from .chromium import AXE, DESK, HOME, OF_COLOURS, PHONE, WALL, axe, browse, context, overflow
from .http_client import ask
from .processes import Processes

T = TypeVar("T")
LOGIN = (USER, PASSWORD)
PAGES = {
    "start": "/",
    "search": "/audit?own=1",
    "further": "/audit?request_id=hostile",
    "nothing": "/audit?staff=nobody",
    "mistake": "/audit?status=9",
    "trouble": "/audit/trouble",
    "quiet": "/audit/trouble?window=1h",
    "patient": "/audit/patients/7",
    "report": "/audit/patients/7/disclosures",
    "record": "/audit/records/t1/w0/60",
    "missing": "/audit/nothing",
}


@pytest_twisted.async_yield_fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedPage]:
    """The page over a day's records."""
    opened = serve_page(cast(Any, reactor), tmp_path)
    yield opened
    await opened.stop()


async def in_browser(work: Callable[[Browser], T]) -> T:
    return cast(T, await deferToThread(browse, work))


def here(page: Page) -> str:
    """Path and query of a page's address."""
    return page.url.partition("://")[2].partition("/")[2]


@pytest_twisted.ensureDeferred
async def test_two_clicks_to_who_has_looked_at_patient_7(served: ServedPage) -> None:
    def work(browser: Browser) -> tuple[str, str]:
        page = context(browser, LOGIN).new_page()
        page.goto(served.url)
        page.get_by_role("link", name="Audit trail").click()
        page.get_by_role("link", name="7", exact=True).first.click()
        people = page.get_by_role("table").first
        return here(page), people.inner_text()

    where, people = await in_browser(work)
    assert where == "audit/patients/7"
    assert "staff1" in people and "staff2" in people
    assert [look["route"] for look in served.journal.looks] == ["/audit", "/audit/patients/{id}"]


@pytest_twisted.ensureDeferred
async def test_all_of_it_without_a_mouse_and_without_scripts(served: ServedPage) -> None:
    """Only Tab and Enter: skip the bar, fill in the form, remove a filter."""

    def work(browser: Browser) -> list[str]:
        page = context(browser, LOGIN, scripts=False).new_page()
        page.goto(served.url + "/audit")
        focused = page.locator(":focus")
        page.keyboard.press("Tab")
        seen = [focused.inner_text()]
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        seen.append(focused.get_attribute("name") or "")
        page.keyboard.type("staff2")
        page.keyboard.press("Tab")
        page.keyboard.type("7")
        page.keyboard.press("Enter")
        page.wait_for_url("**/audit?*staff=staff2*")
        chips = page.get_by_role("list", name="Active filters")
        seen.append(chips.inner_text().replace("\n", " "))
        tab_to(page, "remove this filter")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "staff=" not in url)
        seen.append(here(page))
        return seen

    seen = await in_browser(work)
    assert seen[:2] == ["Skip to the content", "staff"]
    assert "staff2" in seen[2] and "7" in seen[2]
    assert seen[3] == "audit?patient=7"


def tab_to(page: Page, words: str) -> None:
    """Press Tab until an element with this text has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if any(words in text for text in page.locator("a:focus, button:focus").all_inner_texts()):
            return
    raise AssertionError(f"no Tab leads to {words!r}")


@pytest_twisted.ensureDeferred
async def test_axe_finds_nothing_serious(served: ServedPage, processes: Processes) -> None:
    await install(processes)

    def work(browser: Browser) -> dict[str, list[str]]:
        found = {}
        for size in (DESK, PHONE):
            page = context(browser, LOGIN, size, scripts=True).new_page()
            for name, target in PAGES.items():
                page.goto(served.url + target)
                page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
                found[f"{name} light {size[0]}"] = axe(page)
                page.emulate_media(color_scheme="dark")
                found[f"{name} dark {size[0]}"] = axe(page, *OF_COLOURS)
                page.emulate_media(color_scheme="light")
        return {name: problems for name, problems in found.items() if problems}

    assert await in_browser(work) == {}


@pytest.mark.parametrize("size", [PHONE, (320, 640), (740, 600), DESK, WALL], ids=str)
@pytest_twisted.ensureDeferred
async def test_nothing_stands_out_at_the_side(served: ServedPage, size: tuple[int, int]) -> None:
    def work(browser: Browser) -> dict[str, float]:
        page = context(browser, LOGIN, size, scripts=True).new_page()
        found = {}
        for name, target in PAGES.items():
            page.goto(served.url + target)
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            found[name] = overflow(page)
        return {name: pixels for name, pixels in found.items() if pixels > 0.5}

    assert await in_browser(work) == {}


@pytest_twisted.ensureDeferred
async def test_what_is_hostile_stays_text_and_nothing_else_is_fetched(served: ServedPage) -> None:
    def work(browser: Browser) -> tuple[list[str], list[str], str]:
        page = context(browser, LOGIN, scripts=True).new_page()
        fetched: list[str] = []
        mistakes: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        page.on("dialog", lambda dialog: mistakes.append(dialog.message))
        page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
        for target in PAGES.values():
            page.goto(served.url + target)
            assert page.title() != "1"
        page.goto(served.url + PAGES["further"])
        return fetched, mistakes, page.get_by_role("table").inner_text()

    fetched, mistakes, shown = await in_browser(work)
    assert all(url.startswith(served.url + "/") for url in fetched)
    assert [words for words in mistakes if "400" not in words and "404" not in words] == []
    assert HOSTILE[:20] in shown and "\\u{202e}" in shown


@pytest_twisted.ensureDeferred
async def test_the_report_is_fit_to_print(served: ServedPage, tmp_path: Path) -> None:
    """A4, the header of the table on every page, and no button on paper."""

    def work(browser: Browser) -> tuple[bytes, bool, str]:
        page = context(browser, LOGIN).new_page()
        page.goto(served.url + PAGES["report"])
        page.emulate_media(media="print")
        pdf = page.pdf(prefer_css_page_size=True)
        return pdf, page.get_by_role("navigation").first.is_visible(), page.locator(".facts").inner_text()

    pdf, bar, facts = await in_browser(work)
    assert not bar
    assert "Made by" in facts and USER in facts
    assert pdf.count(b"/Type /Page\n") >= 2
    assert b"/MediaBox [0 0 594.95" in pdf or b"/MediaBox [0 0 595" in pdf


async def install(processes: Processes) -> None:
    """Install what ``make environment`` installs, if it is missing."""
    if not AXE.exists():
        npm = shutil.which("npm")
        assert npm is not None, "npm is not installed: make environment"
        ran = await processes.run("npm", npm, "ci", "--no-audit", "--no-fund", cwd=HOME)
        assert ran.status == 0, ran.log


@pytest_twisted.ensureDeferred
async def test_through_the_running_proxy(processes: Processes) -> None:
    """The first user's password is in a file; a look and a wrong password are recorded."""
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    log = await proxy.until_said("The audit page's first user is auditor")
    password_file = proxy.state / "audit-page-password"
    password = password_file.read_text().strip()
    assert password not in log and str(password_file) in log
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert (await ask(proxy.admin_url, "GET", "/audit")).status == 401
    right = await ask(proxy.admin_url, "GET", "/audit?patient=7", user=USER, password=password)
    wrong = await ask(proxy.admin_url, "GET", "/audit", user="no such user", password=password)
    assert wrong.status == 401
    one, other = (record for record in proxy.records() if record["kind"] == "look")
    assert (one["who"]["name"], one["status"], one["action"]) == (USER, right.status, "search")
    assert (other["action"], other["who"]["name"], other["status"]) == ("log-in failure", None, 401)
    rebound = await ask(
        proxy.admin_url, "GET", "/audit", user=USER, password=password, headers={"Host": "evil.example"}
    )
    assert rebound.status == 421
    assert await proxy.stop() == 0
    assert password not in "".join(
        path.read_text(errors="replace") for path in (proxy.state / "audit").glob("*.jsonl")
    )
