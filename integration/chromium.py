"""A browser for tests: Debian's Chromium, headless, driven from a thread of its own.

shown = await deferToThread(browse, lambda browser: look_at(browser, place.url))
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

T = TypeVar("T")

HOME = Path(__file__).with_name("browser")
AXE = HOME / "node_modules" / "axe-core" / "axe.min.js"
DESK, PHONE, WALL = (1280, 860), (390, 844), (2560, 1440)
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe-core that look at colours. All others judge a page alike in a light and a dark scheme."""


def chromium() -> str:
    """Path of Chromium.

    :raise AssertionError: it is not installed (the package is called chromium).
    """
    found = shutil.which("chromium")
    assert found is not None, "chromium is not installed: make environment"
    return found


def browse(work: Callable[[Browser], T]) -> T:
    """Run a function with a browser, then close the browser. It blocks: never call it in the reactor's thread."""
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox; it loads only our own pages.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            return work(browser)
        finally:
            browser.close()


def context(
    browser: Browser,
    user: tuple[str, str],
    size: tuple[int, int] = DESK,
    *,
    scheme: str = "light",
    scripts: bool = False,
) -> BrowserContext:
    """A separate browser window.

    :param user: name and password.
    :param size: in CSS pixels.
    :param scheme: "light" or "dark".
    :param scripts: whether scripts run. The page has none and its policy allows none; axe needs them.
    """
    more: dict[str, Any] = {"color_scheme": scheme}
    return browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        http_credentials={"username": user[0], "password": user[1]},
        java_script_enabled=scripts,
        bypass_csp=scripts,
        ignore_https_errors=True,
        **more,
    )


def overflow(page: Page) -> float:
    """CSS pixels by which the page is wider than its window."""
    return float(page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth"))


def axe(page: Page, *rules: str) -> list[str]:
    """Problems that axe-core rates serious or critical, each with its location.

    :param rules: only these; all if there are none.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["passes"], "axe has looked at nothing"
    return [
        f"{each['impact']}: {each['id']} at {json.dumps([node['target'] for node in each['nodes']])[:600]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
