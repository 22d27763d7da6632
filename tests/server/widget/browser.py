"""A headless Chromium, and what a test does with the widget on a page in it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mockservice import MockService
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,760",
)
PATIENCE = 10.0


def start(profile: Path) -> Chrome:
    """A browser with an empty profile; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium with chromedriver is not on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver, log_output=subprocess.DEVNULL))


@dataclass
class Site:
    """Pages of a company, at another origin than the service that they embed."""

    browser: Chrome
    mock: MockService
    pages: dict[str, tuple[str, dict[str, str]]]
    port: int
    served: Callable[[object], AbstractContextManager[int]]
    """Serves another application for a while, and gives its port."""

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def visit(self, attributes: str = "", *, html: str = 'lang="en"', csp: str = "", body: str = "") -> Site:
        """Load a page with the widget on it."""
        script = f'<script src="{self.service}/widget.js" data-bot="acme/support" {attributes}></script>'
        viewport = '<meta name="viewport" content="width=device-width,initial-scale=1,viewport-fit=cover">'
        head = f'<meta charset="utf-8">{viewport}<link rel="icon" href="data:,"><title>Lamps</title>'
        text = f"<!doctype html><html {html}><head>{head}</head><body><p>Lamps.</p>{body}{script}</body></html>"
        self.pages["shop"] = (text, {"Content-Security-Policy": csp} if csp else {})
        self.browser.get(f"{self.origin}/pages/shop")
        return self

    def js(self, script: str, *arguments: object) -> object:
        """Run `script` with `chat`, the element, and `root`, its shadow root."""
        head = "const chat = document.querySelector('sartor-chat'), root = chat?.shadowRoot;"
        return self.browser.execute_script(head + script, *arguments)

    def until(self, expression: str) -> object:
        """Wait until a JavaScript expression over `chat` and `root` is true; its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.js(f"return {expression}")):
            assert time.monotonic() < end, f"never true: {expression}; the log says {self.log()!r}"
            time.sleep(0.03)
        return value

    def soon(self, told: Callable[[], object]) -> object:
        """Wait until `told` gives something true."""
        end = time.monotonic() + PATIENCE
        while not (value := told()):
            assert time.monotonic() < end, "never true"
            time.sleep(0.03)
        return value

    def log(self) -> str:
        return str(self.js("return root?.querySelector('.log')?.innerText ?? ''"))

    def find(self, css: str) -> WebElement:
        self.until(f"root.querySelector({css!r})")
        return self.js(f"return root.querySelector({css!r})")  # type: ignore[return-value]

    def still(self, css: str) -> WebElement:
        """An element, once it has come in and rests: one that is still moving, or clear as glass, takes no input."""
        moving = "root.getAnimations().some((one) => one.effect.getComputedTiming().iterations !== Infinity)"
        seen = "checkVisibility({opacityProperty: true, visibilityProperty: true})"
        self.until(f"root.querySelector({css!r})?.{seen} && !{moving}")
        return self.find(css)

    def press(self, css: str) -> None:
        """Click an element that one can see."""
        self.still(css).click()

    def type(self, css: str, *text: str) -> None:
        """Type into an element that one can see."""
        self.still(css).send_keys(*text)

    def count(self, css: str) -> int:
        return int(self.js(f"return root.querySelectorAll({css!r}).length"))  # type: ignore[call-overload]

    def text(self, css: str) -> str:
        return str(self.until(f"root.querySelector({css!r})?.textContent"))

    def focused(self) -> str:
        """The accessible name, or else the class, of what has the focus within the widget."""
        return str(
            self.js("const at = root.activeElement; return at ? at.ariaLabel || at.textContent || at.className : ''")
        )

    def open(self) -> Site:
        """Open the panel and wait for the greeting."""
        self.press(".launcher")
        self.still(".greeting, .turn, .notice")
        return self

    def ask(self, text: str, *script: object, wait: bool = True) -> Site:
        """Send a message that the bot answers with `script`; wait for the end of the answer."""
        from selenium.webdriver import Keys

        if script:
            self.mock.script = list(script)  # type: ignore[arg-type]
        before = self.count(".turn")
        self.type(".box textarea", text, Keys.ENTER)
        self.until(f"root.querySelectorAll('.turn').length > {before}")
        if wait:
            self.until("!root.querySelector('.busy')")
        return self

    def cdp(self, command: str, **arguments: object) -> None:
        self.browser.execute_cdp_cmd(command, arguments)

    def network(self, *, offline: bool = False) -> None:
        """Cut the browser off, or connect it again."""
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.cdp("Network.emulateNetworkConditions", offline=offline, **speed)

    def console(self) -> list[str]:
        """What the browser complained of since the last time."""
        return [entry["message"] for entry in self.browser.get_log("browser")]
