"""Chat completions, asked by the official Python client."""

from __future__ import annotations

import json

import openai
import pydantic
import pytest

LAMP = {
    "type": "function",
    "function": {
        "name": "lamp_price",
        "description": "The price of a lamp.",
        "parameters": {"type": "object", "properties": {"lamp": {"type": "string"}}, "required": ["lamp"]},
    },
}
CALL = {"call": "lamp_price", "arguments": {"lamp": "Luna"}}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def test_a_bot_answers(speak):
    async with speak(script=["Hello, you."]) as (client, served):
        answer = await client.chat.completions.create(model="support", messages=[user("Hi")], user="u-17")
        assert answer.choices[0].message.content == "Hello, you."
        assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.tool_calls is None
        assert (
            answer.model == "acme/support" and answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
        )
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
        assert answer.usage.prompt_tokens_details.cached_tokens == 0
        extras = answer.sartor
        assert extras["outcome"] == "answered" and extras["citations"] == [] and extras["verdicts"] == []
        stored = await served.bots.store.tenant("acme").reply(extras["turn"])
        assert (stored.reply.turn.user, stored.reply.turn.conversation) == ("u-17", extras["conversation"])


async def test_a_reply_streams(speak):
    said = "A long answer that comes in pieces."
    async with speak(script=[said]) as (client, _):
        stream = await client.chat.completions.create(
            model="acme/support", messages=[user("Hi")], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        first, last, usage = chunks[0], chunks[-2], chunks[-1]
        assert first.choices[0].delta.role == "assistant" and first.choices[0].delta.content == ""
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == said
        assert last.choices[0].finish_reason == "stop" and last.sartor["outcome"] == "answered"
        assert all(chunk.choices[0].finish_reason is None and chunk.usage is None for chunk in chunks[:-2])
        assert usage.choices == [] and usage.usage.total_tokens > 0
        assert len({chunk.id for chunk in chunks}) == 1 and len(chunks) > 4


async def test_the_bytes_of_a_stream_are_those_of_openai(serve):
    async with serve(script=["Hello."]) as served:
        body = {"model": "support", "messages": [user("Hi")], "stream": True}
        answer = await served.client.post("/v1/chat/completions", json=body, headers=await served.key())
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.text.split("\n\n")
        assert (
            lines[-1] == "" and lines[-2] == "data: [DONE]" and all(line.startswith("data: {") for line in lines[:-2])
        )
        chunk = json.loads(lines[1].removeprefix("data: "))
        told = {"index": 0, "delta": {"content": "Hello."}, "logprobs": None, "finish_reason": None}
        assert chunk["object"] == "chat.completion.chunk" and chunk["choices"] == [told] and "usage" not in chunk


async def test_messages_are_instructions_history_and_question(speak):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Good morning."},
        user("One?"),
        {"role": "assistant", "content": [{"type": "text", "text": "First."}]},
        user("Two?"),
        {"role": "assistant", "content": None, "tool_calls": [call_spec("c1", "lamp_price", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "9"},
        {"role": "assistant", "content": "Second."},
        {"role": "developer", "content": "Be kind."},
        user("Three,"),
        {"role": "user", "content": [{"type": "text", "text": "really?"}]},
    ]
    async with speak(script=["Third."]) as (client, served):
        answer = await client.chat.completions.create(model="support", messages=messages)
        assert answer.choices[0].message.content == "Third."
        system, *talk = served.bots.model().prompts[0]
        assert "Be brief.\nBe kind." in system.content
        assert [(message.type, message.content) for message in talk] == [
            ("human", "(The user opened the chat.)"),
            ("ai", "Good morning."),
            ("human", "One?"),
            ("ai", "First."),
            ("human", "Two?"),
            ("ai", "Second."),
            ("human", "Three,\n\nreally?"),
        ]


async def test_a_conversation_goes_on_without_sending_it_again(speak):
    async with speak(script=["One.", "Two.", "Three."]) as (client, served):
        create = client.chat.completions.create
        first = await create(model="support", messages=[user("Hi")], user="u")
        again = {"conversation": first.sartor["conversation"]}
        second = await create(model="support", messages=[user("And?")], user="u", extra_body=again)
        assert second.sartor["conversation"] == first.sartor["conversation"]
        assert [message.content for message in served.bots.model().prompts[1][1:]] == ["Hi", "One.", "And?"]
        with pytest.raises(openai.NotFoundError) as caught:
            await create(model="support", messages=[user("And?")], user="another", extra_body=again)
        assert caught.value.code == "not_found"


def call_spec(id_: str, name: str, arguments: str) -> dict[str, object]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_a_loop_of_tools(speak):
    async with speak(script=[CALL, "The Luna costs 49 EUR."]) as (client, served):
        messages = [user("What does the Luna cost?")]
        answer = await client.chat.completions.create(model="support", messages=messages, tools=[LAMP])
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        (call,) = choice.message.tool_calls
        assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
            "function",
            "lamp_price",
            {"lamp": "Luna"},
        )
        messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "49 EUR"}]
        answer = await client.chat.completions.create(model="support", messages=messages, tools=[LAMP])
        assert answer.choices[0].message.content == "The Luna costs 49 EUR."
        asked, called, result = served.bots.model().prompts[1][-3:]
        assert asked.content == "What does the Luna cost?" and result.content == "49 EUR"
        assert called.tool_calls[0]["args"] == {"lamp": "Luna"} and result.tool_call_id == call.id


