"""The Responses API, with OpenAI's own client and the models of the Open Responses specification."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import openai
import openresponses_types as spec
import pytest
import sartor_templates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sartor.errors import StoreError
from sartor.store import TenantStore
from sartor_plugins.builtin import MODEL

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
CALL = {"call": "get_weather", "arguments": {"location": "San Francisco, CA"}}

DEMO = Path(sartor_templates.__file__).parent / "demo/tenants/brightwater/support/knowledge"

EVENTS = {
    "response.created": spec.ResponseCreatedStreamingEvent,
    "response.in_progress": spec.ResponseInProgressStreamingEvent,
    "response.completed": spec.ResponseCompletedStreamingEvent,
    "response.incomplete": spec.ResponseIncompleteStreamingEvent,
    "response.failed": spec.ResponseFailedStreamingEvent,
    "response.output_item.added": spec.ResponseOutputItemAddedStreamingEvent,
    "response.output_item.done": spec.ResponseOutputItemDoneStreamingEvent,
    "response.content_part.added": spec.ResponseContentPartAddedStreamingEvent,
    "response.content_part.done": spec.ResponseContentPartDoneStreamingEvent,
    "response.output_text.delta": spec.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.done": spec.ResponseOutputTextDoneStreamingEvent,
    "response.output_text.annotation.added": spec.ResponseOutputTextAnnotationAddedStreamingEvent,
    "response.refusal.delta": spec.ResponseRefusalDeltaStreamingEvent,
    "response.refusal.done": spec.ResponseRefusalDoneStreamingEvent,
    "response.function_call_arguments.delta": spec.ResponseFunctionCallArgumentsDeltaStreamingEvent,
    "response.function_call_arguments.done": spec.ResponseFunctionCallArgumentsDoneStreamingEvent,
    "error": spec.ErrorStreamingEvent,
}


class Client:
    """OpenAI's client of a service, which holds every answer against the specification."""

    def __init__(self, served, headers):
        self.served = served
        self.headers = headers
        key = headers["Authorization"].removeprefix("Bearer ")
        self.openai = openai.AsyncOpenAI(
            api_key=key, base_url="http://service/v1", http_client=served.client, max_retries=0
        )

    async def create(self, **body):
        """A response, as JSON."""
        answer = await self.served.client.post("/v1/responses", json={"model": "support", **body}, headers=self.headers)
        assert answer.status_code == 200, answer.text
        spec.ResponseResource.model_validate(answer.json())
        return answer.json()

    async def refused(self, **body):
        """The status and the error of a request that is refused."""
        answer = await self.served.client.post("/v1/responses", json={"model": "support", **body}, headers=self.headers)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return answer.status_code, error

    async def stream(self, **body):
        """The events of a response, each held against its model, and their order against the specification's."""
        answer = await self.served.client.post(
            "/v1/responses", json={"model": "support", "stream": True, **body}, headers=self.headers
        )
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        *blocks, last = answer.text.strip().split("\n\n")
        assert last == "data: [DONE]"
        events = []
        for block in blocks:
            name, data = block.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            EVENTS[event["type"]].model_validate(event)
            events.append(event)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
        return events


@pytest.fixture
def client(serve):
    @asynccontextmanager
    async def made(**about) -> AsyncIterator[Client]:
        async with serve(**about) as served:
            yield Client(served, await served.key())

    return made


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


FLOWS = """
hand_over: {}
flows:
  visit:
    title: your visit
    start: [plan a visit]
    slots: {name: {ask: In whose name?}}
    hand_over: true
"""


async def prompts(served):
    """What the scripted model was asked, as (role, text)."""
    model = served.bots.model("scripted")
    return [[(message.type, str(message.content)) for message in prompt] for prompt in model.prompts]


# The compliance cases of Open Responses.


async def test_compliance_basic_response(client):
    async with client(script=["Hello to you."]) as it:
        asked = [{"type": "message", "role": "user", "content": "Say hello in exactly 3 words."}]
        response = await it.create(input=asked)
        assert response["output"] and response["status"] == "completed"


async def test_compliance_streaming_response(client):
    async with client(script=["1, 2, 3, 4, 5, and that is all."]) as it:
        events = await it.stream(input=[{"type": "message", "role": "user", "content": "Count from 1 to 5."}])
        assert events[-1]["type"] == "response.completed" and events[-1]["response"]["status"] == "completed"


async def test_compliance_system_prompt(client):
    async with client(script=["Ahoy."]) as it:
        asked = [
            {"type": "message", "role": "system", "content": "You are a pirate. Always respond in pirate speak."},
            {"type": "message", "role": "user", "content": "Say hello."},
        ]
        response = await it.create(input=asked)
        assert response["output"] and response["status"] == "completed"
        [[(role, told), *_]] = await prompts(it.served)
        assert role == "system" and "You are a pirate." in told


