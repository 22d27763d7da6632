"""Tests of plugins that give tools."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from sartor.building import tools_of
from sartor.plugins import PluginSet
from sartor.spec import Limits
from sartor.testing.script import Call
from sartor.testing.suites.base import ODD_TEXTS, run
from sartor.testing.suites.isolation import IsolationSuite
from sartor.toolbox import check_call, run_tool
from sartor.tools import Tool
from sartor.values import Origin, ToolCall, ToolResult

__all__ = ["ToolSuite"]


class ToolSuite(IsolationSuite):
    """Tests of tools: what the model is told, what they make of right, wrong and odd arguments."""

    hooks: ClassVar[Sequence[str]] = ("sartor_tools",)
    calls: ClassVar[Sequence[Call]] = ()
    """Calls that succeed, at least one of each tool."""
    wrong: ClassVar[Sequence[Call]] = ()
    """Calls that the model is shown an error for."""
    acts: ClassVar[frozenset[str]] = frozenset()
    """The tools that change something. It is stated here once more, so that nobody loses an `acts=True` by mistake."""
    limits: ClassVar[Limits] = Limits()

    @pytest.fixture
    def tools(self, tmp_path: Path) -> Mapping[str, Tool]:
        """The tools of one bot."""
        return self.tools_for(tmp_path, "acme")

    def tools_for(self, root: Path, tenant: str) -> Mapping[str, Tool]:
        """The tools of the bot ``tenant/support``."""
        return tools_of(PluginSet([self.make(self.folder(root, tenant))]), self.info(root, tenant))

    async def ask(self, tools: Mapping[str, Tool], call: Call, tenant: str = "acme") -> ToolResult:
        """What the model is shown for a call, whose arguments count as the user's own words."""
        origins = dict.fromkeys(call.arguments, frozenset({Origin.USER}))
        wanted = ToolCall("call-1", call.name, dict(call.arguments), origins)  # type: ignore[arg-type]
        checked = check_call(tools, wanted, "")
        if isinstance(checked, ToolResult):
            return checked
        tool, arguments = checked
        return await run_tool(tool, wanted, arguments, self.turn(tenant=tenant), self.limits)

    def test_there_are_tools(self, tools: Mapping[str, Tool]) -> None:
        self.need(tools, "settings with which it gives tools")

    def test_a_model_can_call_them_by_name(self, tools: Mapping[str, Tool]) -> None:
        bad = [name for name in tools if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)]
        assert not bad, f"models take letters, digits, _ and - only: {bad}"

    def test_a_model_is_told_what_they_are_for(self, tools: Mapping[str, Tool]) -> None:
        for tool in tools.values():
            assert len(tool.description.split()) >= 2, f"{tool.name}: describe it in a sentence"
            assert tool.schema.get("type") == "object" and json.dumps(tool.schema), tool.name
            assert "turn" not in tool.schema.get("properties", {}), f"{tool.name}: the turn is not the model's to give"  # type: ignore[operator]

    def test_tools_that_act_are_those_that_say_so(self, tools: Mapping[str, Tool]) -> None:
        if not self.examples:
            pytest.skip("needs `acts`")
        acting = {tool.name for tool in tools.values() if tool.acts}
        assert acting == set(self.acts), f"acts=True is on {sorted(acting)}; the suite says {sorted(self.acts)}"

    def test_timeouts_are_above_nothing(self, tools: Mapping[str, Tool]) -> None:
        assert all(tool.timeout is None or tool.timeout > 0 for tool in tools.values())

    def test_every_tool_has_an_example(self, tools: Mapping[str, Tool]) -> None:
        self.need(self.calls, "calls that succeed, in `calls`")
        missing = set(tools) - {call.name for call in self.calls}
        assert not missing, f"`calls` has none of {', '.join(sorted(missing))}"

    def test_the_examples_succeed(self, tools: Mapping[str, Tool]) -> None:
        self.need(self.calls, "calls that succeed, in `calls`")
        for call in self.calls:
            result = run(self.ask(tools, call))
            assert not result.error, f"{call}: {result.text}"
            assert result.text, f"{call}: it returned nothing to show"

    def test_wrong_calls_are_errors_that_the_model_sees(self, tools: Mapping[str, Tool]) -> None:
        for call in self.wrong:
            assert run(self.ask(tools, call)).error, f"{call} is no error"

    def test_unknown_and_missing_arguments_are_errors(self, tools: Mapping[str, Tool]) -> None:
        for tool in tools.values():
            assert run(self.ask(tools, Call(tool.name, {"no_such_argument": 1}))).error, f"{tool.name} takes anything"
            if tool.schema.get("required"):
                assert run(self.ask(tools, Call(tool.name))).error, f"{tool.name} does without what it requires"

    def test_odd_texts_do_not_hang_or_flood_it(self, tools: Mapping[str, Tool]) -> None:
        self.need(self.calls, "calls that succeed, in `calls`")
        for call in self.calls:
            if call.name in self.acts:
                continue
            for odd in ODD_TEXTS:
                texts = {name: odd for name, value in call.arguments.items() if isinstance(value, str)}
                result = run(self.ask(tools, Call(call.name, {**call.arguments, **texts})))
                assert len(result.text) <= self.limits.tool_characters + 100, f"{call.name}: a result without end"
                assert "no result within" not in result.text, f"{call.name} hangs on {odd[:40]!r}"

    def test_two_users_at_once_get_what_each_gets_alone(self, tmp_path: Path) -> None:
        self.need(self.calls, "calls that succeed, in `calls`")
        calls = [call for call in self.calls if call.name not in self.acts]
        tools = {tenant: self.tools_for(tmp_path, tenant) for tenant in ("acme", "borealis")}

        async def together() -> list[ToolResult]:
            asked = [self.ask(tools[tenant], call, tenant) for call in calls for tenant in tools]
            return await asyncio.gather(*asked)

        assert all(not result.error for result in run(together()))
