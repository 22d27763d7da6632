"""What OpenAI's clients are told when something is wrong."""

from __future__ import annotations

import json

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sartor.values import Outcome

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def call_spec(id_: str) -> dict[str, object]:
    return {"id": id_, "type": "function", "function": {"name": "look", "arguments": "{}"}}


async def test_a_bot_that_is_not_there_is_not_found_in_the_same_words_whosever_it_is(speak):
    async with speak() as (client, _):
        told = set()
        for model in ("nothing", "acme/nothing", "rival/support", "gpt-4o", "../support", "a/b/c"):
            with pytest.raises(openai.NotFoundError) as caught:
                await client.chat.completions.create(model=model, messages=HI)
            assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
            told.add(caught.value.body["message"].replace(repr(model), "…"))
        assert told == {"there is no bot …"}


async def test_a_key_that_does_not_hold_is_an_authentication_error(speak):
    async with speak() as (client, served):
        for key in ("sk-nonsense", "sartor_000000000000_" + "x" * 43):
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.with_options(api_key=key).chat.completions.create(model="support", messages=HI)
            assert key not in str(caught.value) and caught.value.request_id.startswith("req_")
        documents = (await served.key("acme", "documents"))["Authorization"].removeprefix("Bearer ")
        with pytest.raises(openai.PermissionDeniedError):
            await client.with_options(api_key=documents).chat.completions.create(model="support", messages=HI)


@pytest.mark.parametrize("stream", [False, True])
async def test_too_many_turns_are_a_rate_limit(speak, stream):
    async with speak(script=["One."], sartor_yaml="service: {turns: 1}\n") as (client, served):
        with served.service.live.place("rival"), pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="support", messages=HI, stream=stream)
        assert caught.value.response.headers["retry-after"] == "1" and caught.value.code == "overloaded"
        assert served.service.live.running == 0
        retrying = client.with_options(max_retries=1)
        assert (await retrying.chat.completions.create(model="support", messages=HI)).choices


BUSY = """
from sartor import Plugin, hookimpl
from sartor.errors import OverloadedError
from sartor.testing import ScriptedModel

class Busy(ScriptedModel):
    async def _astream(self, *told, **options):
        raise OverloadedError("9 requests are waiting", retry_after=2.5)
        yield

class BusyPlugin(Plugin):
    @hookimpl
    def sartor_model(self): return Busy(script=[])
"""
BREAKS = """
from sartor import Plugin, hookimpl
from sartor.testing import ScriptedModel

class Breaks(ScriptedModel):
    async def _astream(self, *told, **options):
        async for chunk in super()._astream(*told, **options):
            yield chunk
        raise RuntimeError("secret path /srv/x")

class BreaksPlugin(Plugin):
    @hookimpl
    def sartor_model(self): return Breaks(script=["Half of an answer"] * 9)
"""


def speaking_with(plugin: str, source: str) -> dict[str, str]:
    yaml = f"model: m\nmodels: {{m: {{plugin: {plugin}}}}}\nembeddings: null\nindex: {{plugin: memory-index}}\n"
    return {f"plugins/{plugin}.py": source, "sartor.yaml": yaml}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_with_too_much_to_do_is_a_rate_limit_before_the_first_byte(speak, stream):
    async with speak(files=speaking_with("busy", BUSY)) as (client, served):
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="support", messages=HI, stream=stream)
        assert caught.value.response.headers["retry-after"] == "3"
        brought = [*HI, {"role": "assistant", "tool_calls": [call_spec("c")]}]
        brought += [{"role": "tool", "tool_call_id": "c", "content": "9"}]
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="support", messages=brought, tools=[TOOL], stream=stream)
        assert served.service.live.running == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_breaks_is_a_server_error_without_detail(speak, stream):
    async with speak(script=["FAIL"]) as (client, served):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="support", messages=HI, stream=stream, user="u")
        assert (caught.value.status_code, caught.value.code) == (503, "failed")
        assert "broke" in str(caught.value) and "the model broke" not in str(caught.value)
        (row,) = await served.bots.store.tenant("acme").conversations("support", "u", 9)
        (stored,) = await served.bots.store.tenant("acme").turns(row.id, 9)
        assert stored.reply.outcome is Outcome.FAILED


async def test_a_model_that_breaks_in_the_middle_ends_the_stream_with_an_error(speak):
    async with speak(files=speaking_with("breaks", BREAKS)) as (client, _):
        stream = await client.chat.completions.create(model="support", messages=HI, stream=True)
        said = ""
        with pytest.raises(openai.APIError) as caught:
            async for chunk in stream:
                said += chunk.choices[0].delta.content or ""
        assert said == "Half of an answer", "the bot's excuse is not part of the answer"
        assert caught.value.code == "failed" and "/srv" not in str(caught.value)


FAILS_LATER = """
from sartor import Plugin, hookimpl, tool
from sartor.testing import Call, ScriptedModel

@tool
def look_up(order: str) -> str:
    "Look up."
    return "shipped"

class Later(Plugin):
    @hookimpl
    def sartor_model(self):
        return ScriptedModel(script=[Call("look_up", {"order": "1"}), RuntimeError("broke")] * 2)
    @hookimpl
    def sartor_tools(self): return [look_up]
"""


