"""`sartor chat` while a person has the conversation."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
import sartor
from sartor.cli import chat, listening
from sartor.cli.listening import Listening
from sartor.handover.desk import Desk

BOT = {"tenants/acme/desk/bot.yaml": "grounding: free\nhand_over: {}\n"}


@pytest.fixture
async def desk(make_project):
    async with sartor.open(make_project(BOT, script=["Blue."])) as bots:
        yield Desk(bots, "acme")


def texts(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines() if line.strip()]


async def test_what_a_person_says_is_shown_before_the_next_message(desk, monkeypatch, capsys):
    messages = iter(["I want to talk to a human", "My boots leak", "Which colour?", None])

    async def say(text: str) -> None:
        [there] = await desk.open()
        await desk.say(there.id, text, by="Ana")

    async def release() -> None:
        [there] = await desk.open()
        await desk.release(there.id, by="Ana")

    meanwhile = [None, lambda: say("This is Ana."), release, None]

    async def next_(ear: Listening | None) -> str | None:
        if (act := meanwhile.pop(0)) is not None:
            await act()
        await ear.show()
        return next(messages)

    monkeypatch.setattr(chat, "_next", next_)
    bots = desk._bots
    await chat.talk(bots["acme/desk"], store=bots.store.tenant("acme"))
    told = texts(capsys.readouterr().out)
    assert told.count("Ana  This is Ana.") == 1
    assert told.count("bot  I am the assistant again. How else can I help?") == 1
    assert told.index("Ana  This is Ana.") < told.index("bot  I am the assistant again. How else can I help?")
    assert told[-2] == "bot  Blue."


async def test_at_a_terminal_it_is_shown_as_it_comes(desk, monkeypatch, capsys):
    monkeypatch.setattr(listening, "_SECONDS", 0.05)
    bots = desk._bots
    ear = Listening(bots.store.tenant("acme"))
    ear.follow(await bots["acme/desk"].reply("I want to talk to a human", user="ann", conversation="c1"))
    assert ear.waits
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        reading = asyncio.create_task(ear.read("you "))
        await asyncio.sleep(0.1)
        [there] = await desk.open()
        await desk.say(there.id, "Hello?", by="Ana")
        async with asyncio.timeout(5):
            while "Ana  Hello?" not in (told := capsys.readouterr().out):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        os.write(master, b"Hi there\n")
        assert await reading == "Hi there\n"
    os.close(master)
    assert "you" in told


async def test_without_a_person_nothing_is_asked(desk, monkeypatch):
    bots = desk._bots
    ear = Listening(bots.store.tenant("acme"))
    ear.follow(await bots["acme/desk"].reply("Which colour?", user="ann"))
    monkeypatch.setattr(type(bots.store.tenant("acme")), "turns", None)
    assert not ear.waits and not await ear.show()
