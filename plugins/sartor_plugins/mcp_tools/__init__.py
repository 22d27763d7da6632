"""Tools of MCP servers, pinned to what they said of themselves when they were allowed."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as TooLong
from pathlib import Path
from typing import ClassVar

from sartor.errors import SartorError, ToolError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Turn

from sartor_plugins.mcp_tools.connection import Connection, in_background, wait_for
from sartor_plugins.mcp_tools.listing import Told, faults_of, keep, kept
from sartor_plugins.mcp_tools.results import shown
from sartor_plugins.mcp_tools.settings import McpSettings, McpToolSettings, ServerSettings
from sartor_plugins.reach.breaker import Breaker, Outage
from sartor_plugins.reach.making import Arguments, make_tool
from sartor_plugins.reach.sources import Secrets, check_source

__all__ = ["McpToolsPlugin"]

log = logging.getLogger("sartor.mcp-tools")


class McpToolsPlugin(Plugin):
    """The allowed tools of each server. One that is down, or whose tools changed, keeps no bot from starting."""

    Settings: ClassVar[type[PluginSettings]] = McpSettings
    hook_versions = "1"

    def __init__(self, settings: McpSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._servers = {name: Server(name, told, directory) for name, told in settings.servers.items()}

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        return [tool for server in self._servers.values() for tool in server.tools(bot)]

    async def check(self) -> Sequence[str]:
        return [fault for server in self._servers.values() for fault in await server.check()]

    async def close(self) -> None:
        for server in self._servers.values():
            await wait_for(server.close())


class Server:
    """One server, as one bot uses it."""

    def __init__(self, name: str, settings: ServerSettings, directory: Path) -> None:
        self.name = name
        self.settings = settings
        self._directory = directory
        self._secrets = Secrets(directory)
        self._connections: OrderedDict[str, Connection] = OrderedDict()

    def tools(self, bot: BotInfo) -> Sequence[Tool]:
        """Those that may be offered. Where all are pinned, and the list of an earlier time fits the pins, the server
        is not asked before the first call."""
        for value in self.settings.user_headers.values():
            check_source(value, f"user_headers of the MCP server {self.name!r}")
        path = bot.data / "mcp-tools" / f"{_plain(bot.bot)}-{_plain(self.name)}.json"
        listed: Mapping[str, Told] = kept(path)
        if faults_of(self.name, self.settings, listed):
            try:
                listed = in_background(self._look()).result(2 * self.settings.start_seconds + 15)
            except (SartorError, TooLong, OSError) as error:
                log.error("%s: the MCP server %s cannot be reached: %s", bot.id, self.name, self._why(error))
                if not listed:
                    return []
            else:
                keep(path, list(listed.values()))
        faults = faults_of(self.name, self.settings, listed)
        for fault in faults.values():
            log.error("%s: %s", bot.id, fault)
        return [self._tool(listed[tool], told) for tool, told in self.settings.tools.items() if tool not in faults]

    async def check(self) -> Sequence[str]:
        """What is wrong with the server and its tools, now."""
        try:
            listed = await wait_for(self._look())
        except SartorError as error:
            return [f"the MCP server {self.name!r} cannot be reached: {self._why(error)}"]
        return list(faults_of(self.name, self.settings, listed).values())

    async def close(self) -> None:
        """End all connections."""
        while self._connections:
            await self._connections.popitem()[1].close()

    async def _look(self) -> Mapping[str, Told]:
        connection = self._connection(None)
        try:
            return await connection.list()
        finally:
            await connection.close()

    def _why(self, error: Exception) -> str:
        """What the operator is told; of an outage, what is behind it."""
        if isinstance(error, Outage):
            return self._secrets.hide(error.remedy or error.what)
        return self._secrets.hide(str(error) or "it takes too long")

    def _tool(self, told: Told, settings: McpToolSettings) -> Tool:
        acts = not (self.settings.trust_hints and told.reads) if settings.acts is None else settings.acts
        breaker = Breaker(self.settings.failures, self.settings.rest)

        async def work(turn: Turn, arguments: Arguments) -> JSONValue:
            return await wait_for(self._call(told, turn, dict(arguments), again=not acts))

        name = settings.name or re.sub(r"[^A-Za-z0-9_-]+", "_", told.name).strip("_")[:64]
        describe = settings.describe or told.description or told.name
        return make_tool(name, describe, told.schema, work, settings, acts=acts, breaker=breaker)

    async def _call(self, told: Told, turn: Turn, arguments: dict[str, JSONValue], *, again: bool) -> str:
        def check(listed: Mapping[str, Told]) -> None:
            now = listed.get(told.name)
            if now is None or now.sha256 != told.sha256:
                for fault in faults_of(self.name, self.settings, listed).values():
                    log.error("%s/%s: %s", turn.tenant, turn.bot, fault)
                raise ToolError("it is not what it was when it was allowed, so it is not used")

        connection = await self._of(turn)
        return self._secrets.hide(shown(await connection.call(told.name, arguments, check, again)))

    async def _of(self, turn: Turn) -> Connection:
        """The connection for this turn: one for everybody, or one for each credential where users have their own."""
        connection = self._connection(turn)
        key = connection.key
        if key in self._connections:
            self._connections.move_to_end(key)
            return self._connections[key]
        self._connections[key] = connection
        idle = [other for other, each in self._connections.items() if not each.calls and other != key]
        for other in idle[: max(0, len(self._connections) - self.settings.connections)]:
            await self._connections.pop(other).close()
        return connection

    def _connection(self, turn: Turn | None) -> Connection:
        told = self.settings
        headers = self._secrets.headers(told.headers, turn) | self._secrets.headers(told.user_headers, turn)
        env = {name: self._secrets.value(text, turn) for name, text in told.env.items()}
        return Connection(self.name, told, self._directory, headers, env)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)
