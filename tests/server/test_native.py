"""The native API: sessions, conversations, turns, their events."""

from __future__ import annotations

import asyncio
import json

import jwt
import pytest


def events(text: str) -> list[tuple[str, dict]]:
    found = []
    for block in text.strip().split("\n\n"):
        told = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        found.append((told["event"], json.loads(told["data"])))
    return found


async def test_a_key_speaks_to_the_tenants_bot(serve):
    async with serve(script=["Hello, you."]) as served:
        asked = {"bot": "support", "text": "Hi", "user": "u-17"}
        answer = await served.client.post("/v1/turns", json=asked, headers=await served.key())
        assert answer.status_code == 200, answer.text
        turn = answer.json()
        assert (turn["text"], turn["bot"], turn["user"], turn["status"]) == (
            "Hello, you.",
            "acme/support",
            "u-17",
            "completed",
        )
        assert turn["outcome"] == "answered" and turn["seconds"]["total"] > 0
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_turn_streams(serve):
    async with serve(script=["A long answer that comes in pieces."]) as served:
        asked = {"bot": "support", "text": "Hi", "stream": True}
        answer = await served.client.post("/v1/turns", json=asked, headers=await served.key())
        assert answer.headers["content-type"].startswith("text/event-stream")
        names = [name for name, _ in events(answer.text)]
        assert names[0] == "turn" and names[-1] == "finished" and set(names[1:-1]) == {"delta"}
        told = "".join(data["text"] for name, data in events(answer.text) if name == "delta")
        assert told == events(answer.text)[-1][1]["text"] == "A long answer that comes in pieces."


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ({}, 401, "missing_api_key"),
        ({"Authorization": "Bearer nonsense"}, 401, "invalid_session"),
        ({"Authorization": "Bearer sartor_000000000000_" + "x" * 43}, 401, "invalid_api_key"),
        ({"Authorization": "Basic abc"}, 401, "missing_api_key"),
    ],
)
async def test_without_a_key_nothing_is_said(serve, header, status, code):
    async with serve() as served:
        answer = await served.client.post("/v1/turns", json={"bot": "support", "text": "Hi"}, headers=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_another_tenants_bot_is_not_there(serve):
    async with serve() as served:
        key = await served.key()
        for bot in ("rival/support", "rival/nothing", "acme/nothing", "../x", ""):
            answer = await served.client.post("/v1/turns", json={"bot": bot, "text": "Hi"}, headers=key)
            assert answer.status_code == (404 if bot else 400), bot
            assert "rival" not in answer.json()["error"]["message"].replace(f"'{bot}'", "")


async def test_a_key_that_expired_or_was_revoked_holds_no_more(serve):
    async with serve() as served:
        short = await served.key(days=0.0000001)
        gone = await served.key()
        id_ = gone["Authorization"].split("_")[1]
        assert await served.bots.store.tenant("acme").revoke_key(id_)
        for key in (short, gone):
            answer = await served.client.get("/v1/conversations?bot=support", headers=key)
            assert answer.status_code == 401


async def test_a_visitor_sees_only_own_conversations(serve):
    async with serve(script=["One.", "Two."]) as served:
        first, second = await served.session(), await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=first)).json()
        assert turn["user"].startswith("visitor:") and "verdicts" not in {k for k, v in turn.items() if v is not None}
        there = f"/v1/conversations/{turn['conversation']}/turns"
        assert (await served.client.get(there, headers=first)).json()["data"][0]["text"] == "One."
        assert (await served.client.get(there, headers=second)).status_code == 404
        assert (await served.client.get(f"/v1/turns/{turn['id']}", headers=second)).status_code == 404
        asked = {"text": "Hi", "conversation": turn["conversation"]}
        assert (await served.client.post("/v1/turns", json=asked, headers=second)).status_code == 404
        assert (await served.client.get("/v1/conversations", headers=second)).json()["data"] == []
        asked = {"text": "Hi", "user": "somebody"}
        assert (await served.client.post("/v1/turns", json=asked, headers=second)).status_code == 403
        reading = await served.key("acme", "read")
        assert (await served.client.get(there, headers=reading)).status_code == 200
        assert (await served.client.get(there, headers=await served.key("rival", "read"))).status_code == 404


