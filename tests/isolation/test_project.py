"""Isolated plugins in a project: who decides, what is imported, what is shared."""

from __future__ import annotations

import asyncio
import time

import pytest
import sartor
from sartor.errors import PluginError
from sartor.lockfile import catalog_of, lock, write_lock
from sartor.project import Project

PLUGIN = '''
import os, sys
from pathlib import Path
from sartor import Plugin, PluginSettings, hookimpl, tool

class Settings(PluginSettings):
    word: str = "rain"

class Weather(Plugin):
    """The weather."""

    Settings = Settings

    @hookimpl
    def sartor_tools(self, bot):
        @tool
        def forecast(city: str) -> str:
            "The weather in a city."
            return f"{self.settings.word} in {city}, told by {os.getpid()}"

        return [forecast]

    async def check(self):
        return ["the sky is missing"]
'''
YAML = """
model: scripted
models:
  scripted: {plugin: scripted, script: [{call: forecast, arguments: {city: Cork}}, "It rains."]}
embeddings: null
index: {plugin: memory-index}
isolated_plugins:
  weather: {start_seconds: 100, seconds: 60, IDLE}
"""
BOT = "plugins: {weather: {}}\ngrounding: free\n"


def files(idle: str = "idle_seconds: 300") -> dict[str, str]:
    return {
        "sartor.yaml": YAML.replace("IDLE", idle),
        "plugins/weather.py": PLUGIN,
        "tenants/acme/support/bot.yaml": BOT,
        "tenants/zeta/support/bot.yaml": BOT,
    }


def ended(plugin, seconds: float = 30) -> bool:
    """Whether the process of a plugin ends soon."""
    deadline = time.monotonic() + seconds
    while plugin.pid is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    return plugin.pid is None


async def test_a_turn_uses_its_tools_and_nothing_is_imported_here(make_project):
    root = make_project(files())
    (root / "plugins/weather.py").write_text("sys = __import__('sys'); sys.weather_was_here = True\n" + PLUGIN)
    async with sartor.open(root) as bots:
        reply = await bots["acme/support"].reply("What is the weather in Cork?")
        use = reply.tools[0]
        assert use.result.text.startswith("rain in Cork, told by ") and reply.text == "It rains."
        assert await bots["acme/support"].plugins[0].check() == ["the sky is missing"]
    import sys

    assert not hasattr(sys, "weather_was_here")


async def test_tools_are_asked_for_once_for_all_bots_and_idle_processes_end(make_project):
    root = make_project(files("idle_seconds: 0.5"))
    async with sartor.open(root) as bots:
        one, other = bots["acme/support"].plugins[0], bots["zeta/support"].plugins[0]
        assert one.pid is None and other.pid is None
        await bots["acme/support"].reply("What is the weather in Cork?")
        assert other.pid is None
        assert await asyncio.to_thread(ended, one)


def test_a_bot_cannot_take_isolation_off(make_project):
    root = make_project({**files(), "tenants/acme/support/bot.yaml": BOT + "isolated_plugins: {}\n"})
    with sartor.open_sync(root) as bots, pytest.raises(sartor.SartorError, match="unknown key 'isolated_plugins'"):
        assert bots["acme/support"]


def test_one_that_is_not_trusted_is_no_model(make_project):
    root = make_project(files())
    with pytest.raises(PluginError, match="is isolated: its code does not run in this process"):
        catalog_of(Project(root)).load("weather")
    yaml = YAML.replace("IDLE", "idle_seconds: 9") + "  scripted: {start_seconds: 100}\n"
    root = make_project({**files(), "sartor.yaml": yaml})
    with sartor.open_sync(root) as bots, pytest.raises(PluginError, match="gives no model"):
        assert bots["acme/support"]


def test_the_lock_holds_for_it(make_project):
    root = make_project({**files(), "sartor.yaml": files()["sartor.yaml"] + "locked: true\n"})
    write_lock(root, lock(Project(root)))
    (root / "plugins/weather.py").write_text(PLUGIN + "# changed\n")
    with sartor.open_sync(root) as bots, pytest.raises(PluginError, match="weather: other files than when"):
        assert bots["acme/support"]


def test_the_command_line_looks_at_it_without_running_it(make_project):
    from click.testing import CliRunner
    from sartor.cli import cli

    root = make_project({**files(), "plugins/weather.py": "raise RuntimeError('it ran')"})
    done = CliRunner().invoke(cli, ["plugins", "weather", "--project", str(root)])
    assert done.exit_code == 0 and "It is isolated" in done.output
    for command in (["plugins", "weather", "--json-schema"], ["plugin", "check", "weather", "--no-types"]):
        done = CliRunner().invoke(cli, [*command, "--project", str(root)])
        assert done.exit_code != 0 and "it ran" not in done.output + str(done.exception), command
