"""What a user's page sees while a person has the conversation: a cursor, and whether to look again."""

from __future__ import annotations

HANDS_OVER = "hand_over: {}\n"
CALLED = "I am passing you on to a colleague, who will answer here."
BACK = "I am the assistant again. How else can I help?"


async def handed_over(served, headers: dict[str, str], **about: str) -> dict:
    """The turn by which a user gets a person."""
    asked = {"bot": "support", "text": "I want to talk to a human", **about}
    answer = await served.client.post("/v1/turns", json=asked, headers=headers)
    assert answer.json()["outcome"] == "handed_over", answer.text
    return answer.json()


async def test_a_page_waits_with_a_cursor(serve):
    async with serve(script=["Blue."], bot=HANDS_OVER) as served:
        people, visitor = await served.key("acme", "people"), await served.session()
        turn = await handed_over(served, visitor, bot="acme/support")
        turns = f"/v1/conversations/{turn['conversation']}/turns"
        page = (await served.client.get(turns, headers=visitor)).json()
        assert (page["with_person"], page["last"], [one["text"] for one in page["data"]]) == (True, "1", [CALLED])

        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        at = f"/v1/handovers/{there['id']}"
        await served.client.post(f"{at}/messages", json={"text": "Hello!", "by": "Ana"}, headers=people)

        page = (await served.client.get(f"{turns}?after={page['last']}", headers=visitor)).json()
        assert [(one["author"], one["text"]) for one in page["data"]] == [("Ana", "Hello!")]
        again = (await served.client.get(f"{turns}?after={page['last']}", headers=visitor)).json()
        assert (again["data"], again["last"], again["with_person"]) == ([], "2", True)

        await served.client.post(f"{at}/release", json={"by": "Ana"}, headers=people)
        page = (await served.client.get(f"{turns}?after=2", headers=visitor)).json()
        assert ([one["text"] for one in page["data"]], page["with_person"]) == ([BACK], False)


async def test_what_a_person_must_give(serve):
    async with serve(bot=HANDS_OVER) as served:
        people = await served.key("acme", "people")
        await handed_over(served, await served.key(), user="u-1")
        [there] = (await served.client.get("/v1/handovers", headers=people)).json()["data"]
        for body in ({"text": " ", "by": "Ana"}, {"text": "Hi", "by": " "}, {"text": "Hi"}):
            answer = await served.client.post(f"/v1/handovers/{there['id']}/messages", json=body, headers=people)
            assert answer.status_code == 400, body


async def test_a_bot_without_hand_over_has_nobody_to_wait_for(serve):
    async with serve(script=["Hello."]) as served:
        visitor = await served.session()
        turn = (await served.client.post("/v1/turns", json={"text": "Hi"}, headers=visitor)).json()
        page = (await served.client.get(f"/v1/conversations/{turn['conversation']}/turns", headers=visitor)).json()
        assert (page["with_person"], page["data"][0]["author"]) == (False, "")