async def test_tool_calls_stream(speak):
    async with speak(script=[CALL]) as (client, _):
        asked = {"model": "support", "messages": [user("What does the Luna cost?")], "tools": [LAMP]}
        async with client.chat.completions.stream(**asked) as stream:
            events = [event async for event in stream]
        done = next(event for event in events if event.type == "tool_calls.function.arguments.done")
        assert (done.name, json.loads(done.arguments)) == ("lamp_price", {"lamp": "Luna"})
        final = stream.current_completion_snapshot.choices[0]
        assert final.finish_reason == "tool_calls" and final.message.tool_calls[0].function.name == "lamp_price"


@pytest.mark.parametrize(
    ("choice", "bound", "forced"),
    [
        ("auto", ["lamp_price", "opening"], None),
        ("required", ["lamp_price", "opening"], "required"),
        ({"type": "function", "function": {"name": "opening"}}, ["lamp_price", "opening"], "opening"),
        ("none", None, None),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "opening"}}],
                },
            },
            ["opening"],
            "required",
        ),
    ],
)
async def test_the_choice_of_tools_reaches_the_model(speak, monkeypatch, choice, bound, forced):
    from sartor.testing import ScriptedModel

    choices = []

    def bind(self, tools, *, tool_choice=None, **more):
        choices.append(tool_choice)
        return self.bind(tools=tools, **more)

    monkeypatch.setattr(ScriptedModel, "bind_tools", bind)
    opening = {"type": "function", "function": {"name": "opening", "description": "When it is open."}}
    async with speak(script=["Well."]) as (client, served):
        asked = {"model": "support", "messages": [user("Hi")], "tools": [LAMP, opening], "tool_choice": choice}
        await client.chat.completions.create(**asked)
        tools = served.bots.model().options[0].get("tools")
        assert (tools and [tool["function"]["name"] for tool in tools]) == bound
        assert choices == ([forced] if bound else [])


async def test_without_parallel_tool_calls_there_is_one(speak):
    files = {"plugins/twice.py": TWICE}
    yaml = "model: twice\nmodels: {twice: {plugin: twice}}\nembeddings: null\nindex: {plugin: memory-index}\n"
    for parallel, count in ((None, 2), (False, 1)):
        async with speak(files={**files, "sartor.yaml": yaml}) as (client, _):
            more = {} if parallel is None else {"parallel_tool_calls": parallel}
            answer = await client.chat.completions.create(
                model="support", messages=[user("Luna and Sol?")], tools=[LAMP], **more
            )
            calls = answer.choices[0].message.tool_calls
            assert len(calls) == count and len({call.id for call in calls}) == count


TWICE = """
from sartor import Plugin, hookimpl
from sartor.testing import Call, ScriptedModel

class Twice(Plugin):
    @hookimpl
    def sartor_model(self):
        return ScriptedModel(script=[[Call("lamp_price", {"lamp": "Luna"}), Call("lamp_price", {"lamp": "Sol"})]])
"""