async def test_compliance_tool_calling(client):
    async with client(script=[CALL]) as it:
        response = await it.create(input="What's the weather like in San Francisco?", tools=[WEATHER])
        [call] = response["output"]
        assert (call["type"], call["name"]) == ("function_call", "get_weather")
        assert json.loads(call["arguments"]) == {"location": "San Francisco, CA"}


async def test_compliance_tool_calling_streaming(client):
    async with client(script=[CALL]) as it:
        events = await it.stream(input="What's the weather like in San Francisco?", tools=[WEATHER])
        assert [event["type"] for event in events[2:]] == [
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert events[2]["item"]["type"] == events[5]["item"]["type"] == "function_call"
        assert events[2]["item"]["name"] == "get_weather" and events[2]["item"]["arguments"] == ""


async def test_compliance_image_input(client):
    async with client(script=["I cannot see images."]) as it:
        content = [
            {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
        ]
        response = await it.create(input=[{"type": "message", "role": "user", "content": content}])
        assert response["output"] and response["status"] == "completed"
        assert "an image, which cannot be seen here" in str(await prompts(it.served))


async def test_compliance_multi_turn(client):
    async with client(script=["Alice."]) as it:
        asked = [
            {"type": "message", "role": "user", "content": "My name is Alice."},
            {"type": "message", "role": "assistant", "content": "Hello Alice! How can I help you today?"},
            {"type": "message", "role": "user", "content": "What is my name?"},
        ]
        response = await it.create(input=asked)
        assert response["output"] and response["status"] == "completed"
        [[_, *said]] = await prompts(it.served)
        assert said == [
            ("human", "My name is Alice."),
            ("ai", "Hello Alice! How can I help you today?"),
            ("human", "What is my name?"),
        ]


# OpenAI's client.


async def test_the_client_gets_text_and_usage(client):
    async with client(script=["Hello, you."]) as it:
        response = await it.openai.responses.create(model="acme/support", input="Hi", metadata={"ticket": "17"})
        assert (response.output_text, response.status, response.model) == ("Hello, you.", "completed", "acme/support")
        assert response.usage is not None and response.usage.total_tokens > 0
        assert response.usage.input_tokens_details.cached_tokens == 0
        assert response.metadata == {"ticket": "17"} and response.id.startswith("resp_")
        again = await it.openai.responses.retrieve(response.id)
        assert again.to_dict() | {"completed_at": 0} == response.to_dict() | {"completed_at": 0}
        assert response.model_extra is not None and response.model_extra["sartor"]["outcome"] == "answered"


async def test_the_client_streams(client):
    async with client(script=["A long answer that comes in pieces."]) as it:
        async with it.openai.responses.stream(model="support", input="Hi") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            response = await stream.get_final_response()
        assert len(deltas) > 2 and "".join(deltas) == response.output_text == "A long answer that comes in pieces."
        assert (await it.openai.responses.retrieve(response.id)).output_text == response.output_text


class City(BaseModel):
    name: str
    people: int


async def test_the_client_parses_a_format(client):
    told = '{"name": "Lyon", "people": 520000}'
    async with client(script=[told, told]) as it:
        response = await it.openai.responses.parse(model="support", input="Lyon?", text_format=City)
        assert response.output_parsed == City(name="Lyon", people=520000)
        async with it.openai.responses.stream(model="support", input="Lyon?", text_format=City) as stream:
            assert (await stream.get_final_response()).output_parsed == City(name="Lyon", people=520000)
        options = it.served.bots.model("scripted").options
        assert options[0]["response_format"]["json_schema"]["name"] == "City"


async def test_what_is_asked_of_the_model_reaches_it(client):
    async with client(script=["One."]) as it:
        response = await it.create(
            input="Hi", max_output_tokens=50, temperature=0.2, top_p=0.9, text={"format": {"type": "json_object"}}
        )
        assert (response["max_output_tokens"], response["temperature"], response["top_p"]) == (50, 0.2, 0.9)
        [options] = it.served.bots.model("scripted").options
        assert (options["max_tokens"], options["temperature"], options["top_p"]) == (50, 0.2, 0.9)
        assert options["response_format"] == {"type": "json_object"}


async def test_the_client_runs_tools_over_previous_responses(client):
    other = {"call": "get_weather", "arguments": {"location": "Oslo"}}
    async with client(script=[CALL, other, "Warmer in San Francisco.", "You asked of two cities."]) as it:
        create = it.openai.responses.create
        first = await create(model="support", input="Where is it warmer, there or in Oslo?", tools=[WEATHER])
        [call] = first.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "64 degrees"}
        second = await create(model="support", previous_response_id=first.id, input=[output], tools=[WEATHER])
        [call] = second.output
        assert json.loads(call.arguments) == {"location": "Oslo"}
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "41 degrees"}
        third = await create(model="support", previous_response_id=second.id, input=[output], tools=[WEATHER])
        assert third.output_text == "Warmer in San Francisco." and third.previous_response_id == second.id
        fourth = await create(model="support", previous_response_id=third.id, input="What did I ask?")
        assert fourth.output_text == "You asked of two cities."
        assert fourth.conversation == first.conversation
        asked = await prompts(it.served)
        assert [role for role, _ in asked[2]] == ["system", "human", "ai", "tool", "ai", "tool"]
        assert [text for role, text in asked[2] if role == "tool"] == ["64 degrees", "41 degrees"]
        assert asked[3][1:] == [
            ("human", "Where is it warmer, there or in Oslo?"),
            ("ai", "Warmer in San Francisco."),
            ("human", "What did I ask?"),
        ]
        items = [item async for item in await it.openai.responses.input_items.list(second.id)]
        assert [(item.type, item.output) for item in items] == [("function_call_output", "64 degrees")]


