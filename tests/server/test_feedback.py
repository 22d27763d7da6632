"""What users think of replies, over the API."""

from __future__ import annotations

import pytest


async def test_a_visitor_says_what_the_reply_is_worth(serve):
    async with serve(script=["One."]) as served:
        session = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=session)).json()["id"]
        there = f"/v1/turns/{turn}/feedback"
        nothing = await served.client.get(there, headers=session)
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "not_found")
        given = await served.client.put(there, json={"score": 1}, headers=session)
        assert given.status_code == 200
        changed = await served.client.put(there, json={"score": -1, "comment": "Wrong."}, headers=session)
        assert changed.json() == {
            "object": "feedback",
            "turn": turn,
            "score": -1,
            "comment": "Wrong.",
            "given": changed.json()["given"],
        }
        reading = await served.key("acme", "read")
        assert (await served.client.get(there, headers=reading)).json() == changed.json()
        refused = await served.client.put(there, json={"score": 1}, headers=reading)
        assert refused.status_code == 403
        for stranger in (await served.session(), await served.key(), await served.key("rival", "read", "chat")):
            assert (await served.client.put(there, json={"score": 1}, headers=stranger)).status_code == 404
            assert (await served.client.get(there, headers=stranger)).status_code == 404


async def test_a_key_speaks_for_the_user(serve):
    async with serve(script=["One."]) as served:
        key = await served.key()
        asked = {"bot": "support", "text": "Hi", "user": "ann"}
        turn = (await served.client.post("/v1/turns", json=asked, headers=key)).json()["id"]
        there = f"/v1/turns/{turn}/feedback"
        assert (await served.client.put(f"{there}?user=ann", json={"score": 1}, headers=key)).status_code == 200
        assert (await served.client.put(f"{there}?user=bob", json={"score": 1}, headers=key)).status_code == 404
        assert (await served.client.get(f"/v1/turns/{turn}?user=bob", headers=key)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"score": 0}, {"score": 2}, {"score": "good"}, {"score": 1, "comment": "x" * 2001}, {"score": 1, "more": 1}],
)
async def test_what_is_no_feedback_is_refused(serve, body):
    async with serve(script=["One."]) as served:
        session = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=session)).json()["id"]
        answer = await served.client.put(f"/v1/turns/{turn}/feedback", json=body, headers=session)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
