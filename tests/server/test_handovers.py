"""The API of hand-overs: people read, answer and give back; users see what they say."""

from __future__ import annotations

import pytest

HANDS_OVER = "hand_over: {}\n"
CALLED = "I am passing you on to a colleague, who will answer here."
BACK = "I am the assistant again. How else can I help?"


async def handed_over(served, headers: dict[str, str], **about: str) -> dict:
    """The turn by which a user gets a person."""
    asked = {"bot": "support", "text": "I want to talk to a human", **about}
    answer = await served.client.post("/v1/turns", json=asked, headers=headers)
    assert answer.json()["outcome"] == "handed_over", answer.text
    return answer.json()


async def test_a_person_answers_and_gives_back(serve):
    async with serve(script=["Blue."], bot=HANDS_OVER) as served:
        people, visitor = await served.key("acme", "people"), await served.session()
        turn = await handed_over(served, visitor, bot="acme/support")
        turns = f"/v1/conversations/{turn['conversation']}/turns"
        page = (await served.client.get(turns, headers=visitor)).json()
        assert (page["with_person"], page["last"], [one["text"] for one in page["data"]]) == (True, "1", [CALLED])

        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        at = f"/v1/handovers/{there['id']}"
        assert (there["reason"], there["summary"], there["taken_by"], there["released"]) == (
            "the user asked for a person", "User: I want to talk to a human", "", None)  # fmt: skip
        assert (await served.client.get(at, headers=people)).json() == there
        said = await served.client.post(f"{at}/messages", json={"text": "Hello!", "by": "Ana"}, headers=people)
        assert (said.status_code, said.json()["author"], said.json()["question"]) == (201, "Ana", "")

        page = (await served.client.get(f"{turns}?after={page['last']}", headers=visitor)).json()
        assert [(one["author"], one["text"]) for one in page["data"]] == [("Ana", "Hello!")]
        again = (await served.client.get(f"{turns}?after={page['last']}", headers=visitor)).json()
        assert (again["data"], again["last"], again["with_person"]) == ([], "2", True)
        seen = (await served.client.get(f"{at}/turns", headers=people)).json()
        assert [one["text"] for one in seen["data"]] == [CALLED, "Hello!"]

        done = await served.client.post(f"{at}/release", json={"by": "Ana"}, headers=people)
        assert done.json()["taken_by"] == "Ana" and done.json()["released"]
        page = (await served.client.get(f"{turns}?after=2", headers=visitor)).json()
        assert ([one["text"] for one in page["data"]], page["with_person"]) == ([BACK], False)
        asked = {"text": "Which colour?", "conversation": turn["conversation"]}
        assert (await served.client.post("/v1/turns", json=asked, headers=visitor)).json()["text"] == "Blue."
        assert (await served.client.get("/v1/handovers", headers=people)).json()["data"] == []
        for late in (("messages", {"text": "Hi", "by": "Ana"}), ("release", {"by": "Ana"})):
            answer = await served.client.post(f"{at}/{late[0]}", json=late[1], headers=people)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "released")


async def test_the_bot_says_nothing_while_a_person_has_the_conversation(serve):
    async with serve(bot=HANDS_OVER) as served:
        visitor = await served.session()
        turn = await handed_over(served, visitor, bot="acme/support")
        texts = []
        for text in ("Hello?", "Anybody?"):
            asked = {"text": text, "conversation": turn["conversation"]}
            answer = (await served.client.post("/v1/turns", json=asked, headers=visitor)).json()
            texts.append((answer["outcome"], answer["text"]))
        assert texts == [("silent", "Your message has been passed on. A colleague will answer here."), ("silent", "")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", None),
        ("/{id}", None),
        ("/{id}/turns", None),
        ("/{id}/messages", {"text": "Hi", "by": "Eve"}),
        ("/{id}/release", {"by": "Eve"}),
    ],
)
async def test_nobody_else_sees_answers_or_releases(serve, path, body):
    files = {"tenants/rival/support/bot.yaml": "grounding: free\nhand_over: {}\n"}
    async with serve(bot=HANDS_OVER, files=files) as served:
        visitor = await served.session()
        await handed_over(served, visitor, bot="acme/support")
        people = await served.key("acme", "people")
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        method, url = "POST" if body else "GET", f"/v1/handovers{path.format(id=there['id'])}"

        async def ask(headers: dict[str, str]) -> tuple[int, object]:
            answer = await served.client.request(method, url, json=body, headers=headers)
            return answer.status_code, answer.json()

        for headers in (visitor, await served.key("acme", "chat", "read", "approve")):
            status, told = await ask(headers)
            assert (status, told["error"]["code"]) == (403, "scope_missing")
        status, told = await ask(await served.key("rival", "people"))
        assert told == {"object": "list", "data": []} if not path else status == 404
        [now] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        assert now == there


async def test_what_a_person_must_give(serve):
    async with serve(bot=HANDS_OVER) as served:
        people = await served.key("acme", "people")
        await handed_over(served, await served.key(), user="u-1")
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        for body in ({"text": " ", "by": "Ana"}, {"text": "Hi", "by": " "}, {"text": "Hi"}, {"text": "", "by": "Ana"}):
            answer = await served.client.post(f"/v1/handovers/{there['id']}/messages", json=body, headers=people)
            assert answer.status_code == 400, body


async def test_a_bot_without_hand_over_has_nobody_to_wait_for(serve):
    async with serve(script=["Hello."]) as served:
        visitor = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=visitor)).json()
        page = (await served.client.get(f"/v1/conversations/{turn['conversation']}/turns", headers=visitor)).json()
        assert (page["with_person"], page["data"][0]["author"]) == (False, "")
