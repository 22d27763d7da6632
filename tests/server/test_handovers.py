"""Hand-overs over the API: the person's side, and what the user sees of it."""

from __future__ import annotations

import asyncio

import pytest

HAND_OVER = "grounding: free\nhand_over: {}\nweb: {origins: ['*'], anonymous: true}\n"
WANTED = {"text": "I want to talk to a human"}


async def test_a_person_answers_and_gives_the_conversation_back(serve):
    async with serve(files={"tenants/acme/support/bot.yaml": HAND_OVER}, script=["Hello again."]) as served:
        session, people = await served.session(), await served.key("acme", "people")
        turn = (await served.client.post("/v1/turns", json=WANTED, headers=session)).json()
        assert (turn["outcome"], turn["status"]) == ("handed_over", "completed")
        conversation = turn["conversation"]
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        assert (there["conversation"], there["taken_by"], there["bot"]) == (conversation, "", "acme/support")
        url = f"/v1/handovers/{there['id']}"
        said = await served.client.post(f"{url}/messages", json={"text": "Hello!", "by": "Ana"}, headers=people)
        assert (said.status_code, said.json()["author"], said.json()["text"]) == (201, "Ana", "Hello!")
        more = {"text": "Are you there?", "conversation": conversation}
        silent = (await served.client.post("/v1/turns", json=more, headers=session)).json()
        assert (silent["outcome"], silent["text"]) == ("silent", "")
        whole = (await served.client.get(url, headers=people)).json()
        assert [(one["question"], one["author"]) for one in whole["turns"]] == [
            (WANTED["text"], ""),
            ("", "Ana"),
            ("Are you there?", ""),
        ]
        released = await served.client.post(f"{url}/release", json={"by": "Ana"}, headers=people)
        assert (released.status_code, released.json()["released"] is None) == (200, False)
        assert (await served.client.get("/v1/handovers", headers=people)).json()["data"] == []
        seen = (await served.client.get(f"/v1/conversations/{conversation}/turns", headers=session)).json()["data"]
        assert [one["author"] for one in seen] == ["", "Ana", "", ""]
        again = await served.client.post(
            "/v1/turns", json={"text": "Hi", "conversation": conversation}, headers=session
        )
        assert again.json()["text"] == "Hello again."
        late = await served.client.post(f"{url}/messages", json={"text": "Hi", "by": "Ana"}, headers=people)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "released")


async def test_of_two_who_release_at_once_one_is_told_that_it_is_released(serve):
    async with serve(files={"tenants/acme/support/bot.yaml": HAND_OVER}) as served:
        await served.client.post("/v1/turns", json=WANTED, headers=await served.session())
        people = await served.key("acme", "people")
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        url = f"/v1/handovers/{there['id']}/release"
        answers = await asyncio.gather(
            *(served.client.post(url, json={"by": name}, headers=people) for name in ("Ana", "Ben"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        [late] = [answer for answer in answers if answer.status_code == 409]
        assert late.json()["error"]["code"] == "released"


async def test_nobody_else_may(serve):
    async with serve(files={"tenants/acme/support/bot.yaml": HAND_OVER}) as served:
        session = await served.session()
        await served.client.post("/v1/turns", json=WANTED, headers=session)
        people = await served.key("acme", "people")
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        url = f"/v1/handovers/{there['id']}"
        for stranger in (session, await served.key("acme", "chat", "read")):
            assert (await served.client.get("/v1/handovers", headers=stranger)).status_code == 403
            assert (await served.client.get(url, headers=stranger)).status_code == 403
            said = await served.client.post(f"{url}/messages", json={"text": "Hi", "by": "Eve"}, headers=stranger)
            assert said.status_code == 403
        rival = await served.key("rival", "people")
        assert (await served.client.get("/v1/handovers", headers=rival)).json()["data"] == []
        for answer in (
            await served.client.get(url, headers=rival),
            await served.client.post(f"{url}/messages", json={"text": "Hi", "by": "Eve"}, headers=rival),
            await served.client.post(f"{url}/release", json={"by": "Eve"}, headers=rival),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [{}, {"text": "", "by": "Ana"}, {"text": "Hi", "by": ""}, {"text": "Hi"}])
async def test_what_is_no_message_is_refused(serve, body):
    async with serve(files={"tenants/acme/support/bot.yaml": HAND_OVER}) as served:
        people = await served.key("acme", "people")
        answer = await served.client.post("/v1/handovers/x/messages", json=body, headers=people)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