async def test_tools_run_without_anything_stored(client):
    async with client(script=["It is 64 degrees."]) as it:
        items = [
            {"role": "user", "content": "How warm is it?"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"location": "SF"}'},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "64"}]},
        ]
        response = await it.create(input=items, tools=[WEATHER], store=False)
        assert text_of(response) == "It is 64 degrees." and not response["store"]
        assert [role for role, _ in (await prompts(it.served))[0]] == ["system", "human", "ai", "tool"]
        answer = await it.served.client.get(f"/v1/responses/{response['id']}", headers=it.headers)
        assert answer.status_code == 404
        status, error = await it.refused(previous_response_id=response["id"], input="And now?")
        assert (status, error["code"]) == (404, "previous_response_not_found")


async def test_a_question_may_come_with_results_of_tools(client):
    async with client(script=[CALL, "64 degrees."]) as it:
        first = await it.create(input="How warm is it?", tools=[WEATHER])
        output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "64"}
        await it.create(
            previous_response_id=first["id"], input=[output, {"role": "user", "content": "In Celsius, please."}]
        )
        assert ("human", "How warm is it?\n\nIn Celsius, please.") in (await prompts(it.served))[1]


async def test_a_response_may_go_on_from_an_earlier_one(client):
    async with client(script=["One.", "Two.", "Aside.", "Last."]) as it:
        first = await it.create(input=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "A"}])
        second = await it.create(input="B", previous_response_id=first["id"], instructions="Be short.")
        aside = await it.create(input="C", previous_response_id=first["id"])
        await it.create(input="D", previous_response_id=aside["id"])
        asked = await prompts(it.served)
        assert asked[3][1:] == [
            ("human", "A"),
            ("ai", "One."),
            ("human", "C"),
            ("ai", "Aside."),
            ("human", "D"),
        ]
        assert second["instructions"] == "Be short." and "Be short." in asked[1][0][1]
        assert "Be short." not in asked[3][0][1] and "Be kind." in asked[3][0][1]


async def test_items_may_be_named_by_their_ids(client):
    async with client(script=["One.", "Two."]) as it:
        first = await it.create(input="A", store=True)
        given = await it.served.client.get(f"/v1/responses/{first['id']}/input_items", headers=it.headers)
        references = [{"type": "item_reference", "id": given.json()["data"][0]["id"]}, {"id": first["output"][0]["id"]}]
        await it.create(input=[*references, {"role": "user", "content": "B"}])
        assert (await prompts(it.served))[1][1:] == [("human", "A"), ("ai", "One."), ("human", "B")]
        for unknown in ("msg_1", f"msg_{'0' * 32}", first["output"][0]["id"] + "_x"):
            status, error = await it.refused(input=[{"id": unknown}, {"role": "user", "content": "B"}])
            assert (status, error["code"]) == (404, "not_found")


async def test_a_conversation_goes_on(client):
    async with client(script=["One.", "Two."]) as it:
        first = await it.create(input="A", conversation="chat-17", user="u-1")
        assert first["conversation"] == {"id": "chat-17"}
        await it.create(input="B", conversation={"id": "chat-17"}, user="u-1")
        assert (await prompts(it.served))[1][1:] == [("human", "A"), ("ai", "One."), ("human", "B")]
        status, error = await it.refused(input="C", conversation="chat-17", user="u-2")
        assert (status, error["code"]) == (404, "not_found")
        status, error = await it.refused(input="C", conversation="chat-17", previous_response_id=first["id"])
        assert (status, error["code"]) == (400, "mutually_exclusive_parameters")


async def test_a_conversation_goes_on_with_results_of_tools(client):
    async with client(script=[CALL, "64.", CALL, "Never mind."]) as it:
        asked = {"conversation": "chat-17", "tools": [WEATHER]}
        first = await it.create(input="How warm?", **asked)
        output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "64"}
        assert text_of(await it.create(input=[output], **asked)) == "64."
        await it.create(input="And now?", **asked)
        await it.create(input="Forget it.", **asked)
        assert (await prompts(it.served))[3][1:] == [("human", "How warm?"), ("ai", "64."), ("human", "Forget it.")]


