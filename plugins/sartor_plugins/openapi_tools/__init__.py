"""Operations of an OpenAPI description as tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sartor.errors import PluginError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo

from sartor_plugins.openapi_tools.calling import Call
from sartor_plugins.openapi_tools.description import read_description
from sartor_plugins.openapi_tools.settings import OpenAPISettings, ServiceSettings
from sartor_plugins.reach.breaker import Breaker
from sartor_plugins.reach.making import make_tool
from sartor_plugins.reach.sources import check_source
from sartor_plugins.reach.web import Service, close_clients

__all__ = ["OpenAPIPlugin"]


class OpenAPIPlugin(Plugin):
    """One tool for each operation that is named."""

    Settings: ClassVar[type[PluginSettings]] = OpenAPISettings
    hook_versions = "1"

    def __init__(self, settings: OpenAPISettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._told = settings.services
        self._services = {name: Service(told, directory) for name, told in self._told.items()}

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        return [tool for name, told in self._told.items() for tool in self._tools(name, told)]

    async def close(self) -> None:
        await close_clients(list(self._services.values()))

    def _tools(self, name: str, told: ServiceSettings) -> Sequence[Tool]:
        for value in (*told.headers.values(), *told.query.values(), *told.basic):
            check_source(value, f"openapi: the service {name!r}")
        description = read_description(told.file, self.directory)
        url = told.url or description.url
        if not url:
            raise PluginError(
                f"openapi: it is not known where the service {name!r} is", remedy="Write its address as `url`."
            )
        tools = []
        for wanted, settings in told.operations.items():
            operation = description.operation(wanted)
            label = settings.name or re.sub(r"[^A-Za-z0-9_-]+", "_", operation.id).strip("_")[:64]
            describe = settings.describe or operation.describe
            if not describe:
                raise PluginError(
                    f"openapi: the operation {wanted!r} does not say what it is for", remedy="Write it as `describe`."
                )
            acts = operation.method not in ("GET", "HEAD") if settings.acts is None else settings.acts
            call = Call(operation, settings, self._services[name], url)
            tools.append(
                make_tool(
                    label,
                    describe,
                    operation.schema,
                    call,
                    settings,
                    acts=acts,
                    breaker=Breaker(told.failures, told.rest),
                )
            )
        return tools
