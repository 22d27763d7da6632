"""Flows over HTTP: what the APIs tell of them, and in which conversations they go on."""

from __future__ import annotations

import json

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
BEGUN = {"name": "visit", "stage": "asking", "slot": "place", "values": {}, "options": ["North", "South"]}


async def test_a_turn_tells_of_its_flow(serve):
    async with serve(**PROJECT) as served:
        session = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Plan a visit"}, headers=session)).json()
        assert turn["flow"] == BEGUN
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