# What is another's is not there.


async def test_another_tenants_response_is_not_there(client):
    async with client(script=["One.", "Two."]) as it:
        first = await it.create(input="A", user="u-1")
        rival = Client(it.served, await it.served.key("rival"))
        for method, path in [("GET", ""), ("GET", "/input_items"), ("DELETE", ""), ("POST", "/cancel")]:
            there = f"/v1/responses/{first['id']}{path}"
            answer = await it.served.client.request(method, there, headers=rival.headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        status, error = await rival.refused(previous_response_id=first["id"], input="B")
        assert (status, error["code"], error["param"]) == (404, "previous_response_not_found", "previous_response_id")
        status, unknown = await rival.refused(previous_response_id="resp_0", input="B")
        assert unknown["message"].replace("resp_0", first["id"]) == error["message"]
        with pytest.raises(openai.NotFoundError):
            await rival.openai.responses.retrieve(first["id"])


async def test_a_response_goes_on_in_the_name_of_its_user(client):
    async with client(script=["One.", "Two."]) as it:
        first = await it.create(input="A", user="u-1")
        second = await it.create(input="B", previous_response_id=first["id"])
        stored = await it.served.bots.store.tenant("acme").reply(second["id"].removeprefix("resp_"))
        assert stored.reply.turn.user == "u-1"
        status, error = await it.refused(input="C", previous_response_id=first["id"], safety_identifier="u-2")
        assert (status, error["code"]) == (404, "previous_response_not_found")


async def test_a_user_whom_the_host_signs_sees_only_own_responses(client, monkeypatch):
    secret = "a secret of thirty-two characters!!"
    monkeypatch.setenv("ACME_USERS", secret)
    files = {"tenants/acme/tenant.yaml": "users: {secret: 'env:ACME_USERS'}\n"}
    async with client(script=["One.", "Two.", "Three."], files=files) as it:
        first = await it.create(input="A", user="u-1")

        def signed(user):
            token = jwt.encode({"sub": user, "exp": int(time.time()) + 60}, secret, "HS256")
            return it.headers | {"Sartor-User": token}

        there = f"/v1/responses/{first['id']}"
        assert (await it.served.client.get(there, headers=signed("u-1"))).status_code == 200
        assert (await it.served.client.get(there, headers=signed("u-2"))).status_code == 404
        asked = {"model": "support", "input": "B", "previous_response_id": first["id"]}
        assert (await it.served.client.post("/v1/responses", json=asked, headers=signed("u-2"))).status_code == 404
        asked = {"model": "support", "input": "B", "user": "u-1"}
        answer = await it.served.client.post("/v1/responses", json=asked, headers=signed("u-2"))
        stored = await it.served.bots.store.tenant("acme").reply(answer.json()["id"].removeprefix("resp_"))
        assert stored.reply.turn.user == "u-2"


async def test_audience_and_language_go_on_too(client):
    bot = "grounding: free\nretrieval: {passages: 0}\nlanguages: [en, fr]\naudiences: {trade: {instructions: Trade.}}\n"
    async with client(script=["One.", "Two."], files={"tenants/acme/support/bot.yaml": bot}) as it:
        about = {"audience": "trade", "language": "fr"}
        first = await it.openai.responses.create(model="support", input="A", extra_body=about)
        second = await it.create(input="B", previous_response_id=first.id)
        stored = await it.served.bots.store.tenant("acme").reply(second["id"].removeprefix("resp_"))
        assert (stored.reply.turn.audience, stored.reply.turn.language) == ("trade", "fr")
        assert "Trade." in (await prompts(it.served))[1][0][1]


async def test_without_truncation_a_long_history_is_refused(client):
    bot = "grounding: free\nretrieval: {passages: 0}\nlimits: {history_turns: 1}\n"
    async with client(script=["One.", "Two.", "Three."], files={"tenants/acme/support/bot.yaml": bot}) as it:
        first = await it.create(input="A")
        second = await it.create(input="B", previous_response_id=first["id"], truncation="disabled")
        asked = {"input": "C", "previous_response_id": second["id"]}
        status, error = await it.refused(**asked, truncation="disabled")
        assert (status, error["code"]) == (400, "context_length_exceeded")
        await it.create(**asked)
        assert (await prompts(it.served))[2][1:] == [("human", "B"), ("ai", "Two."), ("human", "C")]


@pytest.mark.parametrize("flows", ["", FLOWS])
async def test_the_prompts_of_a_long_chain_begin_alike(client, flows):
    """Whether it is read as a chain or, for a bot with flows, as the conversation that it is."""
    bot = f"grounding: free\nretrieval: {{passages: 0}}\nlimits: {{history_turns: 4}}\n{flows}"
    count = 14
    async with client(script=[f"R{at}" for at in range(count)], files={"tenants/acme/support/bot.yaml": bot}) as it:
        response = await it.create(input="Q0")
        for at in range(1, count):
            response = await it.create(input=f"Q{at}", previous_response_id=response["id"])
        first = [int(prompt[1][1][1:]) for prompt in await prompts(it.served)]
    assert first == [0, 0, 0, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10]


@pytest.mark.parametrize("count", range(4, 10))
async def test_a_flow_begins_in_a_long_chain_in_which_the_client_ran_a_tool(client, count):
    """Turns without a reply stand in the conversation, and are no part of what the model is shown."""
    bot = f"grounding: free\nretrieval: {{passages: 0}}\nlimits: {{history_turns: 4}}\n{FLOWS}"
    files = {"tenants/acme/support/bot.yaml": bot}
    async with client(script=["R1", "R2", CALL, *(f"R{at}" for at in range(4, count))], files=files) as it:
        first = await it.create(input="Q1")
        second = await it.create(input="Q2", previous_response_id=first["id"])
        calls = await it.create(input="Q3", previous_response_id=second["id"], tools=[WEATHER])
        output = {"type": "function_call_output", "call_id": calls["output"][0]["call_id"], "output": "64 degrees"}
        response = await it.create(input=[output], previous_response_id=calls["id"], tools=[WEATHER])
        for at in range(5, count):
            response = await it.create(input=f"Q{at}", previous_response_id=response["id"])
        begun = await it.create(input="Plan a visit", previous_response_id=response["id"])
        assert text_of(begun) == "In whose name?"


async def test_a_person_who_has_the_conversation_keeps_it(client):
    bot = "grounding: free\nhand_over: {}\n"
    async with client(script=["The bot is back."], files={"tenants/acme/support/bot.yaml": bot}) as it:
        wanted = await it.create(input="I want to talk to a human")
        waiting = await it.create(input="Hello?", previous_response_id=wanted["id"])
        assert "has been passed on" in text_of(waiting)
        people, http = await it.served.key("acme", "people"), it.served.client
        [there] = (await http.get("/v1/handovers", headers=people)).json()["data"]
        url = f"/v1/handovers/{there['id']}"
        await http.post(f"{url}/messages", json={"text": "I am here.", "by": "Ana"}, headers=people)
        still = await it.create(input="When are you open?", previous_response_id=waiting["id"])
        assert text_of(still) == ""
        await http.post(f"{url}/release", json={"by": "Ana"}, headers=people)
        back = await it.create(input="And on Sundays?", previous_response_id=still["id"])
        assert text_of(back) == "The bot is back."
        assert "I am here." in [text for _, text in (await prompts(it.served))[0]]


async def test_a_turn_of_another_api_is_no_response(client):
    async with client(script=["One."]) as it:
        asked = {"bot": "support", "text": "Hi"}
        turn = (await it.served.client.post("/v1/turns", json=asked, headers=it.headers)).json()
        status, _ = await it.refused(input="B", previous_response_id=f"resp_{turn['id']}")
        assert status == 404


async def test_only_keys_that_may_chat_get_responses(serve):
    async with serve() as served:
        for headers in (await served.session(), await served.key("acme", "documents")):
            answer = await served.client.post(
                "/v1/responses", json={"model": "support", "input": "Hi"}, headers=headers
            )
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


async def test_a_deleted_response_is_found_no_more(client):
    async with client(script=["One."]) as it:
        first = await it.create(input="A")
        await it.openai.responses.delete(first["id"])
        with pytest.raises(openai.NotFoundError):
            await it.openai.responses.retrieve(first["id"])


async def test_there_is_nothing_to_cancel(client):
    async with client(script=["One."]) as it:
        first = await it.create(input="A")
        with pytest.raises(openai.BadRequestError, match="close its connection"):
            await it.openai.responses.cancel(first["id"])


# What comes of a turn.

BLOCKING = {
    "plugins/blocking.py": """
from sartor.plugin import Plugin, hookimpl
from sartor.policy import Kind, Policy, Verdict

class Blocking(Plugin):
    @hookimpl
    def sartor_policies(self, bot):
        return [NoBombs()]

class NoBombs(Policy):
    async def input(self, turn, text):
        return Verdict(Kind.BLOCK, "bombs", message="Not that.") if "bomb" in text else Verdict(Kind.ALLOW)
""",
    "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nplugins: {blocking: {}}\n",
}


async def test_a_policys_no_is_text_unless_a_format_was_asked_for(client):
    async with client(files=BLOCKING) as it:
        response = await it.create(input="A bomb, please.")
        assert text_of(response) == "Not that." and response["status"] == "completed"
        assert response["sartor"]["outcome"] == "blocked" and response["sartor"]["verdicts"][0]["reason"] == "bombs"
        parsed = await it.openai.responses.parse(model="support", input="A bomb?", text_format=City)
        assert parsed.output_parsed is None and parsed.output[0].content[0].refusal == "Not that."
        events = await it.stream(input="A bomb?", text={"format": {"type": "json_object"}})
        kinds = [event["type"] for event in events]
        assert "response.refusal.done" in kinds and "response.output_text.delta" not in kinds
        again = await it.served.client.get(f"/v1/responses/{events[0]['response']['id']}", headers=it.headers)
        assert again.json()["output"] == events[-1]["response"]["output"]


async def test_a_model_that_breaks_makes_a_failed_response(client):
    async with client(script=["FAIL", "FAIL"]) as it:
        response = await it.openai.responses.create(model="support", input="Hi")
        assert response.status == "failed" and response.error is not None and response.error.code == "server_error"
        assert "broke" not in response.to_json()
        events = await it.stream(input="Hi")
        assert events[-1]["type"] == "response.failed" and events[-1]["response"]["error"]["code"] == "server_error"


CUTTING = {
    "plugins/cutting.py": """
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from sartor.plugin import Plugin, hookimpl

class Cutting(Plugin):
    @hookimpl
    def sartor_model(self):
        return Model()

class Model(BaseChatModel):
    _llm_type = "cutting"

    def _generate(self, *args, **options):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **options):
        yield ChatGenerationChunk(message=AIMessageChunk("Once upon"))
        yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata={"finish_reason": "length"}))
""",
    "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nmodel: cutting\n",
}


async def test_what_the_limit_of_tokens_cut_is_incomplete(client):
    sartor_yaml = "\n".join(["models:", "  scripted: {plugin: scripted}", "  cutting: {plugin: cutting}", ""])
    files = CUTTING | {"sartor.yaml": f"model: scripted\n{sartor_yaml}index: {{plugin: memory-index}}\n"}
    async with client(files=files) as it:
        response = await it.openai.responses.create(model="support", input="A tale?", max_output_tokens=2)
        assert (response.output_text, response.status) == ("Once upon", "incomplete")
        assert response.incomplete_details is not None and response.incomplete_details.reason == "max_output_tokens"
        assert response.output[0].status == "incomplete"
        again = await it.openai.responses.retrieve(response.id)
        assert again.status == "incomplete" and again.output == response.output
        events = await it.stream(input="A tale?")
        assert events[-1]["type"] == "response.incomplete"


async def test_a_database_that_fails_in_a_stream_ends_it_with_an_error(client, monkeypatch):
    async with client(script=["One.", "Two."]) as it:

        async def fails(*args):
            raise StoreError("the disk is full")

        monkeypatch.setattr(TenantStore, "put_response", fails)
        events = await it.stream(input="A")
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-2]["code"] == events[-2]["error"]["code"] == "unavailable" and "disk" not in str(events)
        status, error = await it.refused(input="B")
        assert (status, error["code"]) == (503, "unavailable")


