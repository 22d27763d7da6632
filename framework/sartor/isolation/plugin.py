"""What stands in the place of a plugin that runs elsewhere: its tools are ours, and send each call to its process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from sartor.errors import PluginError, RunError, ToolError
from sartor.isolation.link import Launch, Link
from sartor.isolation.wire import Frame, Garbled, ToolForm, plain, told_turn
from sartor.isolationspec import IsolationSpec
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Turn

__all__ = ["IsolatedPlugin"]

_LEFT_OUT = object()
_MOST_WORDS = 2000
_MOST_FAULTS = 20
_CHECK_SECONDS = 30.0
_LONGEST_REST = 60.0
_MOST_STARTS = 32

Forms = Callable[[Callable[[], Sequence[ToolForm]]], Sequence[ToolForm]]
"""The tools of a plugin with its settings: as they are known, or asked for by what is given."""


@cache
def _threads() -> ThreadPoolExecutor:
    """Where it is waited for processes that start or end."""
    return ThreadPoolExecutor(_MOST_STARTS, thread_name_prefix="sartor-isolation")


class _NoSettings(PluginSettings):
    """The settings are the business of the plugin's own process."""


class IsolatedPlugin(Plugin):
    """A plugin of one bot that runs in a process of its own."""

    Settings: ClassVar[type[PluginSettings]] = _NoSettings

    def __init__(
        self, name: str, directory: Path, limits: IsolationSpec, launch: Callable[[BotInfo], Launch], forms: Forms
    ) -> None:
        """`launch` tells how a process for a bot is started."""
        super().__init__(_NoSettings(), directory)
        self.name = name
        self._seconds, self._start_seconds = limits.seconds, limits.start_seconds
        self._launch = launch
        self._forms = forms
        self._info: BotInfo | None = None
        self._link: Link | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._failures = 0
        self._rest_until = 0.0

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._link.pid if self._link is not None and not self._link.over else None

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        """The tools as the plugin's process tells them: one that knows the settings, and nothing of the bot."""
        self._info = bot
        return [self._tool(form) for form in self._forms(self._ask_for_tools)]

    async def check(self) -> Sequence[str]:
        answer = await self._ask({"do": "check"}, _CHECK_SECONDS)
        faults = answer.get("faults")
        if not isinstance(faults, list):
            return [f"its check failed: {_words(answer.get('raised'))}"]
        return [_words(fault) for fault in faults[:_MOST_FAULTS]]

    async def close(self) -> None:
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            await asyncio.get_running_loop().run_in_executor(_threads(), link.close)

    def _ask_for_tools(self) -> Sequence[ToolForm]:
        link = _ready(self._launch(BotInfo("", "", Path("."), Path("."))))
        try:
            return link.tools.result()
        finally:
            link.close()

    def _tool(self, form: ToolForm) -> Tool:
        model, names = _arguments(form)
        seconds = min(form.timeout or self._seconds, self._seconds)

        async def call(turn: Turn, **given: object) -> str:
            arguments = {names[key]: value for key, value in given.items() if value is not _LEFT_OUT}
            told = {"do": "call", "tool": form.name, "arguments": arguments, "turn": told_turn(turn)}
            return self._result(form.name, await self._ask(told, seconds))

        return Tool(
            form.name,
            form.description,
            call,
            model,
            acts=form.acts,
            timeout=seconds + self._start_seconds,  # the process may have to be started; the call itself has `seconds`
            audiences=form.audiences,
            from_user=form.from_user,
            for_flows=form.for_flows,
        )

    def _result(self, tool: str, answer: Frame) -> str:
        """The text that a tool gave. Raises `ToolError`, and `RunError` for what only the operator is told."""
        if "text" in answer:
            try:
                text = answer["text"]
                return plain(text, len(text) if isinstance(text, str) else 0)
            except Garbled as error:
                raise RunError(f"plugin {self.name!r}: {tool} gave {error}") from error
        if "refused" in answer:
            raise ToolError(_words(answer["refused"]), remedy=_words(answer.get("told", "")) or None)
        trace = _words(answer.get("trace", ""))
        raise RunError(f"plugin {self.name!r}: {tool} failed: {_words(answer.get('raised', ''))}\n{trace}")

    async def _ask(self, told: Mapping[str, object], seconds: float) -> Frame:
        """Have the bot's process do something. Raises `TimeoutError`, `RunError`."""
        for _ in range(2):
            link = self._link
            if link is None or link.over:
                link = await asyncio.get_running_loop().run_in_executor(_threads(), self._started)
            asked = link.ask(told, seconds)
            if asked is None:  # it ended just now
                continue
            number, answer = asked
            try:
                return await asyncio.wrap_future(answer)
            except asyncio.CancelledError:
                link.cancel(number)
                raise
        raise RunError(f"plugin {self.name!r}: its process ends as soon as it is there")

    def _started(self) -> Link:
        """The bot's process, started where there is none. Raises `RunError`."""
        with self._starting:
            if self._link is not None and not self._link.over:
                return self._link
            if self._closed or self._info is None:
                raise RunError(f"plugin {self.name!r} is closed")
            if (rest := self._rest_until - time.monotonic()) > 0:
                raise RunError(f"plugin {self.name!r} did not start and is tried again in {rest:.0f} seconds")
            try:
                link = _ready(self._launch(self._info))
            except PluginError as error:
                self._failures += 1
                self._rest_until = time.monotonic() + min(2.0**self._failures, _LONGEST_REST)
                raise RunError(error.what, where=error.where, remedy=error.remedy) from error
            self._failures = 0
            self._link = link
            return link


def _ready(launch: Launch) -> Link:
    """A process whose tools are known. Raises `PluginError`."""
    try:
        link = Link(launch)
    except RunError as error:
        raise PluginError(error.what, remedy=error.remedy) from error
    try:
        link.tools.result()
    except PluginError:
        link.close()
        raise
    return link


def _arguments(form: ToolForm) -> tuple[type[BaseModel], dict[str, str]]:
    """A model that knows which arguments there are and which must be given, and its fields with their names.

    What they must look like is checked in the plugin's process: a schema of a stranger's, with patterns and references,
    can be made so that a check of it never ends.
    """
    schema = dict(form.schema)

    class Named(BaseModel):
        model_config = ConfigDict(extra="forbid")

        @classmethod
        def model_json_schema(cls, *args: object, **kwargs: object) -> dict[str, JSONValue]:
            return schema

    properties, required = schema["properties"], schema.get("required")
    assert isinstance(properties, dict)
    needed = required if isinstance(required, list) else []
    names = {f"a{number}": key for number, key in enumerate(properties)}
    fields: dict[str, object] = {
        field: (JsonValue, Field(default=... if key in needed else _LEFT_OUT, alias=key))
        for field, key in names.items()
    }
    model: type[BaseModel] = create_model(f"{form.name}_arguments", __base__=Named, **fields)  # type: ignore[call-overload]
    return model, names


def _words(told: object) -> str:
    """What a plugin says, for a person: bounded, each of its lines marked as such."""
    try:
        lines = plain(told, _MOST_WORDS).splitlines()
    except Garbled:
        return ""
    clean = ("".join(one if one.isprintable() else "�" for one in line) for line in lines)
    return "\n  | ".join(clean)
