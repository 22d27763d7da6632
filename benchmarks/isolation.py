"""Isolated plugins: what a call costs beside the same call in this process, and how long a process takes to start.

    python benchmarks/isolation.py [--calls 500] [--starts 7]

The tool returns its argument. Calls are made one after the other, the two ways alternating, so that both see the same
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sartor.building import tools_of
from sartor.lockfile import catalog_of
from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.project import Project
from sartor.spec import Limits
from sartor.toolbox import check_call, run_tool
from sartor.tools import Tool
from sartor.values import BotInfo, ToolCall, ToolResult, Turn

PLUGIN = """
from sartor import Plugin, hookimpl, tool

class Echo(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def NAME(text: str) -> str:
            "Say it again."
            return text
        return [NAME]
"""
TURN = Turn("t", "c", "acme", "support", "mia", "Say it again, please.")
TEXT = "It is a long way to Tipperary. " * 8


def _project(root: Path) -> tuple[Plugin, Plugin]:
    (root / "plugins").mkdir()
    for name in ("inside", "apart"):
        (root / "plugins" / f"{name}.py").write_text(PLUGIN.replace("NAME", name), encoding="utf-8")
    (root / "sartor.yaml").write_text("isolated_plugins: {apart: {}}\n", encoding="utf-8")
    catalog = catalog_of(Project(root))
    return catalog.make("inside", {}, root), catalog.make("apart", {}, root)


async def _call(tool: Tool) -> float:
    began = time.perf_counter()
    call = ToolCall("1", tool.name, {"text": TEXT})
    checked = check_call({tool.name: tool}, call, "")
    assert not isinstance(checked, ToolResult)
    result = await run_tool(tool, call, checked[1], TURN, Limits())
    assert result.text == TEXT, result.text
    return (time.perf_counter() - began) * 1000


async def _starts(root: Path, info: BotInfo, count: int) -> list[float]:
    """From the call that finds no process to its result, less what a call costs."""
    times = []
    for _ in range(count):
        plugin = catalog_of(Project(root)).make("apart", {}, root)
        tool = tools_of(PluginSet([plugin]), info)["apart"]
        first = await _call(tool)
        times.append(first - await _call(tool))
        await plugin.close()
    return times


async def _measure(root: Path, calls: int, starts: int) -> None:
    info = BotInfo("acme", "support", root, root)
    plugins = _project(root)
    tools = tools_of(PluginSet(plugins), info)
    times: dict[str, list[float]] = {"inside": [], "apart": []}
    for _ in range(calls + 20):
        for name, values in times.items():
            values.append(await _call(tools[name]))
    await plugins[1].close()
    _print("a call in this process", times["inside"][20:])
    _print("a call of an isolated plugin", times["apart"][20:])
    ratio = statistics.median(times["apart"][20:]) / statistics.median(times["inside"][20:])
    print(f"{'isolated by in process':<34}{ratio:>12.1f}")
    _print("start of its process", await _starts(root, info, starts))


def _print(name: str, values: Sequence[float]) -> None:
    p95 = sorted(values)[max(0, int(len(values) * 0.95) - 1)]
    print(f"{name:<34}{statistics.median(values):>12.3f}{p95:>12.3f}")


def main() -> None:
    """Measure, and print milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    print(f"{'':<34}{'median ms':>12}{'p95 ms':>12}")
    with tempfile.TemporaryDirectory(prefix="sartor-isolation-") as folder:
        asyncio.run(_measure(Path(folder), options.calls, options.starts))


if __name__ == "__main__":
    main()