KNOWLEDGE = {
    "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 2}\n",
    "tenants/acme/support/knowledge/prices.md": "# Prices\n\nDelivery costs five euros.\n",
}


async def test_citations_are_annotations(client):
    async with client(script=["Five euros [1].", "Five euros [1]."], files=KNOWLEDGE) as it:
        await it.served.bots.knowledge("acme/support").ingest()
        body = {"model": "support", "input": "What does delivery cost?"}
        response = await it.openai.responses.create(**body)
        [annotation] = response.output[0].content[0].annotations
        assert (annotation.type, annotation.filename, annotation.file_id) == ("file_citation", "prices.md", "prices.md")
        assert response.output_text[annotation.index :] == "[1]."
        assert (annotation.model_extra["number"], annotation.model_extra["title"]) == (1, "Prices")
        async with it.openai.responses.stream(**body) as stream:
            kinds = {event.type: event async for event in stream}
        assert kinds["response.output_text.annotation.added"].annotation.filename == "prices.md"


@pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not there")
async def test_the_built_in_model_quotes_with_a_citation(client):
    files = {
        "sartor.yaml": "model: builtin\nmodels: {builtin: {plugin: llama, path: builtin}}\n",
        "tenants/acme/support/bot.yaml": "title: Acme Cycles\ngrounding: quote\n",
        **{f"tenants/acme/support/knowledge/{file.name}": file.read_text() for file in DEMO.glob("*.md")},
    }
    async with client(files=files) as it:
        await it.served.bots.knowledge("acme/support").ingest()
        async with it.openai.responses.stream(model="support", input="When does a complete bike arrive?") as stream:
            response = await stream.get_final_response()
        assert "within six working days" in response.output_text and response.usage.input_tokens > 20
        assert response.output[0].content[0].annotations[0].filename == "delivery.md"
        with pytest.raises(openai.BadRequestError, match="quotes its documents"):
            await it.openai.responses.parse(model="support", input="What?", text_format=City)


