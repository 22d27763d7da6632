"""Turns: what is committed with them, in which order they come back, and which texts they may hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sartor.errors import NamingError, StoreError
from sartor.store import Store
from sartor.store.inspection import contents
from sartor.testing.suites.base import run
from sartor.testing.suites.store.base import StoreTests, several, with_store
from sartor.testing.suites.store.samples import SPENT, sample_handover, sample_reply
from sartor.values import (
    Exchange,
    FlowNote,
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

__all__ = ["TurnTests"]

_USE = ToolUse(ToolCall("1", "tool", {"x": float("inf")}), ToolResult("1", "tool", "text"))
_UNSTORABLE = {
    "turn": {"seconds": {"total": float("nan")}},
    "usage": {"usage": Usage(2**70)},
    "standing": {"standing": {"x": float("nan")}},
    "handover": {"handover": replace(sample_handover(), since=datetime(2026, 11, 23))},
    "tools": {"tools": (_USE,)},
    "verdicts": {"verdicts": (VerdictRecord("p", "input", "rewrite", 7),)},  # type: ignore[arg-type]
}
"""A value that no database can hold, in each thing that is written when a turn is committed, in that order."""


class TurnTests(StoreTests):
    """Tests of turns and conversations."""

    @with_store
    async def test_a_turn_is_given_back_with_all_that_explains_it(self, store: Store) -> None:
        started = datetime(2026, 11, 23, 15, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
        arguments = {"order": "A-17", "amount": 12.5, "big": 2**60, "tags": ["a", None, {"é": True}]}
        call = ToolCall("call-1", "refund", arguments, {"order": frozenset({Origin.USER})})  # type: ignore[arg-type]
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
            flow=FlowNote("booking", "asking", "day", {"service": "checkup", "guests": 2}, ("one", "two")),
            author="Ana",
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

    @with_store
    async def test_passages_are_stored_without_their_text(self, store: Store) -> None:
        acme, reply = store.tenant("acme"), sample_reply(id="t1")
        await acme.commit(reply)
        stored = await acme.reply("t1")
        assert stored is not None
        assert stored.reply.passages == (replace(reply.passages[0], text=""),)
        assert stored.reply.citations == reply.citations

    @pytest.mark.parametrize("part", _UNSTORABLE)
    def test_a_turn_is_committed_as_a_whole_or_not_at_all(self, url: str, part: str) -> None:
        async def work() -> None:
            async with several(url, 1) as [store]:
                acme = store.tenant("acme")
                await acme.commit(sample_reply())
                before = await contents(url)
                for bad in (sample_reply(), sample_reply(conversation="c2")):
                    with pytest.raises(StoreError, match="cannot hold a value"):
                        await acme.commit(replace(bad, **_UNSTORABLE[part]))  # type: ignore[arg-type]
                    assert await contents(url) == before, f"half of a turn is stored, up to its {part}"
                await acme.commit(sample_reply())
                assert await acme.usage() == SPENT + SPENT

        run(work())

    @with_store
    async def test_a_turn_without_a_time_zone_is_refused(self, store: Store) -> None:
        acme, reply = store.tenant("acme"), sample_reply()
        with pytest.raises(StoreError, match="cannot hold a value"):
            await acme.commit(replace(reply, turn=replace(reply.turn, started=datetime(2026, 11, 23))))
        assert await store.tenants() == []

    @with_store
    async def test_a_turn_is_committed_once(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply(id="t1"))
        with pytest.raises(StoreError, match="'t1' of tenant 'acme' is stored already"):
            await acme.commit(sample_reply("Again?", id="t1"))
        [row] = await acme.conversations("support", "ann", 10)
        assert row.turns == 1
        assert await acme.usage() == SPENT

    @with_store
    async def test_no_text_of_a_user_stands_in_an_error(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply(id="t1"))
        endless = replace(sample_reply("SECRET"), seconds={"a": float("inf")})
        for reply in (sample_reply("SECRET", "SECRET", id="t1"), endless):
            with pytest.raises(StoreError) as caught:
                await acme.commit(reply)
            error: BaseException | None = caught.value
            while error is not None:
                assert "SECRET" not in str(error)
                error = error.__cause__

    @with_store
    async def test_history_gives_the_last_turns_oldest_first(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert await acme.history("support", "ann", "c1", 5) == []
        for number in range(4):
            await acme.commit(sample_reply(f"Question {number}", f"Reply {number}"))
        expected = [Exchange("Question 2", "Reply 2"), Exchange("Question 3", "Reply 3")]
        assert await acme.history("support", "ann", "c1", 2) == expected
        assert await acme.history("support", "ann", "c1", 0) == []
        assert len(await acme.history("support", "ann", "c1", 100)) == 4

    @with_store
    async def test_history_leaves_out_several_turns_at_a_time_and_begins_with_the_same_one_meanwhile(
        self, store: Store
    ) -> None:
        acme = store.tenant("acme")
        shown: list[tuple[int, int]] = []
        for number in range(1, 14):
            await acme.commit(sample_reply(f"{number}", f"Reply {number}"))
            told = [int(exchange.question) for exchange in await acme.history("support", "ann", "c1", 6, 3)]
            assert told == [*range(told[0], number + 1)]
            shown.append((told[0], len(told)))
        begun = [(1, size) for size in range(1, 7)]
        assert shown == [*begun, *((first, size) for first in (4, 7) for size in (4, 5, 6)), (10, 4)]

    @pytest.mark.parametrize(("bot", "user"), [("support", "bob"), ("sales", "ann")])
    @with_store
    async def test_a_conversation_of_someone_else_does_not_exist(self, store: Store, bot: str, user: str) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply())
        for limit in (5, 0):
            with pytest.raises(NamingError, match="no conversation 'c1'"):
                await acme.history(bot, user, "c1", limit)
        foreign = sample_reply(bot=bot, user=user)
        with pytest.raises(NamingError, match="no conversation 'c1'"):
            await acme.commit(foreign)
        assert await acme.reply(foreign.turn.id) is None
        assert await acme.usage() == SPENT

    @with_store
    async def test_pages_of_turns_oldest_first(self, store: Store) -> None:
        acme = store.tenant("acme")
        for at in range(5):
            await acme.commit(sample_reply(f"Question {at}", id=f"t{at}"))
        await acme.commit(sample_reply(conversation="c2"))
        first = [(one.reply.turn.id, one.number) for one in await acme.turns("c1", 3)]
        assert first == [("t0", 1), ("t1", 2), ("t2", 3)]
        assert [one.reply.turn.id for one in await acme.turns("c1", 3, 3)] == ["t3", "t4"]
        assert await acme.turns("c1", 3, 5) == await acme.turns("c1", 0) == await acme.turns("unknown", 3) == []
        assert (await acme.turns("c1", 1))[0] == await acme.reply("t0")

    @with_store
    async def test_the_last_turns_of_a_conversation(self, store: Store) -> None:
        acme = store.tenant("acme")
        for number in range(5):
            await acme.commit(sample_reply(f"Question {number}"))
        assert [one.reply.turn.text for one in await acme.last_turns("c1", 2)] == ["Question 3", "Question 4"]
        assert [one.number for one in await acme.last_turns("c1", 100)] == [1, 2, 3, 4, 5]
        assert await acme.last_turns("c1", 0) == await acme.last_turns("c2", 5) == []

    @with_store
    async def test_a_conversation_by_its_id(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply())
        await acme.commit(sample_reply())
        row = await acme.conversation("c1")
        assert row is not None
        assert (row.id, row.bot, row.user, row.turns) == ("c1", "support", "ann", 2)
        assert await acme.conversation("c2") is None

    @with_store
    async def test_conversations_latest_first(self, store: Store) -> None:
        acme = store.tenant("acme")
        for conversation in ("c1", "c2", "c1"):
            await acme.commit(sample_reply(conversation=conversation))
        await acme.commit(sample_reply(conversation="bobs", user="bob"))
        rows = await acme.conversations("support", "ann", 10)
        assert [(row.id, row.turns) for row in rows] == [("c1", 2), ("c2", 1)]
        assert rows[0].started < rows[0].updated
        assert [row.id for row in await acme.conversations("support", "ann", 1)] == ["c1"]
        assert await acme.conversations("support", "ann", 0) == await acme.conversations("support", "ann", -1) == []

    @with_store
    async def test_pages_of_conversations_leave_none_out(self, store: Store) -> None:
        acme = store.tenant("acme")
        for at in (0, 1, 2, 3, 4, 5, 6, 1, 4):
            await acme.commit(sample_reply(conversation=f"c{at}"))
        await acme.commit(sample_reply(conversation="bobs", user="bob"))
        everything = [row.id for row in await acme.conversations("support", "ann", 100)]
        assert everything == ["c4", "c1", "c6", "c5", "c3", "c2", "c0"]
        for size in (1, 2, 4):
            seen: list[str] = []
            after = None
            while rows := await acme.conversations("support", "ann", size, after):
                seen += [row.id for row in rows]
                after = (rows[-1].updated, rows[-1].id)
            assert seen == everything

    @with_store
    async def test_usage_by_bot_and_time(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert await acme.usage() == Usage()
        await acme.commit(sample_reply())
        await acme.commit(sample_reply())
        between = datetime.now(UTC)
        await acme.commit(sample_reply(conversation="c2", bot="sales"))
        assert await acme.usage() == Usage(300, 120, 30, 3)
        assert await acme.usage("support") == Usage(200, 80, 20, 2)
        assert await acme.usage(since=between) == SPENT
        assert await acme.usage("support", between) == Usage()

    @with_store
    async def test_where_flows_stand_is_kept_with_the_conversation(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert await acme.standing("support", "ann", "c1") is None
        await acme.commit(sample_reply())
        assert await acme.standing("support", "ann", "c1") is None
        await acme.commit(replace(sample_reply(), standing={"active": "booking"}))
        assert await acme.standing("support", "ann", "c1") == {"active": "booking"}
        await acme.commit(sample_reply())
        assert await acme.standing("support", "ann", "c1") == {"active": "booking"}, "a turn without a flow leaves it"
        for bot, user, conversation in [("sales", "ann", "c1"), ("support", "bob", "c1"), ("support", "ann", "c2")]:
            assert await acme.standing(bot, user, conversation) is None
            assert not await acme.exchange_standing(bot, user, conversation, old={"active": "booking"}, new={})

    @with_store
    async def test_where_flows_stand_is_changed_by_who_knows_where(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply())
        assert not await acme.exchange_standing("support", "ann", "c1", old={"by": "nobody"}, new={})
        assert await acme.standing("support", "ann", "c1") is None
        assert await acme.exchange_standing("support", "ann", "c1", old=None, new={"é": [1, 2.5, None]})
        assert not await acme.exchange_standing("support", "ann", "c1", old=None, new={})
        assert await acme.exchange_standing("support", "ann", "c1", old={"é": [1, 2.5, None]}, new={"done": True})
        assert await acme.standing("support", "ann", "c1") == {"done": True}

    @with_store
    async def test_who_spoke_first_in_a_hand_over_stays(self, store: Store) -> None:
        acme, there = store.tenant("acme"), sample_handover()
        changes = [
            there,
            replace(there, taken_by="Ana"),
            replace(there, waited=True),  # of a turn that had read it before Ana spoke
            replace(there, taken_by="Bob"),
        ]
        for change in changes:
            await acme.commit(replace(sample_reply(), handover=change))
        found = await acme.handover("h1")
        assert found == replace(there, taken_by="Ana", waited=True)
        assert await acme.open_handover("support", "ann", "c1") == found

    @with_store
    async def test_a_conversation_has_one_open_hand_over(self, store: Store) -> None:
        acme, there = store.tenant("acme"), sample_handover()
        ended = datetime(2026, 11, 25, 13, tzinfo=UTC)
        for change in (there, sample_handover(id_="h2")):
            await acme.commit(replace(sample_reply(), handover=change))
        assert await acme.open_handovers() == [there]
        await acme.commit(replace(sample_reply(), handover=replace(there, released=ended)))
        assert await acme.open_handovers() == [] and await acme.open_handover("support", "ann", "c1") is None
        assert await acme.handover("h1") == replace(there, released=ended)
        await acme.commit(replace(sample_reply(), handover=sample_handover(id_="h3")))
        assert await acme.open_handovers() == [sample_handover(id_="h3")]
