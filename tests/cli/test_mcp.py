"""`sartor mcp` where it cannot serve. Where it can: `tests/test_mcpserver.py`."""

from __future__ import annotations

import socket
import sys

import pytest

BOT = "acme/support"
FILES = {"tenants/acme/support/bot.yaml": "title: Acme Help\naudiences: {business: {}}\n"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["acme/nobody"], "acme/nobody"),
        ([BOT, "--audience", "martians"], "It knows: business."),
        ([BOT, "--language", "xx"], "knows no language 'xx'"),
        ([BOT, "--http", "0.0.0.0:8765"], "sartor serve"),
        ([BOT, "--http", "example.org:8765"], "sartor serve"),
        ([BOT, "--http", "[::]:8765"], "sartor serve"),
        ([BOT, "--http", "8765x"], "HOST:PORT"),
        ([BOT, "--http", "127.0.0.1:99999"], "HOST:PORT"),
    ],
)
def test_what_cannot_be_served_is_told_on_standard_error(sartor, make_project, arguments, told):
    ran = sartor("mcp", *arguments, "-p", make_project(FILES))
    assert ran.code == 2 and ran.out == "" and told in ran.err


def test_without_the_sdk_it_says_what_to_install(sartor, make_project, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    ran = sartor("mcp", BOT, "-p", make_project(FILES))
    assert ran.code == 2 and "pip install 'sartor[mcp]'" in ran.err


def test_a_port_that_is_taken_is_named(sartor, make_project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = sartor("mcp", BOT, "--http", f"127.0.0.1:{port}", "-p", make_project(FILES))
    assert ran.code == 2 and f"port {port}" in ran.err