OWN_TOOL = {
    "plugins/clock.py": '''
from sartor.plugin import Plugin, hookimpl
from sartor.tools import tool

class Clock(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        return [time]

@tool
def time(city: str) -> str:
    """The time in a city."""
    return "noon"
''',
    "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nplugins: {clock: {}}\n",
}


async def test_tools_of_the_bot_are_not_the_clients_to_run(client):
    own = {"call": "time", "arguments": {"city": "SF"}}
    async with client(script=[own, CALL, "Noon, 64 degrees."], files=OWN_TOOL) as it:
        first = await it.create(input="Time and weather in SF?", tools=[WEATHER])
        assert [item["name"] for item in first["output"]] == ["get_weather"]
        assert [tool["name"] for tool in first["sartor"]["tools"]] == ["time", "get_weather"]
        output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "64"}
        second = await it.create(previous_response_id=first["id"], input=[output], tools=[WEATHER])
        assert text_of(second) == "Noon, 64 degrees." and len(second["output"]) == 1
        assert [text for role, text in (await prompts(it.served))[2] if role == "tool"] == ["noon", "64"]


async def test_a_transcript_that_comes_back_brings_the_bots_own_results(client):
    own = {"call": "time", "arguments": {"city": "SF"}}
    async with client(script=[own, CALL, "Noon, 64 degrees."], files=OWN_TOOL) as it:
        asked = {"role": "user", "content": "Time and weather in SF?"}
        first = await it.create(input=[asked], tools=[WEATHER], store=False)
        output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "64"}
        second = await it.create(input=[asked, *first["output"], output], tools=[WEATHER])
        assert text_of(second) == "Noon, 64 degrees."
        assert [text for role, text in (await prompts(it.served))[2] if role == "tool"] == ["noon", "64"]
        answer = await it.served.client.get(f"/v1/responses/{second['id']}/input_items?order=asc", headers=it.headers)
        assert [item["type"] for item in answer.json()["data"]] == ["message", "function_call", "function_call_output"]


