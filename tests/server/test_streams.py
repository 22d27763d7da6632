"""What only a real server shows: streams that come piece by piece, clients that go, come back, or never read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from sartor import asgi

LONG = "A long answer that comes in many pieces, so that somebody may go away in the middle of it."
ASKED = {"bot": "support", "text": "Hi", "user": "ann", "stream": True}
MODEL = """
from sartor.errors import OverloadedError
from sartor.plugin import Plugin, PluginSettings, hookimpl

class Scripted(Plugin):
    class Settings(PluginSettings):
        script: list = []
        choices: bool = False
        delay: float = 0.0

    @hookimpl
    def sartor_model(self):
        from sartor.testing import ScriptedModel

        return ScriptedModel(SPOKEN)
"""
FLOOD = {"plugins/scripted.py": MODEL.replace("SPOKEN", "script=['x' * 16_000_000], piece=200_000, delay=0.001")}
OVERLOADED = {
    "plugins/scripted.py": MODEL.replace("SPOKEN", "script=[OverloadedError('too much to do', retry_after=7), 'Now.']")
}
CALL = {"call": "refund", "arguments": {"order": "A-17"}}

REFUNDS = """
from sartor.plugin import Plugin, hookimpl
from sartor.policy import Policy, ask
from sartor.tools import tool

done = []

@tool(acts=True)
async def refund(order: str) -> str:
    "Pay an order back."
    done.append(order)
    return f"paid back {order}"

class Careful(Policy):
    async def tool_call(self, turn, call):
        return ask("money leaves the house")

class Refunds(Plugin):
    @hookimpl
    def sartor_tools(self): return [refund]
    @hookimpl
    def sartor_policies(self): return [Careful()]
