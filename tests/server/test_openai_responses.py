"""The Responses API, with OpenAI's own client and the models of the Open Responses specification."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import openai
import openresponses_types as spec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
CALL = {"call": "get_weather", "arguments": {"location": "San Francisco, CA"}}

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