async def test_only_allowed_tools_are_offered(client):
    other = {"type": "function", "name": "other"}
    async with client(script=["No.", "No.", CALL]) as it:
        allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "other"}]}
        response = await it.create(input="Hi", tools=[WEATHER, other], tool_choice=allowed)
        assert response["tool_choice"] == allowed and [tool["name"] for tool in response["tools"]] == [
            "get_weather",
            "other",
        ]
        [options] = it.served.bots.model("scripted").options
        assert [tool["function"]["name"] for tool in options["tools"]] == ["other"]
        await it.create(input="Hi", tools=[WEATHER], tool_choice="none")
        assert "tools" not in it.served.bots.model("scripted").options[1]
        await it.create(input="Hi", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"})


CALLED = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"input": ""}, "invalid_request"),
        ({"input": []}, "invalid_request"),
        ({"input": 7}, "invalid_value"),
        ({"input": "x" * 100_000}, "invalid_request"),
        ({"input": [{"role": "assistant", "content": "Hi"}]}, "missing"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "invalid_value"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "invalid_value"),
        ({"input": [{"role": "user", "content": "Hi"}] * 501}, "too_many_items"),
        ({"input": [{"role": "user", "content": "Hi"}, CALLED]}, "missing"),
        ({"input": [{"role": "user", "content": "Hi"}, CALLED | {"arguments": "["}]}, "invalid_value"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]}, "invalid_value"),
        ({"input": "Hi", "tools": [{"type": "web_search"}]}, "invalid_value"),
        ({"input": "Hi", "tools": [WEATHER | {"name": "auto"}]}, "invalid_value"),
        ({"input": "Hi", "tools": [WEATHER | {"parameters": {"type": "string"}}]}, "invalid_value"),
        ({"input": "Hi", "tools": [WEATHER, WEATHER]}, "invalid_request"),
        ({"input": "Hi", "tool_choice": {"type": "function", "name": "none such"}}, "invalid_value"),
        (
            {"input": "Hi", "tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [{"name": "x"}]}},
            "invalid_value",
        ),
        ({"input": "Hi", "background": True}, "unsupported_parameter"),
        ({"input": "Hi", "prompt": {"id": "p"}}, "unsupported_parameter"),
        ({"input": "Hi", "frequency_penalty": 0.5}, "unsupported_parameter"),
        ({"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x"}}}, "missing"),
        ({"input": "Hi", "user": "visitor:1"}, "invalid_value"),
        ({"input": "Hi", "audience": "nobody"}, "invalid_request"),
        ({"input": "Hi", "metadata": {"a": 1}}, "invalid_value"),
        ({"input": "Hi", "max_output_tokens": 0}, "invalid_value"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_asked_is_refused_before_a_stream_begins(client, body, code, stream):
    async with client() as it:
        status, error = await it.refused(**body, stream=stream)
        assert (status, error["code"]) == (400, code), error


async def test_all_outputs_of_calls_are_needed(client):
    async with client(script=[CALL]) as it:
        first = await it.create(input="Weather?", tools=[WEATHER])
        status, error = await it.refused(previous_response_id=first["id"], input="Never mind.")
        assert (status, error["code"]) == (400, "missing") and first["output"][0]["call_id"] in error["message"]


async def test_a_bot_that_is_not_there_is_not_found(client):
    async with client() as it:
        for model in ("nothing", "rival/support", "../x"):
            status, error = await it.refused(model=model, input="Hi")
            assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
        with pytest.raises(openai.NotFoundError):
            await it.openai.responses.create(model="nothing", input="Hi")


async def test_too_much_at_once_is_refused_before_a_stream_begins(client):
    async with client(sartor_yaml="service: {turns: 1}\n", script=["One."]) as it:
        with it.served.service.live.place("rival"):
            for stream in (False, True):
                status, error = await it.refused(input="Hi", stream=stream)
                assert (status, error["type"]) == (429, "rate_limit_error")
        await it.create(input="Hi")
        assert it.served.service.live.running == 0


# Clients that go away.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_stops_the_turn(client, stream):
    async with client(script=["word " * 400], delay=0.02) as it:
        body = {"model": "support", "input": "Hi", "stream": stream}
        content = json.dumps(body).encode()
        gone = asyncio.Event()
        heard: list[bytes] = []
        given = False

        async def receive():
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": content, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            heard.append(message.get("body", b""))
            if b"output_text.delta" in heard[-1]:
                gone.set()

        headers = {**it.headers, "Content-Type": "application/json"}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/responses", "raw_path": b"/v1/responses", "query_string": b"", "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("service", 80), "client": ("here", 1),
        }  # fmt: skip
        if not stream:
            asyncio.get_running_loop().call_later(0.3, gone.set)
        app = it.served.client._transport.app
        await asyncio.wait_for(app(scope, receive, send), 5)
        assert it.served.service.live.running == 0
        [row] = await it.served.bots.store.tenant("acme").conversations("support", await user_of(it), 5)
        [turn] = await it.served.bots.store.tenant("acme").turns(row.id, 5)
        assert turn.reply.outcome == "cancelled" and len(turn.reply.text) < 1500
        assert await it.served.bots.store.tenant("acme").responses(turn.reply.turn.id) == []