async def test_a_session_needs_a_page_that_may_hold_the_bot(serve):
    async with serve() as served:
        for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            answer = await served.client.post("/v1/sessions", json={"bot": "acme/support"}, headers=origin)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")


async def test_a_visitor_comes_back_as_the_same(serve):
    async with serve(script=["One."]) as served:
        first = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=first)).json()
        again = await served.session(session=first["Authorization"].removeprefix("Bearer "))
        listed = (await served.client.get("/v1/conversations", headers=again)).json()["data"]
        assert [one["id"] for one in listed] == [turn["conversation"]]


USERS = {"tenants/acme/tenant.yaml": "users: {secret: 'env:ACME_USERS', issuer: acme}\n"}


async def test_the_host_signs_who_speaks(serve, monkeypatch):
    secret = "a secret of thirty-two characters!!"
    monkeypatch.setenv("ACME_USERS", secret)
    claims = {"sub": "u-17", "iss": "acme", "exp": 4102444800, "attributes": {"customer": "C-1"}}
    async with serve(script=["One."], files=USERS) as served:
        session = await served.session(token=jwt.encode(claims, secret, algorithm="HS256"))
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=session)).json()
        assert turn["user"] == "u-17"
        for wrong in (
            jwt.encode(claims, "another secret of thirty-two chars!", algorithm="HS256"),
            jwt.encode({**claims, "exp": 1}, secret, algorithm="HS256"),
            jwt.encode({**claims, "iss": "evil"}, secret, algorithm="HS256"),
            jwt.encode({**claims, "sub": "visitor:x"}, secret, algorithm="HS256"),
            jwt.encode(claims, None, algorithm="none"),
        ):
            asked = {"bot": "acme/support", "token": wrong}
            answer = await served.client.post("/v1/sessions", json=asked, headers={"Origin": "https://shop.example"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_user_token")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": None}, "it has no claim 'exp'"),
        ({"exp": 1}, "it has expired"),
        ({"iss": "evil"}, "its claim 'iss' is not what `users.issuer` in tenant.yaml says"),
        ({"aud": "shop"}, "its claim 'aud' is not what `users.for_service` in tenant.yaml says"),
        ({"sub": "visitor:x"}, "its claim 'sub' cannot be a user's id"),
        ({"attributes": [1]}, "its claim 'attributes' is no object"),
    ],
)
async def test_a_host_learns_what_is_wrong_with_its_token(serve, monkeypatch, changed, why):
    monkeypatch.setenv("ACME_USERS", "a secret of thirty-two characters!!")
    claims = {"sub": "u-17", "iss": "acme", "aud": "chat", "exp": 4102444800, **changed}
    files = {"tenants/acme/tenant.yaml": USERS["tenants/acme/tenant.yaml"].replace("}", ", for_service: chat}")}
    told = {name: value for name, value in claims.items() if value is not None}
    async with serve(files=files) as served:
        asked = {"bot": "acme/support", "token": jwt.encode(told, "a secret of thirty-two characters!!")}
        answer = await served.client.post("/v1/sessions", json=asked, headers={"Origin": "https://shop.example"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, f"the token does not hold: {why}")


@pytest.mark.parametrize(("secret", "what"), [("", "ACME_USERS is not set"), ("too short", "shorter than 32 bytes")])
async def test_users_are_refused_and_the_operator_told_where_their_secret_is_none(
    serve, monkeypatch, caplog, secret, what
):
    monkeypatch.setenv("ACME_USERS", secret)
    async with serve(files=USERS) as served:
        asked = {"bot": "acme/support", "token": jwt.encode({"sub": "u"}, "another secret of thirty-two chars!")}
        answer = await served.client.post("/v1/sessions", json=asked, headers={"Origin": "https://shop.example"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert what in caplog.text and "ACME_USERS" not in answer.text


async def test_a_repeated_request_gives_the_first_turn(serve):
    async with serve(script=["One.", "Two."]) as served:
        headers = {**await served.key(), "Idempotency-Key": "k1"}
        asked = {"bot": "support", "text": "Hi", "user": "u"}
        first = (await served.client.post("/v1/turns", json=asked, headers=headers)).json()
        again = (await served.client.post("/v1/turns", json=asked, headers=headers)).json()
        assert first == again
        other = await served.client.post("/v1/turns", json={**asked, "text": "Ho"}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
        streamed = await served.client.post("/v1/turns", json={**asked, "stream": True}, headers=headers)
        assert events(streamed.text)[-1][1]["text"] == "One."


async def test_pages_of_conversations_and_turns(serve):
    async with serve(script=[f"Answer {at}." for at in range(8)]) as served:
        key = await served.key()
        made = []
        for at in range(5):
            asked = {"bot": "support", "text": f"Question {at}", "user": "u"}
            made.append((await served.client.post("/v1/turns", json=asked, headers=key)).json())
        seen, after = [], ""
        while True:
            query = {"bot": "support", "user": "u", "limit": 2, "after": after}
            page = (await served.client.get("/v1/conversations", params=query, headers=key)).json()
            seen += [one["id"] for one in page["data"]]
            if not page["has_more"]:
                break
            after = page["next"]
        assert seen == [one["conversation"] for one in reversed(made)]
        for at in range(3):
            asked = {"bot": "support", "text": f"Further {at}", "user": "u", "conversation": seen[0]}
            await served.client.post("/v1/turns", json=asked, headers=key)
        there = f"/v1/conversations/{seen[0]}/turns"
        page = (await served.client.get(there, params={"user": "u", "limit": 3}, headers=key)).json()
        assert [one["question"] for one in page["data"]] == ["Question 4", "Further 0", "Further 1"]
        query = {"user": "u", "limit": 3, "after": page["next"]}
        rest = (await served.client.get(there, params=query, headers=key)).json()
        assert [one["question"] for one in rest["data"]] == ["Further 2"] and not rest["has_more"]
        bad = await served.client.get("/v1/conversations?bot=support&after=x", headers=key)
        assert bad.status_code == 400


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b'{"bot": "support", "text": NaN}', "application/json", "invalid_json"),
        (b'{"bot": "support", "text": 1e999}', "application/json", "invalid_json"),
        (b'{"bot": "support", "text": "\\ud800"}', "application/json", "invalid_json"),
        (b'{"bot": "support", "text": "\xff"}', "application/json", "invalid_json"),
        (b"[" * 100000, "application/json", "invalid_json"),
        (b"[" * 40 + b"]" * 40, "application/json", "too_deep"),
        (b'{"bot": "support"}', "application/json", "invalid_value"),
        (b'{"bot": "support", "text": "Hi", "more": 1}', "application/json", "invalid_value"),
        (b"{" + b" " * (1 << 20) + b"}", "application/json", "too_large"),
    ],
)
async def test_what_is_no_request_is_refused_at_the_door(serve, body, kind, code):
    async with serve() as served:
        headers = {**await served.key(), "Content-Type": kind}
        answer = await served.client.post("/v1/turns", content=body, headers=headers)
        assert answer.json()["error"]["code"] in (code, "too_deep") and answer.status_code in (400, 413)


async def test_too_many_turns_are_refused_with_a_time_to_come_back(serve):
    async with serve(script=["One."], sartor_yaml="service: {turns: 1}\n") as served:
        key = await served.key()
        with served.service.live.place("rival"):
            answer = await served.client.post("/v1/turns", json={"bot": "support", "text": "Hi"}, headers=key)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        answer = await served.client.post("/v1/turns", json={"bot": "support", "text": "Hi"}, headers=key)
        assert answer.status_code == 200


async def test_too_many_requests_are_refused_before_they_are_read(serve):
    async with serve(script=["One."], delay=0.2, sartor_yaml="service: {requests: 1}\n") as served:
        key = await served.key()
        first = asyncio.create_task(served.client.post("/v1/turns", json={"bot": "support", "text": "Hi"}, headers=key))
        await asyncio.sleep(0.05)
        second = await served.client.post("/v1/turns", content=b"{", headers=key)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert (await served.client.get("/healthz")).status_code == 200
        assert (await first).status_code == 200


async def test_the_description_of_the_api_is_there(serve):
    async with serve() as served:
        told = (await served.client.get("/openapi.json")).json()
        assert "/v1/turns" in told["paths"] and "422" not in json.dumps(told["paths"])
        page = await served.client.get("/docs")
        assert page.status_code == 200 and "https://" not in page.text.replace("https://fastapi", "")


async def test_the_description_can_be_left_out(serve):
    async with serve(sartor_yaml="service: {docs: false}\n") as served:
        for place in ("/openapi.json", "/docs", "/redoc"):
            assert (await served.client.get(place)).status_code == 404
