"""A declared HTTP request as a tool.

::

    http:
      requests:
        open_ticket:
          describe: Open a ticket at the help desk.
          method: POST
          url: https://desk.example/api/queues/{queue}/tickets
          headers: {authorization: "Bearer env:DESK_TOKEN"}
          body: {subject: "{subject}", from: "{customer}", source: chat}
          arguments:
            queue: {choices: [repairs, returns]}
            subject: {describe: What it is about, in one line, longest: 120}
            customer: {}
          bind: {customer: "turn:user"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, JsonValue
from sartor.errors import PluginError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Turn

from sartor_plugins.reach.breaker import Breaker
from sartor_plugins.reach.making import Arguments, make_tool
from sartor_plugins.reach.picking import columns_of, pick
from sartor_plugins.reach.settings import ArgumentSettings, RequestSettings, ToolName, ToolSettings, schema_of
from sartor_plugins.reach.sources import check_source
from sartor_plugins.reach.web import Request, Service, close_clients, idempotency_key, path_part, text_of

__all__ = ["HttpPlugin", "HttpSettings", "RequestToolSettings"]

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FIXED = re.compile(r"^https?://[^/?#{}\s]+(?=[/?#]|$)")


class RequestToolSettings(ToolSettings, RequestSettings):
    """One tool: the request that it sends."""

    describe: str = Field(min_length=1)
    """What the tool is for: the model chooses by it."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(pattern=r"^https?://[^\s/]+")
    """The address. ``{name}`` in its path or query stands for an argument; host and port are fixed."""
    arguments: dict[str, ArgumentSettings] = Field(default_factory=dict)
    """What the model gives, and what `bind` sets. One that stands nowhere else is sent as a query parameter."""
    body: JsonValue = None
    """JSON to send. A text that is ``{name}`` becomes the argument's value, of its own type; within a longer text, the
    argument's text."""
    acts: bool | None = None
    """Whether it changes something. By default all but GET and HEAD do."""
    pick: list[str | int] = Field(default_factory=list)
    """The keys that lead to the part of the answer that the model is shown, such as ``[data, orders]``."""
    columns: list[str] = Field(default_factory=list)
    """The only keys of that part, or of each of its items, that the model is shown; empty: all."""


class HttpSettings(PluginSettings):
    """Settings of the plugin `http`."""

    requests: dict[ToolName, RequestToolSettings] = Field(min_length=1)


class HttpPlugin(Plugin):
    """One tool for each entry of `requests`."""

    Settings: ClassVar[type[PluginSettings]] = HttpSettings
    hook_versions = "1"

    def __init__(self, settings: HttpSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._services = {name: Service(told, directory) for name, told in settings.requests.items()}
        self._told = settings.requests

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        return [_make_tool(name, told, self._services[name]) for name, told in self._told.items()]

    async def close(self) -> None:
        await close_clients(list(self._services.values()))


def _make_tool(name: str, told: RequestToolSettings, service: Service) -> Tool:
    _check(name, told)
    placed = {*_PLACE.findall(told.url), *_PLACE.findall(json.dumps(told.body))}

    async def work(turn: Turn, arguments: Arguments) -> JSONValue:
        defaults = {key: argument.default for key, argument in told.arguments.items() if argument.default is not None}
        values: dict[str, JSONValue] = {**defaults, **arguments}
        rest = [(key, text_of(value)) for key, value in values.items() if key not in placed]
        address, _, query = told.url.partition("?")
        request = Request(
            told.method,
            _PLACE.sub(lambda found: path_part(found[1], values.get(found[1])), address)
            + (f"?{_PLACE.sub(lambda found: quote(text_of(values.get(found[1])), safe=''), query)}" if query else ""),
            query=rest,
            body=_filled(told.body, values),
            key=idempotency_key(turn, name, arguments),
        )
        answer = await service.ask(request, turn)
        found = pick(answer.body, told.pick)
        return "nothing was found" if found in (None, "") else columns_of(found, told.columns)

    acts = told.method not in ("GET", "HEAD") if told.acts is None else told.acts
    return make_tool(
        name, told.describe, schema_of(told.arguments), work, told, acts=acts, breaker=Breaker(told.failures, told.rest)
    )


def _check(name: str, told: RequestToolSettings) -> None:
    if not _FIXED.match(told.url):
        raise PluginError(f"http: the host of the tool {name!r} is not fixed", remedy="Write it into `url`.")
    placed = {*_PLACE.findall(told.url), *_PLACE.findall(json.dumps(told.body))}
    if unknown := sorted(placed - told.arguments.keys()):
        raise PluginError(
            f"http: the tool {name!r} has no argument {unknown[0]!r}, which its url or body names",
            remedy="Declare it under `arguments`.",
        )
    for value in (*told.headers.values(), *told.query.values(), *told.basic):
        check_source(value, f"http: the tool {name!r}")


def _filled(template: JSONValue, values: Mapping[str, JSONValue]) -> JSONValue:
    """`template` with its arguments. What was left out is left out of objects, too."""
    if isinstance(template, str):
        if whole := _PLACE.fullmatch(template):
            return values.get(whole[1])
        return _PLACE.sub(lambda found: text_of(values.get(found[1])), template)
    if isinstance(template, dict):
        filled = {key: (_filled(each, values), each) for key, each in template.items()}
        return {key: value for key, (value, each) in filled.items() if value is not None or each is None}
    if isinstance(template, list):
        return [_filled(each, values) for each in template]
    return template
