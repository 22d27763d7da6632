"""The fixtures, and what they make of a test that is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import sartor
from sartor.testing import steady

WRONG = """
import contextlib, socket
import sartor
from sartor.testing import Call

def test_the_script_is_over(sartor_project):
    with sartor.open_sync(sartor_project(script=[])) as bots:
        assert bots["acme/support"].reply("Hi").error

def test_the_tool_is_not_there(scripted_model):
    with contextlib.suppress(AssertionError):
        scripted_model(Call("hours")).invoke("Hi")

def test_the_network_is_reached_for(network_guard):
    with contextlib.suppress(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
"""


def test_wrong_tests_fail_even_where_the_fault_is_caught(tmp_path):
    (tmp_path / "test_wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sartor.testing.fixtures", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed, 3 errors" in done.stdout, done.stdout
    for told in ("the script has 0 lines", "bound tools are []", "reached for the network: 192.0.2.1"):
        assert told in done.stdout


def test_pytest_is_imported_by_no_part_of_sartor_but_tests():
    code = "import sys, sartor.testing.script; assert not {'pytest', 'langchain_core'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_guard_lets_this_machine_through(network_guard):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    with pytest.raises(ConnectionRefusedError, match="no network in tests"):
        socket.getaddrinfo("example.org", 80)
    network_guard.refused.clear()


async def test_a_steady_bot_has_the_same_ids_and_times(sartor_project, frozen_clock):
    async def once():
        async with sartor.open(sartor_project(script=["One.", "Two."])) as bots:
            bot = steady(bots, "acme/support", frozen_clock)
            first = await bot.reply("Hi", user="u1")
            second = await bot.reply("And?", user="u1", conversation=first.turn.conversation)
            await bot.close()
            return [(reply.turn.id, reply.turn.started, reply.text) for reply in (first, second)]

    first = await once()
    frozen_clock.move(60)
    second = await once()
    assert [one[0] for one in first] == [one[0] for one in second]
    assert [(b[1] - a[1]).total_seconds() for a, b in zip(first, second, strict=True)] == [60, 60]