OWN = """
from sartor import Plugin, hookimpl, tool

@tool(acts=True)
def reserve(lamp: str) -> str:
    "Put a lamp aside."
    DONE.append(lamp)
    return f"put aside {lamp}, number R-7"

DONE = []

class Shop(Plugin):
    @hookimpl
    def sartor_tools(self): return [reserve]
"""
SHOP = "grounding: free\nretrieval: {passages: 0}\nplugins: {shop: {}}\n"


async def test_what_the_bots_own_tools_did_is_still_known_when_the_caller_s_have_run(speak):
    files = {"plugins/shop.py": OWN, "tenants/acme/support/bot.yaml": SHOP}
    script = [{"call": "reserve", "arguments": {"lamp": "Luna"}}, CALL, "R-7 is put aside, for 49 EUR."]
    async with speak(script=script, files=files) as (client, served):
        messages = [user("Put a Luna aside; what does it cost?")]
        asked = {"model": "support", "tools": [LAMP], "user": "u"}
        message = (await client.chat.completions.create(messages=messages, **asked)).choices[0].message
        assert [call.function.name for call in message.tool_calls] == ["lamp_price"]
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "49 EUR"}]
        await client.chat.completions.create(messages=messages, **asked)
        kinds = [(message.type, message.content) for message in served.bots.model().prompts[2][2:]]
        assert kinds == [("ai", ""), ("tool", "put aside Luna, number R-7"), ("ai", ""), ("tool", "49 EUR")]


async def test_another_user_is_told_nothing_of_them(speak):
    files = {"plugins/shop.py": OWN, "tenants/acme/support/bot.yaml": SHOP}
    script = [{"call": "reserve", "arguments": {"lamp": "Luna"}}, CALL, "Well."]
    async with speak(script=script, files=files) as (client, served):
        messages = [user("Put a Luna aside; what does it cost?")]
        asked = {"model": "support", "messages": messages, "tools": [LAMP]}
        message = (await client.chat.completions.create(user="u", **asked)).choices[0].message
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "49 EUR"}]
        await client.chat.completions.create(user="stranger", **asked)
        assert "R-7" not in str(served.bots.model().prompts[2])


async def test_settings_reach_the_model_within_the_bots_limits(speak):
    async with speak(script=["One.", "Two."]) as (client, served):
        await client.chat.completions.create(
            model="support",
            messages=[user("Hi")],
            max_completion_tokens=5,
            temperature=0.5,
            top_p=0,
            seed=-1,
            stop="END",
            metadata={"a": "b"},
            store=True,
            service_tier="auto",
            reasoning_effort="low",
            response_format={"type": "text"},
            presence_penalty=0,
            n=1,
        )
        told = served.bots.model().options[0]
        assert (told["max_tokens"], told["temperature"], told["top_p"]) == (5, 0.5, 1e-6) and told["seed"] == 2**63 - 1
        assert "response_format" not in told and "metadata" not in told
        await client.chat.completions.create(model="support", messages=[user("Hi")], max_tokens=10**9)
        assert served.bots.model().options[1]["max_tokens"] == 512


class Opening(pydantic.BaseModel):
    days: list[int]
    note: str


async def test_a_format_is_parsed(speak):
    async with speak(script=['{"days": [1, 7], "note": "closed [9]"}']) as (client, served):
        answer = await client.chat.completions.parse(model="support", messages=[user("When?")], response_format=Opening)
        assert answer.choices[0].message.parsed == Opening(days=[1, 7], note="closed [9]")
        form = served.bots.model().options[0]["response_format"]
        assert form["type"] == "json_schema" and form["json_schema"]["schema"]["properties"]["days"]


async def test_a_bot_that_quotes_takes_no_format(speak):
    files = {"tenants/acme/support/bot.yaml": "grounding: quote\n"}
    async with speak(files=files) as (client, _):
        with pytest.raises(openai.BadRequestError, match="quotes its documents"):
            await client.chat.completions.create(
                model="support", messages=[user("Hi")], response_format={"type": "json_object"}
            )


