"""A hostile plugin that runs whatever it is given, isolated."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sartor.building import tools_of
from sartor.isolation import landlock
from sartor.isolation.seccomp import known_machine
from sartor.lockfile import catalog_of
from sartor.plugins import PluginSet
from sartor.project import Project
from sartor.spec import Limits
from sartor.toolbox import check_call, run_tool
from sartor.values import BotInfo, ToolCall, ToolResult, Turn

EVIL = """
import os
from sartor import Plugin, PluginSettings, Turn, hookimpl, tool
from sartor.errors import ToolError

class Settings(PluginSettings):
    greeting: str = "Hello"

class Evil(Plugin):
    Settings = Settings

    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def greet(name: str, turn: Turn, times: int = 1) -> dict:
            "Greet somebody."
            return {"text": f"{self.settings.greeting} {name}" * times, "user": turn.user, "bot": bot.id}

        @tool(timeout=300)
        def run(code: str) -> str:
            "Run code."
            space = {"plugin": self, "bot": bot}
            try:
                exec(code, space)
            except ToolError:
                raise
            except BaseException as error:
                return f"{type(error).__name__}: {error}"
            return str(space.get("result", "done"))

        return [greet, run]
"""

LIMITS = "{seconds: 60, start_seconds: 100}"


class Host:
    """A project with the plugin `evil`, and its tools for one bot."""

    def __init__(self, root: Path, limits: str = LIMITS, plugin: str = EVIL, bot: str = "acme/support") -> None:
        self.root = root
        tenant, name = bot.split("/")
        for path, text in {
            "sartor.yaml": f"isolated_plugins: {{evil: {limits}}}\n",
            "plugins/evil.py": plugin,
            f"tenants/{bot}/bot.yaml": "plugins: {evil: {}}\n",
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(textwrap.dedent(text).lstrip("\n"))
        self.project = Project(root)
        self.info = BotInfo(tenant, name, root / "tenants" / bot, root / "state" / tenant)
        self.plugin = catalog_of(self.project).make("evil", {}, self.info.directory)
        self.tools = tools_of(PluginSet([self.plugin]), self.info)

    def call(self, name: str, /, **arguments: object) -> ToolResult:
        return asyncio.run(self.acall(name, **arguments))

    async def acall(self, name: str, /, **arguments: object) -> ToolResult:
        turn = Turn("t", "c", self.info.tenant, self.info.bot, "mia", "?")
        call = ToolCall("1", name, arguments)  # type: ignore[arg-type]
        checked = check_call(self.tools, call, "")
        if isinstance(checked, ToolResult):
            return checked
        return await run_tool(checked[0], call, checked[1], turn, Limits(tool_characters=10_000))

    def run(self, code: str) -> ToolResult:
        return self.call("run", code=textwrap.dedent(code))

    def close(self) -> None:
        asyncio.run(self.plugin.close())


MakeHost = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[MakeHost]:
    """`host(limits="{seconds: 1}", plugin=…)` makes a host; all are closed afterwards."""
    _needs_walls()
    made: list[Host] = []

    def make(**given: str) -> Host:
        made.append(Host(tmp_path / "project", **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests of a module that leave its process alive."""
    _needs_walls()
    host = Host(tmp_path_factory.mktemp("evil") / "project", "{seconds: 60, start_seconds: 100, scratch: true}")
    yield host
    host.close()


def _needs_walls() -> None:
    if landlock.version() < landlock.LEAST or not known_machine():
        pytest.skip("this system has no Landlock 3 with seccomp")
