"""A real Chromium for tests: Debian's, found by its path; none is downloaded."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or ""
# As root in a closed network: no sandbox of its own, and no talk with its maker's hosts.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WAIT_MS = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def signed_in(browser: Browser, url: str, name: str, password: str, errors: list[str], **context: Any) -> Page:
    """Return a page of the desk after its sign-in; what its console complains of goes to `errors`."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url + "/")
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("#password-form button")
    page.wait_for_selector("#bot-table tbody tr[data-id]:visible")
    return page


def serious(page: Page, part: str = "html") -> list[str]:
    """Return what axe finds on a page, or a part of it, that is serious or critical, with where."""
    found = Axe().run(page, context=part, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{violation['id']}: {[node['target'] for node in violation['nodes']][:3]}"
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
