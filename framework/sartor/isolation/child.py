"""What runs in the process of an isolated plugin: the plugin, behind walls, and a loop that takes calls.

Started by `sartor.isolation.process` with the number of a socket. Whatever the plugin does to this module's objects,
it does to its own bot's calls only: the other side trusts nothing that comes from here.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from sartor.building import tools_of
from sartor.errors import PluginError, SartorError, ToolError
from sartor.isolation.walls import Walls, die_with_parent, missing, raise_walls
from sartor.isolation.wire import Decoder, Frame, frame, info_of, turn_of
from sartor.plugins import GROUP, Catalog, Known, PluginSet

if TYPE_CHECKING:
    from sartor.plugin import Plugin
    from sartor.tools import Tool

__all__ = ["main"]

_LONGEST = 1 << 30
"""Bytes of a frame: what is asked for was made by a process that is trusted."""
_THREADS = 16
_STACK = 1 << 20
_PIECE = 1 << 16


class _Post:
    """Sends frames, from any thread, each whole."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._writing = threading.Lock()

    def send(self, told: Mapping[str, object]) -> None:
        data = frame(told)
        with self._writing:
            self._channel.sendall(data)


class _Server:
    """Takes calls of the tools, any number at once."""

    def __init__(self, post: _Post, plugin: Plugin, tools: Mapping[str, Tool], longest: int) -> None:
        self._post = post
        self._plugin = plugin
        self._tools = tools
        self._longest = longest
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")

    def take(self, told: Frame) -> None:
        number = cast("int", told["call"])
        if told["do"] == "cancel":
            if task := self._tasks.get(number):
                task.cancel()
            return
        self._tasks[number] = asyncio.get_running_loop().create_task(self._serve(number, told))

    async def _serve(self, number: int, told: Frame) -> None:
        try:
            answer = await self._answer(told)
        except asyncio.CancelledError:
            answer = {"cancelled": True}
        except ValidationError as error:
            answer = {"refused": f"it was called wrongly: {_faults(error)}"}
        except ToolError as error:
            answer = {"refused": error.what, "told": str(error)}
        except Exception as error:
            answer = {"raised": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-8)[-4000:]}
        finally:
            del self._tasks[number]
        self._post.send({"call": number, **answer})

    async def _answer(self, told: Frame) -> dict[str, object]:
        if told["do"] == "check":
            return {"faults": [str(fault) for fault in await self._plugin.check()]}
        if told["do"] == "close":
            result: object = self._plugin.close()
            if inspect.isawaitable(result):
                await result
            return {"closed": True}
        tool = self._tools.get(str(told["tool"]))
        if tool is None:
            raise ToolError("it is not there for this bot")
        checked = tool.arguments.model_validate(told["arguments"])
        given = {name: getattr(checked, name) for name in type(checked).model_fields}
        if tool.takes_turn:
            given["turn"] = turn_of(cast("Frame", told["turn"]))
        if inspect.iscoroutinefunction(tool.function):
            value = await tool.function(**given)
        else:
            work = partial(tool.function, **given)
            value = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            if inspect.isawaitable(value):
                value = await value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if len(text) * 6 > self._longest and len(json.dumps(text)) > self._longest - 1000:
            return {"raised": f"its result has {len(text)} characters, which is more than result_bytes lets through"}
        return {"text": text}


def main() -> None:
    """Work until the socket ends; then stop at once, whatever is being done."""
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[3]))
    post = _Post(channel)
    try:
        _work(channel, post)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _work(channel: socket.socket, post: _Post) -> None:
    hello = _hello(channel)
    lacks = missing()
    if lacks and hello["strict"]:
        return post.send({"lacks": lacks})
    raise_walls(Walls(**cast("dict[str, object]", hello["walls"])))  # type: ignore[arg-type]
    # Only now are there other threads: walls hold in the thread that raised them, and in those that come after.
    post.send({"lacks": lacks})
    threading.stack_size(_STACK)
    try:
        server = _server(hello, post)
    except SartorError as error:
        return post.send({"fault": {"what": error.what, "where": error.where, "remedy": error.remedy}})
    return asyncio.run(_serve(channel, server))


def _hello(channel: socket.socket) -> Frame:
    decoder = Decoder(_LONGEST)
    while data := channel.recv(_PIECE):
        for told in decoder.feed(data):
            return told
    raise EOFError("nobody says what is to be done")


async def _serve(channel: socket.socket, server: _Server) -> None:
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[Frame] = asyncio.Queue()
    threading.Thread(target=_listen, args=(channel, loop, frames), daemon=True).start()
    while True:
        server.take(await frames.get())


def _listen(channel: socket.socket, loop: asyncio.AbstractEventLoop, frames: asyncio.Queue[Frame]) -> None:
    """Ends the process with the socket, also where the event loop is kept busy."""
    decoder = Decoder(_LONGEST)
    while data := channel.recv(_PIECE):
        for told in decoder.feed(data):
            loop.call_soon_threadsafe(frames.put_nowait, told)
    os._exit(0)


def _server(hello: Frame, post: _Post) -> _Server:
    """The plugin, imported and made, and its tools told. Raises `PluginError`."""
    name, where = str(hello["name"]), cast("str | None", hello["where"])
    info = info_of(cast("Frame", hello["bot"]))
    file, value = hello["file"], str(hello["value"])
    target = Path(str(file)) if file else EntryPoint(name, value, GROUP)
    catalog = Catalog()
    catalog.add(Known(name, str(hello["source"]), target))
    plugin = catalog.make(name, cast("Frame", hello["settings"]), Path(str(hello["directory"])), where)
    plugins = PluginSet([plugin])
    if others := [hook for hook in plugins.hooks(plugin) if hook != "sartor_tools"]:
        raise PluginError(
            f"plugin {name!r} is isolated and implements {others[0]}",
            where=where,
            remedy="An isolated plugin may bring tools only. Take it out of isolated_plugins, if you trust its code.",
        )
    try:
        tools = tools_of(plugins, info)
        told = [
            {
                "name": tool.name,
                "description": tool.description,
                "schema": tool.schema,
                "acts": tool.acts,
                "timeout": tool.timeout,
                "audiences": sorted(tool.audiences),
                "from_user": sorted(tool.from_user),
                "for_flows": tool.for_flows,
            }
            for tool in tools.values()
        ]
    except SartorError:
        raise
    except Exception as error:
        raise PluginError(f"plugin {name!r} gave tools that cannot be used: {error}", where=where) from error
    post.send({"tools": told})
    return _Server(post, plugin, tools, cast("int", hello["longest"]))


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        for fault in error.errors(include_url=False)
    )
