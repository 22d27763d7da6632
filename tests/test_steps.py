"""What a model says on the way to its reply, before it calls a tool."""

from __future__ import annotations

import sartor
from sartor.values import Delta

MODEL = """
from langchain_core.messages import AIMessageChunk
from sartor import Edit, Plugin, Policy, hookimpl, rewrite, tool
from sartor.testing import Call, ScriptedModel

class Talkative(ScriptedModel):
    "Says something before its first tool call."
    def _chunks(self, messages, options):
        chunks = super()._chunks(messages, options)
        return [AIMessageChunk(content="Let me look [9]. "), *chunks] if self._calls == 1 else chunks

class Shout(Policy):
    window = 6
    async def output(self, turn, draft):
        at = draft.text.find("look")
        return rewrite([Edit(at, at + 4, "LOOK")] if at >= 0 and at + 4 <= len(draft.text) else [])

@tool
def look_up(order: str) -> str:
    "Look up."
    return "shipped"

class Mine(Plugin):
    @hookimpl
    def sartor_model(self):
        return Talkative(script=[Call("look_up", {"order": "1"}), "It was shipped."])
    @hookimpl
    def sartor_tools(self): return [look_up]
    @hookimpl
    def sartor_policies(self): return [Shout()]
"""
FILES = {
    "plugins/mine.py": MODEL,
    "sartor.yaml": "model: m\nmodels: {m: {plugin: mine}}\nembeddings: null\nindex: {plugin: memory-index}\n",
}


async def reply(make_project, bot: str):
    async with sartor.open(make_project({**FILES, "tenants/acme/support/bot.yaml": bot})) as bots:
        events = [event async for event in bots["acme/support"].stream("Where is 1?")]
        told = events[-1].reply
        assert "".join(event.text for event in events if isinstance(event, Delta)) == told.text
        assert len(told.tools) == 1, told.error
        return told, bots.model().prompts


async def test_it_is_released_with_a_gap_before_what_comes_after(make_project):
    told, prompts = await reply(make_project, "plugins: {mine: {}}")
    assert told.text == "Let me LOOK.\n\nIt was shipped."
    assert prompts[1][-2].content == "Let me look [9]. ", "the model sees what it said"


async def test_in_quote_mode_it_is_not_released(make_project):
    told, _ = await reply(make_project, "plugins: {mine: {}}\ngrounding: quote\n")
    assert told.text == "It was shipped."
