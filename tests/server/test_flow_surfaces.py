"""Flows over HTTP: what the APIs tell of them, and in which conversations they go on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest

BOT = """
plugins: {desk: {}}
flows:
  visit:
    title: your visit
    start: [plan a visit]
    slots:
      place: {ask: Which shop?, type: choice, choices: [North, South]}
      name: {ask: In whose name?}
    do: plan
    done: "{name} comes to {place}."
"""
DESK = '''
"""What plans visits."""
from sartor import Plugin, hookimpl, tool

@tool(acts=True)
def plan(place: str, name: str) -> str:
    "Plan a visit."
    return "planned"

class Desk(Plugin):
    @hookimpl
    def sartor_tools(self):
        return [plan]
'''
PROJECT = {"bot": BOT, "files": {"plugins/desk.py": DESK}}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BEGUN = {"name": "visit", "stage": "asking", "slot": "place", "values": {}, "options": ["North", "South"]}


async def test_a_turn_tells_of_its_flow(serve):
    async with serve(**PROJECT) as served:
        session = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Plan a visit"}, headers=session)).json()
        assert turn["flow"] == BEGUN
        await served.until(lambda: not served.service.live.running)
        assert (await served.client.get(f"/v1/turns/{turn['id']}", headers=session)).json()["flow"] == BEGUN
        there = f"/v1/conversations/{turn['conversation']}/turns"
        assert (await served.client.get(there, headers=session)).json()["data"][0]["flow"] == BEGUN


async def test_a_turn_without_a_flow_says_so(serve):
    async with serve(script=["Hello."], **PROJECT) as served:
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=await served.session())).json()
        assert turn["flow"] is None


async def test_a_stream_ends_with_the_flow(serve):
    async with serve(**PROJECT) as served:
        asked = {"text": "Plan a visit", "stream": True}
        answer = await served.client.post("/v1/turns", json=asked, headers=await served.session())
        ended = [event async for event in served.events(answer)][-1]
        assert (ended.name, ended.data["flow"]) == ("finished", BEGUN)


async def test_the_description_of_the_api_has_the_flow(serve):
    async with serve(**PROJECT) as served:
        described = (await served.client.get("/openapi.json")).json()["components"]["schemas"]
        assert set(described["FlowObject"]["properties"]) == set(BEGUN)
        assert "FlowObject" in json.dumps(described["TurnObject"]["properties"]["flow"])


async def test_a_chat_completion_in_a_conversation_keeps_its_flow(speak):
    async with speak(**PROJECT) as (client, _):

        async def says(text: str):
            asked = [{"role": "user", "content": text}]
            return await client.chat.completions.create(
                model="support", messages=asked, user="u", extra_body={"conversation": "mine"}
            )

        assert (await says("Plan a visit")).sartor["flow"] == BEGUN
        assert (await says("the second")).choices[0].message.content == "In whose name?"
        asked = await says("Ann")
        assert (asked.sartor["flow"]["stage"], asked.sartor["flow"]["values"]) == (
            "confirming",
            {"place": "South", "name": "Ann"},
        )
        assert (await says("yes")).choices[0].message.content == "Ann comes to South."


async def test_a_chat_completion_that_brings_what_was_said_has_no_flows(speak):
    async with speak(script=["Gladly."], **PROJECT) as (client, _):
        asked = [{"role": "user", "content": "Plan a visit"}]
        answer = await client.chat.completions.create(model="support", messages=asked)
        assert (answer.choices[0].message.content, answer.sartor["flow"]) == ("Gladly.", None)


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_responses_that_go_on_keep_their_flow(speak, by):
    async with speak(**PROJECT) as (client, _):
        told, more = [], {}
        for text in ("Plan a visit", "the second", "Ann", "yes"):
            response = await client.responses.create(model="support", input=text, user="u", **more)
            told.append(response.output_text)
            more = {by: response.id if by == "previous_response_id" else response.conversation.id}
        assert told[1:] == ["In whose name?", "Is this right?\n- Place: South\n- Name: Ann", "Ann comes to South."]


async def test_a_response_from_an_earlier_one_has_no_flow(speak):
    """What is on was asked for after it."""
    async with speak(script=["Hello.", "I cannot tell.", "Nor now."], **PROJECT) as (client, _):
        first = await client.responses.create(model="support", input="Hi")
        begun = await client.responses.create(model="support", input="Plan a visit", previous_response_id=first.id)
        assert begun.output_text.startswith("Which shop?")
        other = await client.responses.create(model="support", input="South", previous_response_id=first.id)
        assert other.output_text == "I cannot tell."


async def test_a_response_that_is_not_stored_or_brings_what_was_said_has_no_flow(speak):
    async with speak(script=["Gladly.", "With pleasure."], **PROJECT) as (client, _):
        response = await client.responses.create(model="support", input="Plan a visit", store=False)
        assert response.output_text == "Gladly."
        said = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Plan a visit"},
        ]
        response = await client.responses.create(model="support", input=said)
        assert response.output_text == "With pleasure."


async def test_a_flow_goes_on_through_a_channel(serve, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    bot = BOT.replace("{desk: {}}", '{desk: {}, webhook: {secrets: ["env:HOOK_SECRET"], mode: sync}}')
    async with serve(bot=bot, files=PROJECT["files"]) as served:

        async def says(number: int, text: str) -> str:
            sent = json.dumps({"user": "u-17", "conversation": "c", "text": text}).encode()
            headers = signed(sent, f"msg_{number}")
            return (await served.client.post("/channels/webhook/acme/support", content=sent, headers=headers)).text

        told = [await says(number, text) for number, text in enumerate(["Plan a visit", "the second", "Ann", "yes"])]
        assert "Which shop?" in told[0] and "In whose name?" in told[1]
        assert json.loads(told[3])["text"] == "Ann comes to South."


def signed(body: bytes, id_: str) -> dict[str, str]:
    stamp = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": signature}
