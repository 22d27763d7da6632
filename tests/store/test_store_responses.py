"""Turns that can be found as responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sartor.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.store import Store


async def test_a_response_is_found_with_those_that_led_to_it(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    for turn, previous in (("t1", ""), ("t2", "t1"), ("aside", "t1"), ("t3", "t2")):
        await acme.commit(make_reply(f"Question {turn}", id=turn))
        assert await acme.put_response(turn, previous, {"model": "acme/support", "metadata": {"a": "1"}})
    [found] = await acme.responses("t3")
    assert (found.turn.reply.turn.text, found.previous) == ("Question t3", "t2")
    assert found.told == {"model": "acme/support", "metadata": {"a": "1"}}
    assert [one.turn.reply.turn.id for one in await acme.responses("t3", 10)] == ["t3", "t2", "t1"]
    assert [one.turn.reply.turn.id for one in await acme.responses("t3", 2)] == ["t3", "t2"]


async def test_a_turn_is_no_response_unless_it_was_asked_for_as_one(
    store: Store, make_reply: Callable[..., Reply]
) -> None:
    acme, rival = store.tenant("acme"), store.tenant("rival")
    await acme.commit(make_reply(id="t1"))
    assert await acme.responses("t1") == []
    assert not await acme.put_response("other", "", {})
    assert await acme.put_response("t1", "", {})
    assert await rival.responses("t1") == [] and not await rival.forget_response("t1")
    assert await acme.forget_response("t1") and not await acme.forget_response("t1")
    assert await acme.responses("t1") == [] and await acme.reply("t1") is not None


async def test_erasing_a_tenant_takes_its_responses(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply(id="t1"))
    await acme.put_response("t1", "", {"instructions": "Be short."})
    assert (await acme.erase())["responses"] == 1
