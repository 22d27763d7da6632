"""Turns, conversations and usage on every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sartor.errors import NamingError, StoreError
from sartor.values import (
    Exchange,
    FlowNote,
    HandOver,
    Origin,
    Outcome,
    Reply,
    ToolCall,
    ToolResult,
    ToolUse,
    Turn,
    Usage,
    VerdictRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.store import Store


async def test_history_gives_the_last_turns_oldest_first(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    assert await acme.history("support", "ann", "c1", 5) == []
    for number in range(4):
        await acme.commit(make_reply(f"Question {number}", f"Reply {number}"))
    expected = [Exchange("Question 2", "Reply 2"), Exchange("Question 3", "Reply 3")]
    assert await acme.history("support", "ann", "c1", 2) == expected
    assert await acme.history("support", "ann", "c1", 0) == []
    assert len(await acme.history("support", "ann", "c1", 100)) == 4


@pytest.mark.parametrize(("bot", "user"), [("support", "bob"), ("sales", "ann")])
async def test_a_conversation_of_someone_else_does_not_exist(
    store: Store, make_reply: Callable[..., Reply], bot: str, user: str
) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    for limit in (5, 0):
        with pytest.raises(NamingError, match="no conversation 'c1'"):
            await acme.history(bot, user, "c1", limit)
    foreign = make_reply(bot=bot, user=user)
    with pytest.raises(NamingError, match="no conversation 'c1'"):
        await acme.commit(foreign)
    assert await acme.reply(foreign.turn.id) is None
    assert await acme.usage() == Usage(100, 40, 10, 1)


async def test_tenants_do_not_meet(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme, globex = store.tenant("acme"), store.tenant("globex")
    await acme.commit(make_reply("Ours?", "Acme's.", id="t1"))
    await globex.commit(make_reply("Ours?", "Globex's.", tenant="globex", id="t1"))
    assert await globex.history("support", "ann", "c1", 5) == [Exchange("Ours?", "Globex's.")]
    stored = await acme.reply("t1")
    assert stored is not None
    assert stored.reply.text == "Acme's."
    assert await store.tenants() == ["acme", "globex"]
    with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
        await acme.commit(make_reply(tenant="globex"))


async def test_a_turn_is_given_back_with_all_that_explains_it(store: Store) -> None:
    started = datetime(2026, 11, 23, 15, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    call = ToolCall(
        "call-1", "refund", {"order": "A-17", "amount": 12.5, "tags": ["a", None]}, {"order": frozenset({Origin.USER})}
    )
    reply = Reply(
        Turn("t1", "c1", "acme", "support", "ann", "Refund Ünïcödé 🙂?", "business", "de", started),
        "Done.",
        Outcome.FAILED,
        tools=(ToolUse(call, ToolResult("call-1", "refund", "ok", False, 0.25)),) * 2,
        verdicts=(
            VerdictRecord("pii", "input", "rewrite", "an e-mail address"),
            VerdictRecord("approve", "tool", "ask", "it acts", "refund"),
        ),
        usage=Usage(9_000_000_000, 40, 10, 2),
        seconds={"total": 1.5, "model": 1.0},
        model="tailor",
        error="ModelError: stopped",
    )
    acme = store.tenant("acme")
    before = datetime.now(UTC)
    await acme.commit(reply)
    stored = await acme.reply("t1")
    assert stored is not None
    assert stored.reply == reply
    assert stored.reply.turn.started == started
    assert stored.number == 1
    assert before <= stored.committed <= datetime.now(UTC)
    assert stored.committed.utcoffset() == timedelta(0)
    assert await acme.reply("unknown") is None


async def test_passages_are_stored_without_their_text(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    reply = make_reply()
    await acme.commit(reply)
    stored = await acme.reply(reply.turn.id)
    assert stored is not None
    assert stored.reply.passages == (replace(reply.passages[0], text=""),)
    assert stored.reply.citations == reply.citations


async def test_a_turn_is_committed_once(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply(id="t1"))
    with pytest.raises(StoreError, match="'t1' of tenant 'acme' is stored already"):
        await acme.commit(make_reply("Again?", id="t1"))
    [row] = await acme.conversations("support", "ann", 10)
    assert row.turns == 1
    assert await acme.usage() == Usage(100, 40, 10, 1)


async def test_conversations_latest_first(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    for conversation in ("c1", "c2", "c1"):
        await acme.commit(make_reply(conversation=conversation))
    await acme.commit(make_reply(conversation="bobs", user="bob"))
    rows = await acme.conversations("support", "ann", 10)
    assert [(row.id, row.turns) for row in rows] == [("c1", 2), ("c2", 1)]
    assert rows[0].started < rows[0].updated
    assert [row.id for row in await acme.conversations("support", "ann", 1)] == ["c1"]
    assert await acme.conversations("support", "ann", 0) == await acme.conversations("support", "ann", -1) == []
    assert await store.tenant("globex").conversations("support", "ann", 10) == []


async def test_usage_by_bot_and_time(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    assert await acme.usage() == Usage()
    await acme.commit(make_reply())
    await acme.commit(make_reply())
    between = datetime.now(UTC)
    await acme.commit(make_reply(conversation="c2", bot="sales"))
    assert await acme.usage() == Usage(300, 120, 30, 3)
    assert await acme.usage("support") == Usage(200, 80, 20, 2)
    assert await acme.usage(since=between) == Usage(100, 40, 10, 1)
    assert await acme.usage("support", between) == Usage()
    assert await store.tenant("globex").usage() == Usage()


async def test_turns_that_end_at_once_are_numbered_without_gaps(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    replies = [make_reply(conversation=f"c{number % 2}") for number in range(20)]
    await asyncio.gather(*(acme.commit(reply) for reply in replies))
    numbers: dict[str, list[int]] = {"c0": [], "c1": []}
    for reply in replies:
        stored = await acme.reply(reply.turn.id)
        assert stored is not None
        numbers[reply.turn.conversation].append(stored.number)
    assert all(sorted(found) == list(range(1, 11)) for found in numbers.values())


async def test_text_that_no_database_can_hold_is_mended(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply("a\0b", "half \ud83d, whole \ud83d\ude42"))
    assert await acme.history("support", "ann", "c1", 1) == [Exchange("a\ufffdb", "half \ufffd, whole 🙂")]


@pytest.mark.parametrize("name", ["", "a\0b", "\ud83d", "é" * 300])
async def test_keys_that_no_database_can_hold_are_refused(
    store: Store, make_reply: Callable[..., Reply], name: str
) -> None:
    acme = store.tenant("acme")
    with pytest.raises(NamingError, match="name of a user"):
        await acme.history("support", name, "c1", 1)
    with pytest.raises(NamingError, match="name of a conversation"):
        await acme.commit(make_reply(conversation=name))
    with pytest.raises(NamingError, match="name of a tenant"):
        store.tenant(name)


@pytest.mark.parametrize(
    "change", [{"seconds": {"total": float("nan")}}, {"started": datetime(2026, 11, 23)}], ids=["NaN", "no zone"]
)
async def test_values_without_a_meaning_are_refused_whole(
    store: Store, make_reply: Callable[..., Reply], change: dict[str, object]
) -> None:
    acme = store.tenant("acme")
    reply = make_reply()
    reply = replace(reply, turn=replace(reply.turn, **change)) if "started" in change else replace(reply, **change)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="cannot hold a value"):
        await acme.commit(reply)
    assert await acme.conversations("support", "ann", 1) == []
    assert await store.tenants() == []


async def test_a_number_beyond_all_databases(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    with pytest.raises(StoreError):
        await acme.commit(replace(make_reply(), usage=Usage(2**70)))
    assert await store.tenants() == []


async def test_a_failure_in_the_middle_leaves_nothing(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    reply = make_reply()
    broken = ToolUse(ToolCall("1", "tool", {"x": float("inf")}), ToolResult("1", "tool", "text"))
    with pytest.raises(StoreError):
        await acme.commit(replace(reply, tools=(broken,)))
    assert await acme.history("support", "ann", "c1", 1) == []
    assert await acme.usage() == Usage()
    await acme.commit(reply)


async def test_where_flows_stand_is_kept_with_the_conversation(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    assert await acme.standing("support", "ann", "c1") is None
    await acme.commit(make_reply())
    assert await acme.standing("support", "ann", "c1") is None
    note = FlowNote("booking", "asking", "day", {"service": "checkup", "guests": 2}, ("one", "two"))
    reply = replace(make_reply(id="t2"), flow=note, standing={"active": "booking"})
    await acme.commit(reply)
    assert await acme.standing("support", "ann", "c1") == {"active": "booking"}
    stored = await acme.reply("t2")
    assert stored is not None
    assert stored.reply.flow == note
    await acme.commit(make_reply())
    assert await acme.standing("support", "ann", "c1") == {"active": "booking"}, "a turn without a flow leaves it"
    for bot, user, conversation in [("sales", "ann", "c1"), ("support", "bob", "c1"), ("support", "ann", "c2")]:
        assert await acme.standing(bot, user, conversation) is None
        assert not await acme.exchange_standing(bot, user, conversation, old={"active": "booking"}, new={})
    assert await store.tenant("globex").standing("support", "ann", "c1") is None


async def test_one_of_two_who_change_where_flows_stand(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    changes = [acme.exchange_standing("support", "ann", "c1", old=None, new={"by": number}) for number in range(8)]
    assert sum(await asyncio.gather(*changes)) == 1
    there = await acme.standing("support", "ann", "c1")
    assert not await acme.exchange_standing("support", "ann", "c1", old={"by": "nobody"}, new={})
    assert await acme.exchange_standing("support", "ann", "c1", old=there, new={"done": True})
    assert await acme.standing("support", "ann", "c1") == {"done": True}


async def test_the_last_turns_of_a_conversation(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    for number in range(5):
        await acme.commit(make_reply(f"Question {number}"))
    assert [one.reply.turn.text for one in await acme.last_turns("c1", 2)] == ["Question 3", "Question 4"]
    assert [one.number for one in await acme.last_turns("c1", 100)] == [1, 2, 3, 4, 5]
    assert await acme.last_turns("c1", 0) == await acme.last_turns("c2", 5) == []
    assert await store.tenant("globex").last_turns("c1", 5) == []


async def test_who_spoke_first_in_a_hand_over_stays(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    there = HandOver("h1", "acme", "support", "ann", "c1", "asked", "User: Hi", datetime.now(UTC))
    changes = [
        there,
        replace(there, taken_by="Ana"),
        replace(there, waited=True),  # of a turn that had read it before Ana spoke
        replace(there, taken_by="Bob"),
    ]
    for change in changes:
        await acme.commit(replace(make_reply(), handover=change))
    found = await acme.handover("h1")
    assert found is not None
    assert (found.taken_by, found.waited) == ("Ana", True)
