"""Makes the pictures of the audit, status and contract pages in docs/, with invented people, the same at every run.

make screenshots
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from playwright.sync_api import Browser
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from hospproxy.contract.page import PAGE_PATH, ContractPage
from hospproxy.http.messages import Request
from tests.rig import CONTRACT

from .audit_page_server import PASSWORD, USER, made_up, serve_page
from .chromium import browse, context
from .status_page_server import serve_status

STATUS = (
    ("status.png", (1920, 1080), "light"),
    ("status-phone.png", (390, 844), "dark"),
)
CONTRACT_PAGE = (("openapi.png", (1280, 800), "light"),)
DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = (
    ("audit-page.png", "/audit?staff=staff2", (1280, 900), "light", "screen"),
    ("audit-page-phone.png", "/audit/patients/7", (390, 760), "dark", "screen"),
    ("audit-report.png", "/audit/patients/7/disclosures", (794, 760), "light", "print"),
)


def _take(browser: Browser, url: str) -> None:
    for name, target, size, scheme, media in PICTURES:
        page = context(browser, (USER, PASSWORD), size, scheme=scheme).new_page()
        page.goto(url + target)
        page.emulate_media(media=cast(Any, media), color_scheme=cast(Any, scheme))
        page.screenshot(path=DOCS / name)
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def _take_status(browser: Browser, url: str) -> None:
    for name, size, scheme in STATUS:
        page = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=cast(Any, scheme)
        ).new_page()
        page.goto(url + "/status#1h")
        page.wait_for_selector(".uplot canvas")
        page.screenshot(path=DOCS / name)
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def _take_contract(browser: Browser) -> None:
    content = ContractPage(CONTRACT).answer(Request("GET", PAGE_PATH)).body.decode()
    for name, size, scheme in CONTRACT_PAGE:
        page = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=cast(Any, scheme)
        ).new_page()
        page.set_content(content)
        page.screenshot(path=DOCS / name)
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


async def _all(clock: Any) -> None:
    await deferToThread(browse, _take_contract)
    with tempfile.TemporaryDirectory() as folder:
        served = serve_page(clock, Path(folder), reader=made_up(hostile=False))
        try:
            await deferToThread(browse, lambda browser: _take(browser, served.url))
        finally:
            await served.stop()
        status = serve_status(clock, Path(folder))
        try:
            await deferToThread(browse, lambda browser: _take_status(browser, status.url))
        finally:
            await status.stop()


if __name__ == "__main__":
    task.react(lambda clock: Deferred.fromCoroutine(_all(clock)))
