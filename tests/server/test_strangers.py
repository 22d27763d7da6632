"""Over every route of the native API, what belongs to one tenant or user is not there for another."""

from __future__ import annotations

import pytest
from sartor.server.live import Question
from sartor.values import TurnOptions

QUIET = {
    "bot": "",
    "script": ["One [1].", "A long answer that goes on and on. " * 40],
    "delay": 0.01,
    "files": {"tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nParcels take two days.\n"},
}
ROUTES = [
    ("GET", "/v1/conversations?bot=acme/support", None),
    ("POST", "/v1/conversations", {"bot": "acme/support"}),
    ("GET", "/v1/conversations/{conversation}/turns", None),
    ("POST", "/v1/turns", {"bot": "acme/support", "text": "Hi"}),
    ("POST", "/v1/turns", {"bot": "{own}", "text": "Hi", "conversation": "{conversation}"}),
    ("GET", "/v1/turns/{turn}", None),
    ("GET", "/v1/turns/{turn}/events", None),
    ("POST", "/v1/turns/{turn}/cancel", None),
    ("GET", "/v1/turns/{running}", None),
    ("GET", "/v1/turns/{running}/events", None),
    ("POST", "/v1/turns/{running}/cancel", None),
    ("POST", "/v1/turns/{running}/approvals/call_1_0", {"approve": True}),
    ("PUT", "/v1/turns/{turn}/feedback", {"score": 1}),
    ("GET", "/v1/turns/{turn}/feedback", None),
    ("GET", "/v1/turns/{turn}/passages/1", None),
    ("GET", "/v1/documents?bot=acme/support", None),
    ("DELETE", "/v1/documents?bot=acme/support&source=uploads/a.md", None),
    ("GET", "/v1/documents/jobs/{job}", None),
    ("GET", "/v1/documents/jobs/{job}/events", None),
]
STRANGERS = ["nobody", "their key", "their session", "another visitor"]


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_what_is_anothers_is_not_there(serve, stranger):
    async with serve(**QUIET) as served:
        client = served.client
        mine, owner = await served.session(), await served.key("acme", "documents")
        sent = await client.post(
            "/v1/documents?bot=support", files=[("file", ("a.md", b"# A\n\nSecret text.\n"))], headers=owner
        )
        turn = (await client.post("/v1/turns", json={"text": "Hi"}, headers=mine)).json()
        await client.put(f"/v1/turns/{turn['id']}/feedback", json={"score": -1, "comment": "Secret."}, headers=mine)
        question = Question("acme/support", "Hi", turn["user"], "", options=TurnOptions(id="running"))
        served.service.live.begin("running", question, 30)
        known = {
            "turn": turn["id"],
            "conversation": turn["conversation"],
            "job": sent.json()["id"],
            "running": "running",
        }
        headers = {
            "nobody": {},
            "their key": await served.key("rival", "chat", "read", "approve", "documents"),
            "their session": await served.session("rival/support"),
            "another visitor": await served.session(),
        }[stranger]
        own = "acme/support" if stranger == "another visitor" else "rival/support"
        for method, path, body in ROUTES:
            if stranger == "another visitor" and (body or {}).get("bot") == "acme/support":
                continue  # whoever may talk to the bot may begin a conversation of one's own
            if stranger == "another visitor" and path.startswith("/v1/conversations?"):
                assert (await client.get(path, headers=headers)).json()["data"] == []
                continue
            told = body and {
                name: value.format(own=own, **known) if isinstance(value, str) else value
                for name, value in body.items()
            }
            if told and "conversation" in told and stranger.startswith("their"):
                continue  # ids are a tenant's own: the next test tells what becomes of it
            answer = await client.request(method, path.format(**known), json=told, headers=headers)
            assert answer.status_code in (401, 403, 404), (method, path, answer.status_code)
            assert "Secret" not in answer.text and turn["user"] not in answer.text, (method, path)
        assert served.service.live.find("acme", "running") is not None
        served.service.live.find("acme", "running").cancel()
        assert (await client.get(f"/v1/turns/{turn['id']}/feedback", headers=mine)).json()["comment"] == "Secret."


async def test_an_id_of_another_tenants_conversation_begins_one_of_ones_own(serve):
    async with serve(script=["Mine.", "Theirs."]) as served:
        asked = {"bot": "support", "text": "Hi", "user": "ann", "conversation": "c1"}
        for tenant in ("acme", "rival"):
            answer = await served.client.post("/v1/turns", json=asked, headers=await served.key(tenant))
            assert answer.status_code == 200
        for tenant, text in (("acme", "Mine."), ("rival", "Theirs.")):
            query = "/v1/conversations/c1/turns?user=ann"
            turns = (await served.client.get(query, headers=await served.key(tenant))).json()["data"]
            assert [one["text"] for one in turns] == [text]


async def test_approvals_and_documents_are_listed_for_their_tenant_only(serve):
    async with serve(script=[]) as served:
        key = await served.key("rival", "approve", "documents")
        assert (await served.client.get("/v1/approvals", headers=key)).json()["data"] == []
        sent = [("file", ("a.md", b"# A\n\nText.\n"))]
        owner = await served.key("acme", "documents")
        await served.client.post("/v1/documents?bot=support", files=sent, headers=owner)
        assert (await served.client.get("/v1/documents?bot=support", headers=key)).json()["data"] == []


@pytest.mark.parametrize("scope", ["documents", "read", "approve"])
async def test_a_key_does_no_more_than_its_scopes_say(serve, scope):
    async with serve(script=["One."]) as served:
        asked = {"bot": "support", "text": "Hi", "user": "ann"}
        turn = (await served.client.post("/v1/turns", json=asked, headers=await served.key())).json()["id"]
        key = await served.key("acme", scope)
        for method, path, body in (
            ("POST", "/v1/turns", {"bot": "support", "text": "Hi"}),
            ("POST", "/v1/conversations", {"bot": "support"}),
            ("POST", f"/v1/turns/{turn}/cancel", None),
            ("PUT", f"/v1/turns/{turn}/feedback", {"score": 1}),
        ):
            answer = await served.client.request(method, path, json=body, headers=key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing"), path
        seen = await served.client.get(f"/v1/turns/{turn}", headers=key)
        assert seen.status_code == (200 if scope == "read" else 404)
        named = await served.client.get(f"/v1/turns/{turn}?user=ann", headers=key)
        assert named.status_code == (200 if scope == "read" else 403)
