"""Tests of plugins that give models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.testing.guard import NetworkGuard
from sartor.testing.suites.base import PluginSuite, run
from sartor.values import NO_USAGE, Choices, JSONValue, Message, Origin, Part, ToolCall, Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["ModelSuite"]

_TOOL: dict[str, JSONValue] = {
    "type": "function",
    "function": {
        "name": "opening_hours",
        "description": "Opening hours of the shop in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class ModelSuite(PluginSuite):
    """Tests of models, asked as a bot asks: streams, tokens, tools, choices, being stopped, many at once.

    For LangChain's own tests of chat models, inherit from `langchain_tests` beside.
    """

    hooks: ClassVar[Sequence[str]] = ("sartor_model",)
    question: ClassVar[str] = "Hello! Who are you?"
    """What the model can answer."""
    takes_tools: ClassVar[bool] = True
    """Whether it has `bind_tools`. Without, it serves only bots without tools."""
    tool_question: ClassVar[str] = ""
    """A question for which it wants the tool ``opening_hours(city)``; empty: that is not tested."""
    tells_usage: ClassVar[bool] = True
    """Whether it tells the tokens of a reply."""
    stop_seconds: ClassVar[float] = 5.0
    """In how many seconds it must have stopped."""

    @pytest.fixture
    def model(self, made: Plugin) -> BaseChatModel:
        """The model, not loaded yet."""
        return cast("BaseChatModel", next(PluginSet([made]).ask("sartor_model"))[1])

    async def say(
        self, model: BaseChatModel, text: str, **more: object
    ) -> tuple[list[str], tuple[ToolCall, ...], Usage]:
        """The pieces of a reply, the tool calls in it, and its tokens; the model is asked as a bot asks it."""
        from sartor.langchain import say

        messages = [
            Message(
                "system", (Part("You are a shop's assistant. ", Origin.OPERATOR), Part("Be brief.", Origin.TENANT))
            ),
            Message("user", (Part(text, Origin.USER),)),
        ]
        pieces: list[str] = []
        calls: tuple[ToolCall, ...] = ()
        usage = NO_USAGE
        options: dict[str, object] = {"asked": {"max_tokens": 64}, "tenant": "acme", **more}
        async for said in say(model, messages, **options):  # type: ignore[arg-type]
            pieces += [said.text] if said.text else []
            calls, usage = (said.calls or calls), usage + said.usage
        return pieces, calls, usage

    async def ended(self, model: BaseChatModel) -> None:
        """Close the model, where it can be closed."""
        if close := getattr(model, "close", None):
            result = close()
            if asyncio.iscoroutine(result):
                await result

    def do(self, model: BaseChatModel, text: str, **more: object) -> tuple[list[str], tuple[ToolCall, ...], Usage]:
        """`say`, and the model closed."""

        async def once() -> tuple[list[str], tuple[ToolCall, ...], Usage]:
            try:
                return await self.say(model, text, **more)
            finally:
                await self.ended(model)

        return run(once())

    def test_making_it_reaches_for_nothing(self, made: Plugin) -> None:
        began = time.perf_counter()
        with NetworkGuard().closed() as guard:
            assert hasattr(next(PluginSet([made]).ask("sartor_model"))[1], "astream")
        guard.check()
        assert time.perf_counter() - began < 10, "load weights on the first call or in start(), not when it is made"

    def test_it_answers(self, model: BaseChatModel) -> None:
        pieces, _, usage = self.do(model, self.question)
        assert "".join(pieces).strip(), "it said nothing"
        assert usage.calls == 1
        if self.tells_usage:
            assert usage.prompt > 0 and usage.generated > 0, f"it tells no tokens: {usage}"
            assert usage.cached <= usage.prompt

    def test_it_takes_tools_or_says_that_it_cannot(self, model: BaseChatModel) -> None:
        from sartor.errors import ModelError

        if self.takes_tools:
            pieces, calls, _ = self.do(model, self.question, tools=[_TOOL])
            assert pieces or calls
        else:
            with pytest.raises(ModelError, match="cannot take tools"):
                self.do(model, self.question, tools=[_TOOL])

    def test_it_wants_a_tool(self, model: BaseChatModel) -> None:
        if not self.tool_question:
            pytest.skip("give a `tool_question`")
        _, calls, _ = self.do(model, self.tool_question, tools=[_TOOL])
        assert [call.name for call in calls] == ["opening_hours"] and calls[0].id
        assert isinstance(calls[0].arguments.get("city"), str)

    def test_it_keeps_to_choices(self, model: BaseChatModel) -> None:
        if not getattr(model, "supports_choices", False):
            pytest.skip("it has no `supports_choices`: replies that quote are checked afterwards")
        texts = ("The parcel leaves at noon.", "I could not find that.")
        pieces, _, _ = self.do(model, "When does the parcel leave?", choices=Choices(texts, quotes=1))
        assert "".join(pieces).strip() in texts

    def test_it_stops_when_nobody_listens_and_answers_again(self, model: BaseChatModel) -> None:
        from sartor.langchain import say

        message = Message("user", (Part(self.question, Origin.USER),))
        asked: Mapping[str, JSONValue] = {"max_tokens": 512}

        async def leave() -> float:
            try:
                stream = say(model, [message], asked=asked, tenant="acme")
                await anext(stream)
                began = time.perf_counter()
                await stream.aclose()
                seconds = time.perf_counter() - began
                pieces, _, _ = await self.say(model, self.question)
                assert "".join(pieces).strip(), "it says nothing after it was stopped"
                return seconds
            finally:
                await self.ended(model)

        assert run(leave()) < self.stop_seconds

    def test_two_at_once_are_both_answered(self, model: BaseChatModel) -> None:
        async def both() -> None:
            try:
                for pieces, _, _ in await asyncio.gather(*(self.say(model, self.question) for _ in range(2))):
                    assert "".join(pieces).strip()
            finally:
                await self.ended(model)

        run(both())

    def test_it_forgets_a_tenant_it_never_knew(self, model: BaseChatModel) -> None:
        if forget := getattr(model, "forget", None):
            run(forget("nobody"))
