"""The synchronous wrapper: for scripts, and for threads of a web application."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sartor
from sartor.errors import NamingError, SpecError, UsageError
from sartor.values import Delta, Finished, Outcome

BOT = "acme/support"
FILES = {
    "tenants/acme/support/bot.yaml": "title: x\n",
    "tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nParcels leave within one day.\n",
}


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sartor"]


def test_reply_and_ingest(make_project):
    with sartor.open_sync(make_project(FILES, script=["One day [1]."])) as bots:
        assert list(bots) == [BOT] and len(threads()) == 1
        bots.ingest(BOT)
        reply = bots[BOT].reply("When do parcels leave?", user="u1")
        assert reply.text == "One day [1]." and reply.turn.user == "u1"
        assert [c.source for c in reply.citations] == ["delivery.md"]
    assert not threads()


def test_a_conversation_goes_on(make_project):
    with sartor.open_sync(make_project(FILES, script=["One.", "Two."])) as bots:
        first = bots[BOT].reply("A?", user="u1")
        second = bots[BOT].reply("B?", user="u1", conversation=first.turn.conversation)
        assert second.text == "Two." and second.turn.conversation == first.turn.conversation


def test_stream(make_project):
    with sartor.open_sync(make_project(FILES, script=["a long answer in pieces"])) as bots:
        events = list(bots[BOT].stream("When?"))
        assert isinstance(events[-1], Finished) and len(events) > 2
        assert "".join(e.text for e in events if isinstance(e, Delta)) == events[-1].reply.text


def test_closing_a_stream_early_stops_the_turn_and_commits_it(make_project):
    root = make_project(FILES, script=["a long answer " * 50] * 2)
    text = (root / "sartor.yaml").read_text().replace("choices: false", "choices: false, delay: 0.01")
    (root / "sartor.yaml").write_text(text)
    with sartor.open_sync(root) as bots:
        for event in bots[BOT].stream("When?", user="u1", conversation="left"):
            if isinstance(event, Delta):
                break
        stream = bots[BOT].stream("When?", user="u1", conversation="closed")
        assert isinstance(next(stream), sartor.Started)
        first = next(stream)
        stream.close()

    async def history(conversation: str):
        async with sartor.open(root) as bots:
            return await bots.store.tenant("acme").history("support", "u1", conversation, 5)

    for conversation in ("left", "closed"):
        [stored] = asyncio.run(history(conversation))
        assert stored.reply.startswith(first.text) and len(stored.reply) < 300


def test_exceptions_pass_through(make_project, tmp_path):
    with pytest.raises(SpecError, match=r"no sartor\.yaml"), sartor.open_sync(tmp_path):
        pass
    assert not threads()
    with sartor.open_sync(make_project(FILES)) as bots:
        with pytest.raises(NamingError, match="there is no bot 'acme/nobody'"):
            bots["acme/nobody"]
        with pytest.raises(UsageError, match="the message is empty"):
            bots[BOT].reply(" ")
        with pytest.raises(UsageError, match="the message is empty"):
            list(bots[BOT].stream(" "))


def test_an_exception_in_the_body_closes_the_project(make_project):
    with pytest.raises(ZeroDivisionError), sartor.open_sync(make_project(FILES)):
        raise ZeroDivisionError
    assert not threads()


def test_threads_share_a_project(make_project):
    with sartor.open_sync(make_project(FILES, script=[f"Answer {n}." for n in range(8)])) as bots:
        bot = bots[BOT]
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda n: bot.reply("A?", user=f"u{n}"), range(8)))
        assert sorted(reply.text for reply in replies) == [f"Answer {n}." for n in range(8)]
        assert all(reply.outcome is Outcome.ANSWERED for reply in replies)
        assert len({reply.turn.conversation for reply in replies}) == 8