CUT = """
from langchain_core.messages import AIMessageChunk
from sartor import Plugin, hookimpl
from sartor.testing import ScriptedModel

class Cutting(ScriptedModel):
    def _chunks(self, messages, options):
        return [*super()._chunks(messages, options),
                AIMessageChunk(content="", response_metadata={"finish_reason": "length"})]

class Cut(Plugin):
    @hookimpl
    def sartor_model(self):
        return Cutting(script=["Half an"] * 2)
"""


async def test_a_reply_at_its_limit_says_so(speak):
    yaml = "model: cut\nmodels: {cut: {plugin: cut}}\nembeddings: null\nindex: {plugin: memory-index}\n"
    async with speak(files={"plugins/cut.py": CUT, "sartor.yaml": yaml}) as (client, _):
        answer = await client.chat.completions.create(model="support", messages=[user("Hi")])
        assert answer.choices[0].finish_reason == "length"
        with pytest.raises(openai.LengthFinishReasonError):
            await client.chat.completions.parse(model="support", messages=[user("Hi")], response_format=Opening)


VETO = """
from sartor import Plugin, Policy, block, hookimpl, rewrite

class Veto(Policy):
    async def input(self, turn, text):
        return block("about bombs", "We do not talk of that.") if "bomb" in text else rewrite([])

class VetoPlugin(Plugin):
    @hookimpl
    def sartor_policies(self): return [Veto()]
"""


async def test_a_reply_that_a_policy_ended_is_filtered_content(speak):
    bot = "grounding: free\nretrieval: {passages: 0}\nplugins: {veto: {}}\n"
    async with speak(files={"plugins/veto.py": VETO, "tenants/acme/support/bot.yaml": bot}) as (client, _):
        asked = {"model": "support", "messages": [user("A bomb?")]}
        answer = await client.chat.completions.create(**asked)
        assert answer.choices[0].finish_reason == "content_filter"
        assert answer.choices[0].message.content == "We do not talk of that."
        assert answer.sartor["outcome"] == "blocked" and answer.sartor["verdicts"][0]["policy"] == "veto"
        chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "We do not talk of that."
        assert chunks[-1].choices[0].finish_reason == "content_filter"
        with pytest.raises(openai.ContentFilterFinishReasonError):
            await client.chat.completions.parse(response_format=Opening, **asked)


SOURCES = """
from sartor import Passage, Plugin, hookimpl

class Pages:
    async def retrieve(self, turn, query, limit):
        texts = {"https://acme.example/delivery": "Parcels leave within one day.", "prices.md": "A Luna costs 49 EUR."}
        return [Passage(id=source, tenant=turn.tenant, source=source, title=source[:8], text=text, score=1.0)
                for source, text in texts.items()]

class PagesPlugin(Plugin):
    @hookimpl
    def sartor_retrievers(self): return [Pages()]
"""


async def test_citations_of_pages_are_annotations(speak):
    files = {
        "plugins/pages.py": SOURCES,
        "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 4}\nplugins: {pages: {}}\n",
    }
    said = "Within one day [1], for 49 EUR [2]."
    async with speak(script=[said, said], files=files) as (client, _):
        asked = {"model": "support", "messages": [user("When do parcels leave?")]}
        answer = await client.chat.completions.create(**asked)
        (note,) = answer.choices[0].message.annotations
        assert said[note.url_citation.start_index : note.url_citation.end_index] == "[1]"
        assert note.url_citation.url == "https://acme.example/delivery"
        assert [(one["number"], one["source"]) for one in answer.sartor["citations"]] == [
            (1, "https://acme.example/delivery"),
            (2, "prices.md"),
        ]
        chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
        assert chunks[-1].choices[0].delta.annotations[0]["url_citation"]["end_index"] == note.url_citation.end_index
        assert len(chunks[-1].sartor["citations"]) == 2


async def test_a_session_may_not_use_this_api(serve):
    async with serve(script=["One."]) as served:
        body = {"model": "support", "messages": [user("Hi")]}
        answer = await served.client.post("/v1/chat/completions", json=body, headers=await served.session())
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