async def user_of(it):
    [key] = await it.served.bots.store.tenant("acme").keys()
    return f"key:{key.id}"


# Anything at all.

SMALL = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-3, 3), st.text(max_size=5),
    st.sampled_from(["auto", "message", "user", "function_call", "resp_0", "get_weather", "input_text"]),
)  # fmt: skip
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["message", "function_call", "function_call_output", "item_reference", "reasoning", "input_text", None]
        ),
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
        "content": st.one_of(SMALL, st.lists(st.fixed_dictionaries({"type": SMALL, "text": SMALL}), max_size=2)),
        "call_id": SMALL,
        "name": SMALL,
        "arguments": st.one_of(SMALL, st.sampled_from(["{}", "[]", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 5000])),
        "output": SMALL,
        "id": st.one_of(SMALL, st.just(f"msg_{'0' * 32}")),
    },
)
BODY = st.fixed_dictionaries(
    {"model": st.sampled_from(["support", "support", "acme/support", "x"])},
    optional={
        "input": st.one_of(SMALL, st.lists(ITEM, max_size=4)),
        "tools": st.one_of(SMALL, st.lists(st.one_of(st.just(WEATHER), st.dictionaries(SMALL, SMALL, max_size=2)))),
        "tool_choice": st.one_of(SMALL, st.fixed_dictionaries({"type": SMALL, "name": SMALL, "tools": SMALL})),
        "text": st.one_of(SMALL, st.fixed_dictionaries({"format": st.fixed_dictionaries({"type": SMALL})})),
        **{
            name: SMALL
            for name in (
                "previous_response_id",
                "conversation",
                "instructions",
                "metadata",
                "store",
                "user",
                "temperature",
                "top_p",
                "max_output_tokens",
                "stream",
                "truncation",
                "audience",
                "language",
            )
        },
    },
)


async def test_no_body_makes_the_service_fail(client):
    async with client(script=["Fine."] * 5000) as it:

        async def ask(body):
            answer = await it.served.client.post("/v1/responses", json=body, headers=it.headers)
            assert answer.status_code < 500, (body, answer.text)
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            elif answer.headers["content-type"] == "application/json":
                spec.ResponseResource.model_validate(answer.json())
            else:
                assert answer.text.endswith("data: [DONE]\n\n")

        loop = asyncio.get_running_loop()

        @settings(
            max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
        )
        @given(BODY)
        def check(body):
            asyncio.run_coroutine_threadsafe(ask(body), loop).result()

        await asyncio.to_thread(check)