async def test_a_turn_that_failed_after_a_tool_ran_is_not_to_be_tried_again(speak):
    bot = "grounding: free\nretrieval: {passages: 0}\nplugins: {later: {}}\n"
    files = {**speaking_with("later", FAILS_LATER), "tenants/acme/support/bot.yaml": bot}
    async with speak(files=files) as (client, served):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.with_options(max_retries=2).chat.completions.create(model="support", messages=HI)
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert len(served.bots.model().prompts) == 2, "the client did not try again"


async def test_a_turn_over_its_time_is_an_error(speak):
    bot = "grounding: free\nretrieval: {passages: 0}\nlimits: {turn_seconds: 0.2}\n"
    async with speak(script=["Slowly."], delay=5, files={"tenants/acme/support/bot.yaml": bot}) as (client, _):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="support", messages=HI, stream=True)
        assert caught.value.code == "failed"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"top_logprobs": 3}, "top_logprobs", "unsupported_parameter"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "  "}]}, None, "invalid_request"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [*HI, {"role": "assistant", "content": "Well,"}]}, "messages.1", "invalid_value"),
        ({"messages": [*HI, {"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages.1", "invalid_value"),
        ({"messages": [*HI, {"role": "assistant", "tool_calls": [call_spec("c")]}]}, "messages.1", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages.0.content.0",
            "unsupported_content",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name",
            "invalid_value",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
            "tools.0.function.parameters",
            "invalid_value",
        ),
        ({"tools": [TOOL, TOOL]}, None, "invalid_request"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, None, "invalid_value"),
        ({"language": "xx"}, None, "invalid_request"),
        ({"audience": "nobody"}, None, "invalid_request"),
        ({"user": "visitor:1"}, "user", "invalid_value"),
    ],
)
async def test_what_cannot_be_asked_is_a_bad_request(speak, more, param, code):
    async with speak() as (client, _):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**{"model": "support", "messages": HI}, extra_body=more)
        told = caught.value.body
        assert told["code"] == code and told["type"] == "invalid_request_error", told
        assert param is None or told["param"] == param
        assert told["message"]


async def test_more_messages_than_the_service_takes_are_refused(speak):
    async with speak(sartor_yaml="service: {messages: 3}\n") as (client, _):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="support", messages=HI * 4)
        assert caught.value.code == "too_many_messages"


WORDS = st.sampled_from(
    ["support", "Hi", "user", "assistant", "tool", "system", "function", "text", "auto", "none", "look", "c", "{}", ""]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries(
    {"id": WORDS, "function": st.fixed_dictionaries({"name": WORDS, "arguments": WORDS | st.text(max_size=9)})}
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "function"])},
        optional={
            "content": WORDS | st.text() | st.lists(st.fixed_dictionaries({"type": WORDS, "text": WORDS}), max_size=2),
            "tool_calls": st.lists(CALLS, max_size=2) | ANYTHING,
            "tool_call_id": WORDS,
        },
    ),
    max_size=5,
)
FUNCTIONS = st.fixed_dictionaries(
    {"name": WORDS}, optional={"parameters": st.dictionaries(WORDS, ANYTHING, max_size=2), "description": WORDS}
)
BODIES = ANYTHING | st.fixed_dictionaries(
    {"model": st.just("support"), "messages": MESSAGES},
    optional={
        "tools": st.lists(st.fixed_dictionaries({"type": st.just("function"), "function": FUNCTIONS}), max_size=2),
        "tool_choice": WORDS | ANYTHING,
        "response_format": st.fixed_dictionaries({"type": WORDS, "json_schema": ANYTHING}) | ANYTHING,
        "stream": st.booleans() | ANYTHING,
        "stop": ANYTHING,
        "seed": st.integers(),
        "temperature": ANYTHING,
        "user": ANYTHING,
        "conversation": WORDS | st.text(max_size=5) | ANYTHING,
        "n": ANYTHING,
    },
)


GOOD: dict[str, object] = {
    "model": "support",
    "messages": [
        {"role": "system", "content": "Be brief."},
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call_spec("c")]},
        {"role": "tool", "tool_call_id": "c", "content": "9"},
    ],
    "tools": [TOOL],
    "tool_choice": "auto",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "stop": ["END"],
    "user": "u",
    "max_tokens": 9,
    "response_format": {"type": "json_object"},
}


@st.composite
def nearly_good(draw: st.DrawFn) -> object:
    """A good body with one thing in it replaced, taken out or added, somewhere."""
    body = json.loads(json.dumps(GOOD))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[key] = draw(ANYTHING)
            case "remove":
                del place[key]
            case _:
                place.update({draw(WORDS): draw(ANYTHING)}) if isinstance(place, dict) else place.append(draw(ANYTHING))
        return body


async def test_no_body_is_a_server_error(serve):
    async with serve() as served:
        served.bots.model().script[:] = ["Well."] * 100_000
        key = await served.key()
        bodies: list[object] = []

        @settings(
            max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(BODIES | nearly_good() | nearly_good())
        def collect(body: object) -> None:
            bodies.append(body)

        collect()
        statuses = set()
        for body in bodies:
            for path in ("/v1/chat/completions", "/v1/embeddings"):
                content = json.dumps(body).encode()
                headers = {**key, "Content-Type": "application/json"}
                answer = await served.client.post(path, content=content, headers=headers)
                assert answer.status_code in (200, 400, 403, 404), (answer.status_code, path, content)
                statuses.add(answer.status_code)
                if answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream"):
                    assert answer.text.endswith("data: [DONE]\n\n"), content
        assert {200, 400} <= statuses
        assert served.service.live.running == 0
