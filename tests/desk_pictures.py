"""Take the pictures of the risk desk in the documents again: `.venv/bin/python -m tests.desk_pictures`.

Everything runs as with `portcullis up`, for a minute, until there is something to see.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from streams.desk.accounts import Accounts
from streams.desk.people import DeskRole
from streams.desk.settings import DeskSettings
from streams.local.readiness import free_ports
from streams.rig.live import LiveOptions, Running, run_live
from streams.settings import Settings
from tests.browser import chromium, signed_in

FOLDER = Path(__file__).parent.parent / "topology" / "images"
CHOSEN = "correct horse battery staple"
PERSON = "cfo@acme"
BUSY_S = 75
WIDE = {"width": 1360, "height": 820}
PHONE = {"width": 390, "height": 760}


def take(url: str) -> list[str]:
    errors: list[str] = []
    with chromium() as browser:
        page = signed_in(browser, url, PERSON, CHOSEN, errors, viewport=WIDE, color_scheme="dark")
        page.keyboard.press("s")
        page.get_by_text("a market").click()
        page.locator("#order-target").select_option("ETH_USDT")
        page.fill("#order-reason", "Unusual orders")
        page.fill("#order-confirm", "ETH_USDT")
        page.click("dialog .danger")
        page.wait_for_selector("#watched .verdict.good")
        page.wait_for_function("() => Number(document.querySelector('#watched .figures dd').textContent) > 30")
        page.screenshot(path=FOLDER / "desk-proof.png")
        page.keyboard.press("Escape")
        page.screenshot(path=FOLDER / "desk-dark.png")
        page.emulate_media(color_scheme="light")
        page.reload()
        page.click('#bot-table tr[data-id="fat-finger-01"]')
        time.sleep(3)
        page.screenshot(path=FOLDER / "desk-light.png")
        phone = signed_in(browser, url, PERSON, CHOSEN, errors, viewport=PHONE, color_scheme="dark")
        time.sleep(2)
        phone.screenshot(path=FOLDER / "desk-phone.png")
    return errors


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    ready: list[Running] = []
    is_up, stop = threading.Event(), threading.Event()

    def tell(running: Running) -> None:
        ready.append(running)
        is_up.set()

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        accounts = Accounts(home / "desk" / "users.json")
        accounts.add(PERSON, DeskRole.RISK)
        accounts.choose(PERSON, CHOSEN)
        thread = threading.Thread(
            target=run_live,
            args=(Settings(home=home), DeskSettings(port=free_ports(1)[0]), LiveOptions(20, 80, 1)),
            kwargs={"ready": tell, "stop": stop},
        )
        thread.start()
        try:
            is_up.wait(120)
            time.sleep(BUSY_S)
            errors = take(ready[0].url)
        finally:
            stop.set()
            thread.join()
    sys.stdout.write("".join(f"{text}\n" for text in errors))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
