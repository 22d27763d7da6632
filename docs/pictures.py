"""Takes the pictures in the templates' READMEs: the widget, talking with a bot of each template on the built-in model.

    python docs/pictures.py              all of them, into docs/images/
    python docs/pictures.py booking      one

Needs the extras `local` and `serve`, selenium, and Chromium with its driver. Nothing on a picture is made up: a project
is made from the template, its documents are read, and `sartor serve` answers.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.scaffold import make_bot, make_project
from sartor.templates import find_template

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

IMAGES = Path(__file__).with_name("images")
TALKS: Mapping[str, Sequence[str]] = {
    "support": ("Where is my order BW-10011?", "I want to return my order BW-10012", "it does not fit"),
    "faq": ("Hello", "How long does delivery take?"),
    "booking": ("I'd like to book a check-up, I need an appointment", "next Tuesday", "10:30", "Where can I park?"),
    "sales": ("Do you have an orbital sander?", "I would like to get a quote", "Orbital sanders", "40"),
    "helpdesk": ("How many days of holiday do we have?", "I want to report a problem", "The screen flickers"),
    "concierge": ("When is the desk staffed?", "What does a lost ticket cost?", "I want to talk to a human"),
}
"""What is said to each."""
DOCUMENTS: Mapping[str, str] = {
    "faq": "# Delivery\n\nDelivery takes three working days. Delivery abroad takes a week.\n",
}
"""What is put into the knowledge of a template that starts without any."""
SIZE = (440, 700)
MOST = 60_000
"""Most bytes of a picture."""
PATIENCE = 120.0


def main() -> None:
    """Take the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", nargs="*", choices=[*TALKS, []], help="by default all")
    for name in parser.parse_args().templates or TALKS:
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder), name) as address, browser() as chrome:
            picture = talk(chrome, address, TALKS[name])
        if len(picture) > MOST:
            sys.exit(f"the picture of {name} has {len(picture)} bytes, more than {MOST}: say less to it")
        (IMAGES / f"template-{name}.png").write_bytes(picture)
        print(f"{name}: {len(picture)} bytes")


@contextmanager
def serving(root: Path, name: str) -> Iterator[str]:
    """The address of a chat with a bot made from the template `name`."""
    template = find_template(name)
    examples = {key: asked.example for key, asked in template.spec.values.items() if asked.example}
    make_project(root)
    made = make_bot(root, "demo", name, template, {**examples, "language": "en"})
    with (made.directory / "bot.yaml").open("a") as file:
        file.write("web: {anonymous: true}\n")
    with (root / "sartor.yaml").open("a") as file:
        file.write("\nbots: {grounding: {tool_results: verbatim}}\n")
    if name in DOCUMENTS:
        (made.directory / "knowledge" / "delivery.md").write_text(DOCUMENTS[name])
    sartor = [sys.executable, "-c", "from sartor.cli import main; main()"]
    subprocess.run([*sartor, "ingest", made.bot_id], cwd=root, check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    server = subprocess.Popen([*sartor, "serve", "--port", str(port)], cwd=root, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}/chat/{made.bot_id}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def browser() -> Iterator[Chrome]:
    """A browser with an empty profile."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield chrome
    finally:
        chrome.quit()


def talk(chrome: Chrome, address: str, said: Sequence[str]) -> bytes:
    """A picture of the chat at `address` after all that is `said`."""
    from selenium.webdriver import Keys

    width, height = SIZE
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.get(address)
    root = "const root = document.querySelector('sartor-chat')?.shadowRoot; return "
    until(chrome, f"{root} root?.querySelector('.box textarea')")
    for number, text in enumerate(said, start=1):
        chrome.execute_script(f"{root} root.querySelector('.box textarea')").send_keys(text, Keys.ENTER)
        until(chrome, f"{root} root.querySelectorAll('.turn').length >= {number} && !root.querySelector('.busy')")
        time.sleep(0.5)
    chrome.execute_script(f"{root} (root.activeElement?.blur(), root.querySelector('.log').scrollTop = 1e6)")
    time.sleep(1)
    taken = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
    return base64.b64decode(taken["data"])


def until(chrome: Chrome, script: str) -> None:
    """Wait until a script gives something true."""
    end = time.monotonic() + PATIENCE
    while not chrome.execute_script(script):
        if time.monotonic() > end:
            sys.exit(f"never true: {script}")
        time.sleep(0.1)


def wait_for(address: str) -> None:
    """Wait until the service is ready."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"{address} never answered")
            time.sleep(0.3)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