"""
"""A plugin with a tool that acts, and a policy that wants a person to approve it."""
REFUND = {"files": {"plugins/refunds.py": REFUNDS}, "bot": "plugins: {refunds: {}}\n", "script": [CALL, "Done."]}


@contextlib.asynccontextmanager
async def stream(served, headers, asked=ASKED, **more):
    async with served.client.stream("POST", "/v1/turns", json={**asked, **more}, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield served.events(answer)


async def begun(events) -> str:
    """The turn of a stream, after its first text."""
    turn = ""
    async for event in events:
        turn = event.data.get("turn", turn)
        if event.name == "delta":
            return turn
    raise AssertionError("there was no text")


async def rest(served, turn, headers, after="") -> list:
    query = {**headers, **({"Last-Event-ID": after} if after else {})}
    async with served.client.stream("GET", f"/v1/turns/{turn}/events?user=ann", headers=query) as answer:
        assert answer.status_code == 200, await answer.aread()
        return [event async for event in served.events(answer)]


def text_of(events) -> str:
    return "".join(event.data["text"] for event in events if event.name == "delta")


async def test_a_stream_comes_piece_by_piece(serve_real):
    async with serve_real(script=[LONG], delay=0.02) as served:
        came = []
        async with stream(served, await served.key()) as events:
            async for event in events:
                came.append((asyncio.get_running_loop().time(), event))
        assert [event.id for _, event in came] == [str(at + 1) for at in range(len(came))]
        assert text_of(event for _, event in came) == came[-1][1].data["text"] == LONG
        assert came[-1][0] - came[1][0] > 0.02 * (len(LONG) // 8) / 2


async def test_who_goes_away_stops_the_turn_and_frees_its_place(serve_real):
    async with serve_real(script=[LONG, "Two."], delay=0.02, sartor_yaml="service: {turns: 1}\n") as served:
        key = await served.key()
        async with stream(served, key) as events:
            turn = await begun(events)
            assert served.service.live.running == 1
        await served.until(lambda: not served.service.live.running)
        stored = (await served.client.get(f"/v1/turns/{turn}?user=ann", headers=key)).json()
        assert (stored["status"], stored["outcome"]) == ("cancelled", "cancelled")
        assert LONG.startswith(stored["text"]) and 0 < len(stored["text"]) < len(LONG)
        asked = {**ASKED, "stream": False}
        assert (await served.client.post("/v1/turns", json=asked, headers=key)).json()["text"] == "Two."


async def test_who_waits_for_the_whole_and_goes_stops_the_turn_too(serve_real):
    async with serve_real(script=[LONG], delay=0.05) as served:
        key = await served.key()
        asking = asyncio.create_task(served.client.post("/v1/turns", json={**ASKED, "stream": False}, headers=key))
        await served.until(lambda: served.service.live.running)
        await asyncio.sleep(0.1)
        asking.cancel()
        await served.until(lambda: not served.service.live.running, 1)
        [row] = await served.bots.store.tenant("acme").conversations("support", "ann", 5)
        [stored] = await served.bots.store.tenant("acme").turns(row.id, 5)
        assert stored.reply.outcome == "cancelled"


async def test_with_keep_the_turn_goes_on_and_is_taken_up_again(serve_real):
    async with serve_real(script=[LONG], delay=0.02) as served:
        key = await served.key()
        seen = []
        async with stream(served, key, keep=20) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 4:
                    break
        await asyncio.sleep(0.1)
        turn = seen[0].data["turn"]
        assert (await served.client.get(f"/v1/turns/{turn}?user=ann", headers=key)).json()["status"] == "in_progress"
        later = await rest(served, turn, key, seen[-1].id)
        assert [event.id for event in seen + later] == [str(at + 1) for at in range(len(seen + later))]
        assert text_of(seen + later) == later[-1].data["text"] == LONG


async def test_a_stream_can_be_split_anywhere(serve_real):
    async with serve_real(script=[LONG, LONG], delay=0.01) as served:
        key = await served.key()
        async with stream(served, key, keep=20) as events:
            turn = await begun(events)
        whole = await rest(served, turn, key)
        async with stream(served, key, keep=20) as events:
            turn = await begun(events)
        parts = await asyncio.gather(*(rest(served, turn, key, str(at)) for at in range(len(whole))))
        for at, part in enumerate(parts):
            assert [event.id for event in part] == [event.id for event in whole[at:]]
            assert [event.data for event in part[:-1] if event.name == "delta"] == [
                event.data for event in whole[at:-1] if event.name == "delta"
            ]


async def test_after_the_end_only_the_end_is_told(serve_real):
    async with serve_real(script=[LONG]) as served:
        key = await served.key()
        async with stream(served, key) as events:
            seen = [event async for event in events]
        turn = seen[0].data["turn"]
        [event] = await rest(served, turn, key, "3")
        assert (event.name, event.data["text"]) == ("finished", LONG)
        first, last = await rest(served, turn, key)
        assert (first.name, last.name) == ("turn", "finished")
        [event] = await rest(served, turn, key, "99")
        assert event.name == "finished"


async def test_a_turn_that_nobody_comes_back_to_ends(serve_real):
    async with serve_real(script=[LONG * 20], delay=0.02) as served:
        async with stream(served, await served.key(), keep=0.2) as events:
            turn = await begun(events)
        await served.until(lambda: not served.service.live.running, 2)
        stored = await served.bots.store.tenant("acme").reply(turn)
        assert stored is not None and stored.reply.outcome == "cancelled"


async def test_a_turn_that_nobody_ever_listens_to_ends(serve, monkeypatch):
    from sartor.server import live
    from sartor.values import TurnOptions

    monkeypatch.setattr(live, "_TO_COME", 0.1)
    async with serve(script=[LONG * 20], delay=0.02) as served:
        question = live.Question("acme/support", "Hi", "ann", "", options=TurnOptions(id="t1"))
        served.service.live.begin("t1", question)
        await served.until(lambda: not served.service.live.running, 2)
        stored = await served.bots.store.tenant("acme").reply("t1")
        assert stored is not None and stored.reply.outcome == "cancelled"


async def test_a_turn_is_cancelled(serve_real):
    async with serve_real(script=[LONG, "Two."], delay=0.02) as served:
        key = await served.key()
        async with stream(served, key) as events:
            turn = await begun(events)
            there = f"/v1/turns/{turn}/cancel?user=ann"
            answers = await asyncio.gather(*(served.client.post(there, headers=key) for _ in range(4)))
            assert answers[0].json() == {"cancelled": True}
            seen = [event async for event in events]
        assert seen[-1].name == "finished" and seen[-1].data["outcome"] == "cancelled"
        assert (await served.client.post(there, headers=key)).json() == {"cancelled": False}
        assert not served.service.live.running
        other = await served.client.post(f"/v1/turns/{turn}/cancel?user=bob", headers=key)
        assert other.status_code == 404


async def test_a_turn_that_is_cancelled_before_it_began_leaves_nothing(serve):
    from sartor.server.failures import Failure
    from sartor.server.live import Question
    from sartor.values import TurnOptions

    async with serve(script=["One."]) as served:
        question = Question("acme/support", "Hi", "ann", "", options=TurnOptions(id="t1"))
        turn = served.service.live.begin("t1", question)
        forgotten = asyncio.Event()

        async def forget() -> None:
            forgotten.set()

        turn.came_to_nothing = forget
        turn.cancel()
        with pytest.raises(Failure, match="cancelled before anything came of it"):
            await turn.outcome()
        assert forgotten.is_set()
        await served.until(lambda: not served.service.live.running)
        assert await served.bots.store.tenant("acme").reply("t1") is None


async def test_a_client_that_never_reads_is_dropped(serve_real):
    yaml = "service: {stall_seconds: 0.3}\n"
    async with serve_real(files=FLOOD, sartor_yaml=yaml) as served:
        key = await served.key()
        port = served.client.base_url.port
        body = json.dumps(ASKED)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, ("127.0.0.1", port))
            head = [
                "POST /v1/turns HTTP/1.1",
                "Host: service",
                "Content-Type: application/json",
                f"Authorization: {key['Authorization']}",
                f"Content-Length: {len(body)}",
            ]
            await loop.sock_sendall(raw, "\r\n".join([*head, "", body]).encode())
            await served.until(lambda: served.service.live.running)
            await served.until(lambda: not served.service.live.running, 8)
            [row] = await served.bots.store.tenant("acme").conversations("support", "ann", 5)
            [stored] = await served.bots.store.tenant("acme").turns(row.id, 5)
            assert stored.reply.outcome == "cancelled"
        finally:
            raw.close()


async def test_the_same_request_while_the_first_is_at_work_listens_to_it(serve_real):
    async with serve_real(script=[LONG], delay=0.02) as served:
        headers = {**await served.key(), "Idempotency-Key": "k1"}

        async def whole() -> list:
            async with stream(served, headers) as events:
                return [event async for event in events]

        first, second, *more = await asyncio.gather(*(whole() for _ in range(5)))
        assert first == second and all(one == first for one in more)
        assert text_of(first) == LONG
        asked = {**ASKED, "stream": False}
        again = (await served.client.post("/v1/turns", json=asked, headers=headers)).json()
        assert again["id"] == first[0].data["turn"]


async def test_one_listener_may_go_while_another_stays(serve_real):
    async with serve_real(script=[LONG], delay=0.02) as served:
        headers = {**await served.key(), "Idempotency-Key": "k1"}
        async with stream(served, headers) as staying:
            await begun(staying)
            async with stream(served, headers) as going:
                await begun(going)
            seen = [event async for event in staying]
        assert seen[-1].data["text"] == LONG


@pytest.mark.parametrize("streaming", [True, False])
async def test_after_an_overload_the_key_may_be_used_again(serve_real, streaming):
    async with serve_real(files=OVERLOADED) as served:
        headers = {**await served.key(), "Idempotency-Key": "k1"}
        asked = {**ASKED, "stream": streaming}
        first = await served.client.post("/v1/turns", json=asked, headers=headers)
        if streaming:
            assert first.text.rstrip().split("\n\n")[-1].split("\n")[1] == "event: error"
        else:
            assert (first.status_code, first.headers["retry-after"]) == (429, "7")
        assert '"overloaded"' in first.text
        second = await served.client.post("/v1/turns", json={**asked, "stream": False}, headers=headers)
        assert second.json()["text"] == "Now."


async def test_draining_lets_turns_finish(serve_real):
    async with serve_real(script=[LONG], delay=0.02) as served:
        key = await served.key()
        async with stream(served, key) as events:
            await begun(events)
            draining = asyncio.create_task(served.service.drain())
            await asyncio.sleep(0)
            refused = await served.client.post("/v1/turns", json=ASKED, headers=key)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            seen = [event async for event in events]
        assert seen[-1].data["text"] == LONG
        await draining


async def test_draining_ends_turns_that_take_too_long(serve_real):
    yaml = "service: {drain_seconds: 0.2}\n"
    async with serve_real(script=[LONG * 20], delay=0.02, sartor_yaml=yaml) as served:
        async with stream(served, await served.key()) as events:
            await begun(events)
            await served.service.drain()
            seen = [event async for event in events]
        assert (seen[-1].name, seen[-1].data["outcome"]) == ("finished", "cancelled")


async def waiting(served, key, events) -> tuple:
    """The turn of a stream and the approval that it waits for."""
    turn = ""
    async for event in events:
        turn = event.data.get("turn", turn)
        if event.name == "approval":
            return turn, event
    raise AssertionError("nothing waited")


@pytest.mark.parametrize("approve", [True, False])
async def test_the_user_decides_on_a_tool_that_acts(serve_real, approve):
    async with serve_real(**REFUND) as served:
        session = await served.session()
        async with stream(served, session, {"text": "Pay A-17 back", "stream": True}) as events:
            turn, approval = await waiting(served, session, events)
            assert approval.data["tool"] == "refund" and approval.data["arguments"] == {"order": "A-17"}
            assert approval.data["reason"] == "money leaves the house"
            state = (await served.client.get(f"/v1/turns/{turn}", headers=session)).json()["status"]
            assert state == "waiting"
            there = f"/v1/turns/{turn}/approvals/{approval.data['id']}"
            decided = await served.client.post(there, json={"approve": approve}, headers=session)
            assert decided.status_code == 204
            seen = [event async for event in events]
        assert (seen[0].name, seen[0].data) == ("approved", {"id": approval.data["id"], "approve": approve})
        assert seen[-1].data["outcome"] == ("answered" if approve else "blocked")
        names = [(event.name, event.data.get("state")) for event in seen if event.name == "tool"]
        assert names == ([("tool", "running"), ("tool", "done")] if approve else [])
        again = await served.client.post(there, json={"approve": True}, headers=session)
        assert again.status_code == 404


async def test_a_person_with_a_key_decides(serve_real):
    async with serve_real(**REFUND) as served:
        session, key = await served.session(), await served.key("acme", "approve")
        assert (await served.client.get("/v1/approvals", headers=key)).json()["data"] == []
        async with stream(served, session, {"text": "Pay A-17 back", "stream": True}) as events:
            turn, approval = await waiting(served, session, events)
            [one] = (await served.client.get("/v1/approvals", headers=key)).json()["data"]
            assert (one["turn"], one["id"], one["bot"], one["tool"]) == (
                turn,
                approval.data["id"],
                "acme/support",
                "refund",
            )
            assert one["user"].startswith("visitor:") and one["conversation"] and one["since"]
            there = f"/v1/turns/{turn}/approvals/{one['id']}"
            assert (await served.client.post(there, json={"approve": True}, headers=key)).status_code == 204
            assert [event async for event in events][-1].data["outcome"] == "answered"
        assert (await served.client.get("/v1/approvals", headers=key)).json()["data"] == []


async def test_nobody_else_decides(serve_real):
    async with serve_real(**REFUND) as served:
        session = await served.session()
        async with stream(served, session, {"text": "Pay A-17 back", "stream": True}) as events:
            turn, approval = await waiting(served, session, events)
            there = f"/v1/turns/{turn}/approvals/{approval.data['id']}"
            for stranger in (
                await served.session(),
                await served.session("rival/support"),
                await served.key(),
                await served.key("acme", "read"),
                await served.key("acme", "read", "chat"),
                await served.key("rival", "approve"),
            ):
                answer = await served.client.post(there, json={"approve": True}, headers=stranger)
                assert answer.status_code == 404
            unknown = await served.client.post(f"/v1/turns/{turn}/approvals/x", json={"approve": True}, headers=session)
            assert unknown.status_code == 404
            assert (await served.client.post(there, json={"approve": False}, headers=session)).status_code == 204
            assert [event async for event in events][-1].data["outcome"] == "blocked"


async def test_a_deadline_passes_while_a_person_is_awaited(serve_real):
    project = {**REFUND, "bot": f"{REFUND['bot']}limits: {{turn_seconds: 1}}\n"}
    async with serve_real(**project) as served:
        session = await served.session()
        async with stream(served, session, {"text": "Pay A-17 back", "stream": True}) as events:
            turn, approval = await waiting(served, session, events)
            seen = [event async for event in events]
        assert seen[-1].data["outcome"] == "failed" and not [event for event in seen if event.name == "tool"]
        there = f"/v1/turns/{turn}/approvals/{approval.data['id']}"
        assert (await served.client.post(there, json={"approve": True}, headers=session)).status_code == 404
        assert not served.service.live.running


async def test_an_application_that_was_not_started_says_so(make_service):
    app = make_service()
    assert not hasattr(app.state, "sartor")
    async with asgi.running(app):
        assert app.state.sartor
    assert not hasattr(app.state, "sartor")
