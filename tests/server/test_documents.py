"""Documents over the API: sent, read in the background, listed, removed; and what of them a reply cites."""

from __future__ import annotations

import asyncio

import pytest
from sartor.errors import BusyError

FREE = "title: Acme support\ngrounding: free\nweb: {origins: ['https://shop.example'], anonymous: true}\n"
DELIVERY = b"# Delivery\n\nParcels take two days.\n"
PROJECT = {
    "files": {
        "tenants/acme/support/bot.yaml": FREE,
        "tenants/acme/support/knowledge/returns.md": "# Returns\n\nWithin thirty days.\n",
    }
}


async def upload(served, key, *files, bot="support"):
    sent = [("file", file) for file in files]
    return await served.client.post(f"/v1/documents?bot={bot}", files=sent, headers=key)


async def finished(served, key, answer):
    """The job of an upload, when it is done."""
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(10):
        while True:
            job = (await served.client.get(f"/v1/documents/jobs/{answer.json()['id']}", headers=key)).json()
            if job["status"] != "in_progress":
                return job
            await asyncio.sleep(0.01)


async def told(served, key, job, after=""):
    headers = {**key, **({"Last-Event-ID": after} if after else {})}
    async with served.client.stream("GET", f"/v1/documents/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200
        return [event async for event in served.events(answer)]


async def test_documents_are_sent_read_listed_and_removed(serve):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        answer = await upload(
            served, key, ("delivery.md", DELIVERY), ("prices.md", b"# Prices\n\nA lamp is 12 euros.\n")
        )
        begun = answer.json()
        assert (begun["object"], begun["bot"]) == ("job", "acme/support")
        assert begun["sources"] == ["uploads/delivery.md", "uploads/prices.md"]
        job = await finished(served, key, answer)
        assert (job["status"], job["done"], job["error"]) == ("completed", 2, None)
        assert job["report"]["added"] == ["uploads/delivery.md", "uploads/prices.md"]
        listed = (await served.client.get("/v1/documents?bot=support", headers=key)).json()["data"]
        assert [(one["source"], one["title"], one["uploaded"]) for one in listed] == [
            ("uploads/delivery.md", "Delivery", True),
            ("uploads/prices.md", "Prices", True),
        ]
        folder = served.bots.knowledge("acme/support").folder
        assert sorted(path.name for path in (folder / "uploads").iterdir()) == ["delivery.md", "prices.md"]
        gone = await served.client.delete("/v1/documents?bot=support&source=uploads/delivery.md", headers=key)
        assert gone.json() == {"object": "document", "source": "uploads/delivery.md", "deleted": True}
        assert not (folder / "uploads/delivery.md").exists()
        assert list(await served.bots.store.tenant("acme").documents("support")) == ["uploads/prices.md"]
        again = await served.client.delete("/v1/documents?bot=support&source=uploads/delivery.md", headers=key)
        assert again.status_code == 404


async def test_what_happens_in_a_job_is_told(serve_real):
    async with serve_real(**PROJECT) as served:
        key = await served.key("acme", "documents")
        files = [(f"page-{at}.md", f"# Page {at}\n\nText {at}.\n".encode()) for at in range(4)]
        answer = await upload(served, key, *files, ("broken.pdf", b"no PDF at all"))
        events = await told(served, key, answer.json()["id"])
        assert [event.name for event in events] == ["progress"] * 5 + ["finished"]
        assert [event.id for event in events] == list("123456")
        assert [(event.data["done"], event.data["total"]) for event in events[:-1]] == [(at, 5) for at in range(1, 6)]
        assert {event.data["action"] for event in events[:-1]} == {"added", "skipped"}
        report = events[-1].data
        assert len(report["added"]) == 4 and list(report["skipped"]) == ["uploads/broken.pdf"]
        assert str(served.bots.project.directory) not in str(events)
        assert await told(served, key, answer.json()["id"], "5") == events[5:]


async def test_a_file_of_the_same_name_replaces_the_first(serve):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        await finished(served, key, await upload(served, key, ("delivery.md", DELIVERY)))
        changed = DELIVERY.replace(b"two", b"three")
        job = await finished(served, key, await upload(served, key, ("delivery.md", changed)))
        assert job["report"]["changed"] == ["uploads/delivery.md"]
        [chunk] = await served.bots.store.tenant("acme").all_chunks("support")
        assert "three days" in chunk.text


async def test_a_document_of_the_project_is_listed_and_not_removed(serve):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        await served.bots.knowledge("acme/support").ingest()
        [one] = (await served.client.get("/v1/documents?bot=support", headers=key)).json()["data"]
        assert (one["source"], one["uploaded"]) == ("returns.md", False)
        answer = await served.client.delete("/v1/documents?bot=support&source=returns.md", headers=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_uploaded")
        assert (served.bots.knowledge("acme/support").folder / "returns.md").exists()
        for source in (
            "nothing.md",
            "uploads/",
            "uploads/../returns.md",
            "uploads/.hidden",
            "/etc/passwd",
            "uploads/a\0",
        ):
            query = {"bot": "support", "source": source}
            answer = await served.client.delete("/v1/documents", params=query, headers=key)
            assert answer.status_code == 404, source
        assert (served.bots.knowledge("acme/support").folder / "returns.md").exists()


@pytest.mark.parametrize(
    "name",
    ["../evil.md", "a/b.md", "a\\b.md", ".hidden.md", "~$lock.md", "evil.exe", "README", "x" * 200 + ".md", " a.md",
     "c:evil.md", "\u202egpj.md", ".md"],
)  # fmt: skip
async def test_a_name_that_is_no_plain_file_is_refused(serve, name):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        answer = await upload(served, key, ("good.md", DELIVERY), (name, DELIVERY))
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] in ("invalid_file_name", "unsupported_file")
        assert not (served.bots.knowledge("acme/support").folder / "uploads").exists()


async def test_two_files_of_one_name_are_refused(serve):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        answer = await upload(served, key, ("a.md", DELIVERY), ("a.md", DELIVERY))
        assert answer.json()["error"]["code"] == "invalid_file_name"
        empty = await served.client.post("/v1/documents?bot=support", headers=key)
        assert empty.status_code == 400


async def test_a_body_that_is_too_large_is_refused(serve):
    async with serve(**PROJECT, sartor_yaml="service: {upload_bytes: 2048}\n") as served:
        key = await served.key("acme", "documents")
        answer = await upload(served, key, ("a.md", b"x" * 3000))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert (await upload(served, key, ("a.md", b"x" * 1000))).status_code == 202


async def test_a_link_in_place_of_the_folder_is_not_followed(serve, tmp_path):
    async with serve(**PROJECT) as served:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (served.bots.knowledge("acme/support").folder / "uploads").symlink_to(elsewhere)
        key = await served.key("acme", "documents")
        answer = await upload(served, key, ("a.md", DELIVERY))
        assert answer.status_code == 503 and "elsewhere" not in answer.text and str(tmp_path) not in answer.text
        assert list(elsewhere.iterdir()) == []


async def test_only_a_key_for_documents_may(serve):
    async with serve(**PROJECT) as served:
        for headers in (await served.key(), await served.session(), await served.key("acme", "read", "approve")):
            assert (await upload(served, headers, ("a.md", DELIVERY))).status_code == 403
            assert (await served.client.get("/v1/documents?bot=support", headers=headers)).status_code == 403
        key = await served.key("acme", "documents")
        for bot, status in (("rival/support", 404), ("nothing", 404), ("", 400)):
            assert (await upload(served, key, ("a.md", DELIVERY), bot=bot)).status_code == status
        said = await served.client.post("/v1/turns", json={"bot": "support", "text": "Hi"}, headers=key)
        assert (said.status_code, said.json()["error"]["code"]) == (403, "scope_missing")


async def test_pages_of_documents(serve):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        files = [(f"page-{at}.md", f"# Page {at}\n\nText {at}.\n".encode()) for at in range(5)]
        await finished(served, key, await upload(served, key, *files))
        seen, after = [], ""
        while True:
            query = {"bot": "support", "limit": 2, "after": after}
            page = (await served.client.get("/v1/documents", params=query, headers=key)).json()
            seen += [one["source"] for one in page["data"]]
            if not page["has_more"]:
                break
            after = page["next"]
        assert seen == [f"uploads/page-{at}.md" for at in range(5)]
        bad = await served.client.get("/v1/documents?bot=support&after=%C3%A4", headers=key)
        assert bad.status_code == 400


async def test_an_index_that_is_in_use_is_told(serve, monkeypatch):
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        knowledge = served.bots.knowledge("acme/support")

        async def busy(*given: object, **more: object) -> None:
            raise BusyError("The index of acme/support is in use", where=str(knowledge.folder))

        monkeypatch.setattr(knowledge, "ingest", busy)
        monkeypatch.setattr(knowledge, "forget", busy)
        job = await finished(served, key, await upload(served, key, ("a.md", DELIVERY)))
        assert (job["status"], job["error"]["code"]) == ("failed", "unavailable")
        [event] = await told(served, key, job["id"])
        assert event.name == "error" and str(knowledge.folder) not in str(event.data)
        gone = await served.client.delete("/v1/documents?bot=support&source=uploads/a.md", headers=key)
        assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")


async def test_jobs_are_bounded_and_forgotten(serve, monkeypatch):
    from sartor.server import ingesting

    monkeypatch.setattr(ingesting, "_REMEMBERED", 2)
    monkeypatch.setattr(ingesting, "_WAITING", 1)
    async with serve(**PROJECT) as served:
        key = await served.key("acme", "documents")
        jobs = [await finished(served, key, await upload(served, key, (f"{at}.md", DELIVERY))) for at in range(4)]
        states = [(await served.client.get(f"/v1/documents/jobs/{job['id']}", headers=key)).status_code for job in jobs]
        assert states == [404, 404, 200, 200]
        async with served.bots.knowledge("acme/support")._writing:
            waits = await upload(served, key, ("a.md", DELIVERY))
            assert waits.status_code == 202
            refused = await upload(served, key, ("b.md", DELIVERY))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert (await finished(served, key, waits))["status"] == "completed"


async def test_a_service_that_stops_ends_its_jobs(serve):
    async with serve(**PROJECT, sartor_yaml="service: {drain_seconds: 0.1}\n") as served:
        key = await served.key("acme", "documents")
        async with served.bots.knowledge("acme/support")._writing:
            answer = await upload(served, key, ("a.md", DELIVERY))
            await served.service.drain()
        job = await finished(served, key, answer)
        assert (job["status"], job["error"]["code"]) == ("failed", "unavailable")
        assert (await upload(served, key, ("b.md", DELIVERY))).status_code == 503


# What a reply cites.


async def cited(served, headers, **more):
    asked = {"text": "How long do parcels take?", **more}
    answer = await served.client.post("/v1/turns", json=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_citation_opens_the_passage(serve):
    async with serve(**PROJECT, script=["They take two days [1]."]) as served:
        key, session = await served.key("acme", "documents"), await served.session()
        await finished(served, key, await upload(served, key, ("delivery.md", DELIVERY)))
        turn = await cited(served, session)
        assert [one["number"] for one in turn["citations"]] == [1]
        there = f"/v1/turns/{turn['id']}/passages/1"
        passage = (await served.client.get(there, headers=session)).json()
        assert (passage["source"], passage["title"]) == ("uploads/delivery.md", "Delivery")
        assert "Parcels take two days." in passage["text"]
        for other in (f"/v1/turns/{turn['id']}/passages/2", "/v1/turns/unknown/passages/1"):
            assert (await served.client.get(other, headers=session)).status_code == 404
        assert (await served.client.get(f"/v1/turns/{turn['id']}/passages/0", headers=session)).status_code == 400
        assert (await served.client.get(there, headers=await served.session())).status_code == 404
        assert (await served.client.get(there, headers=await served.key("acme", "read"))).status_code == 200
        changed = DELIVERY.replace(b"two", b"three")
        await finished(served, key, await upload(served, key, ("delivery.md", changed)))
        gone = await served.client.get(there, headers=session)
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "passage_gone")


async def test_a_quotation_is_told_with_its_passage(serve):
    files = {**PROJECT["files"], "tenants/acme/support/bot.yaml": FREE.replace("grounding: free", "grounding: quote")}
    async with serve(files=files, script=["Parcels take two days."]) as served:
        key, session = await served.key("acme", "documents"), await served.session()
        await finished(served, key, await upload(served, key, ("delivery.md", DELIVERY)))
        turn = await cited(served, session)
        assert turn["text"] == "Parcels take two days. [1]"
        passage = (await served.client.get(f"/v1/turns/{turn['id']}/passages/1", headers=session)).json()
        assert passage["quote"] == "Parcels take two days." and passage["quotes"] == [passage["quote"]]


MASK = """
from sartor.plugin import Plugin, hookimpl
from sartor.policy import ALLOW, Edit, Policy, block, rewrite

class Mask(Policy):
    async def passage(self, turn, passage):
        at = passage.text.find("4711")
        return rewrite([Edit(at, at + 4, "****")]) if at >= 0 else ALLOW

class Forbid(Policy):
    window = 20
    async def output(self, turn, draft):
        return block("secret") if "forbidden" in draft.text else ALLOW

class Masks(Plugin):
    @hookimpl
    def sartor_policies(self): return [Mask(), Forbid()]
"""


async def test_a_passage_is_shown_as_the_policies_let_it(serve):
    files = {
        "plugins/masks.py": MASK,
        "tenants/acme/support/bot.yaml": FREE + "plugins: {masks: {}}\n",
    }
    async with serve(files=files, script=["Two days [1].", "Two days [1]."]) as served:
        key, session = await served.key("acme", "documents"), await served.session()
        masked = b"# Delivery\n\nParcels take two days, says number 4711.\n"
        await finished(served, key, await upload(served, key, ("delivery.md", masked)))
        turn = await cited(served, session)
        passage = await served.client.get(f"/v1/turns/{turn['id']}/passages/1", headers=session)
        assert "4711" not in passage.text and "number ****" in passage.json()["text"]
        hidden = b"# Delivery\n\nParcels take two days, which is forbidden to tell.\n"
        await finished(served, key, await upload(served, key, ("delivery.md", hidden)))
        turn = await cited(served, session)
        passage = await served.client.get(f"/v1/turns/{turn['id']}/passages/1", headers=session)
        assert passage.status_code == 404 and "forbidden" not in passage.text


async def test_a_passage_of_another_audience_is_not_shown(serve):
    bot = FREE + "audiences: {business: {}}\n"
    path = "tenants/acme/support/knowledge/audience=business/terms.md"
    files = {"tenants/acme/support/bot.yaml": bot, path: "# Terms\n\nParcels take one day.\n"}
    async with serve(files=files, script=["One day [1]."]) as served:
        await served.bots.knowledge("acme/support").ingest()
        key = await served.key()
        turn = await cited(served, key, bot="support", audience="business")
        there = f"/v1/turns/{turn['id']}/passages/1"
        assert (await served.client.get(there, headers=key)).json()["text"] == "Parcels take one day."
