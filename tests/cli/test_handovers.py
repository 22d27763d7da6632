"""`sartor handovers`."""

from __future__ import annotations

import asyncio

import sartor as core


def test_a_person_answers_on_the_command_line(make_project, sartor):
    run = sartor
    root = make_project({"tenants/acme/desk/bot.yaml": "grounding: free\nhand_over: {}\n"})

    async def call() -> str:
        async with core.open(root) as bots:
            await bots["acme/desk"].reply("I want to talk to a human", user="ann", conversation="c1")
            [there] = await bots.store.tenant("acme").open_handovers()
            return there.id

    id_ = asyncio.run(call())
    listed = run("handovers", "list", "acme", "-p", root)
    assert id_ in listed.out
    assert "nobody yet" in listed.out
    assert run("handovers", "say", "acme", id_, "Hello Ann", "--by", "Ana", "-p", root).code == 0
    shown = run("handovers", "show", "acme", id_, "-p", root).out
    assert "user  I want to talk to a human" in shown
    assert "Ana  Hello Ann" in shown
    assert run("handovers", "release", "acme", id_, "--by", "Ana", "-p", root).code == 0
    assert "Nobody waits for a person at acme." in run("handovers", "list", "acme", "-p", root).out
