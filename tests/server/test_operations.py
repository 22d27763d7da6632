"""`/healthz`, `/readyz`, `/metrics`: who may ask, and what is told."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sartor import asgi
from sartor.errors import StoreError
from sartor.values import Outcome

SLOW = '''
import asyncio
from sartor.plugin import Plugin, PluginSettings, hookimpl

class Settings(PluginSettings):
    seconds: float = 0.0
    failures: int = 0

class Slow(Plugin):
    """A model that takes its time to load, or fails to."""

    Settings = Settings
    starts = []

    @hookimpl
    def sartor_model(self):
        settings, starts = self.settings, self.starts

        class Model:
            astream = None

            async def start(self):
                starts.append(1)
                await asyncio.sleep(settings.seconds)
                if len(starts) <= settings.failures:
                    raise RuntimeError("canary: the weights are gone")

        return Model()
'''
PROJECT = """
model: slow
models: {slow: {plugin: slow, SETTINGS}}
embeddings: null
index: {plugin: memory-index}
"""


def slow(settings: str) -> dict[str, str]:
    return {"plugins/slow.py": SLOW, "sartor.yaml": PROJECT.replace("SETTINGS", settings)}


def checks(answer: httpx.Response) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in answer.json()["checks"]}


async def test_a_process_that_lives_says_so(serve):
    async with serve() as served:
        answer = await served.client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_health_needs_no_database(serve, monkeypatch):
    async with serve() as served:

        async def gone() -> None:
            raise StoreError("the disk canary is gone", where="/secret/canary")

        monkeypatch.setattr(served.bots.store, "reach", gone)
        assert (await served.client.get("/healthz")).status_code == 200
        answer = await served.client.get("/readyz")
        assert answer.status_code == 503 and "canary" not in answer.text
        assert checks(answer) == {"model": True, "database": False, "accepting": True}


async def test_a_service_with_all_it_needs_is_ready(serve):
    async with serve() as served:
        answer = await served.client.get("/readyz")
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert answer.json() == {
            "ready": True,
            "checks": [
                {"name": "model", "ok": True},
                {"name": "database", "ok": True},
                {"name": "accepting", "ok": True},
            ],
        }


async def test_a_database_that_does_not_answer_is_not_waited_for_long(serve, monkeypatch):
    async with serve() as served:
        monkeypatch.setattr("sartor.server.readiness._PATIENCE", 0.05)
        monkeypatch.setattr(served.bots.store, "reach", lambda: asyncio.sleep(60))
        answer = await asyncio.wait_for(served.client.get("/readyz"), 5)
        assert answer.status_code == 503 and not checks(answer)["database"]


async def test_a_model_is_ready_once_it_is_loaded_and_is_loaded_once(serve, monkeypatch):
    monkeypatch.setattr("sartor.server.readiness._PATIENCE", 0.1)
    async with serve(files=slow("seconds: 0.4")) as served:
        first = await asyncio.gather(*(served.client.get("/readyz") for _ in range(3)))
        assert [answer.status_code for answer in first] == [503] * 3
        assert checks(first[0]) == {"model": False, "database": True, "accepting": True}
        await asyncio.sleep(0.5)
        assert (await served.client.get("/readyz")).status_code == 200
        assert len(served.bots.models) == 1
        (plugin, _), *_ = served.bots._parts.values()
        assert len(plugin.starts) == 1


async def test_a_model_that_fails_to_load_is_tried_again_and_says_nothing_of_why(serve, caplog):
    caplog.set_level("INFO")
    async with serve(files=slow("failures: 2")) as served:
        await asyncio.sleep(0.05)
        answer = await served.client.get("/readyz")
        assert answer.status_code == 503 and "canary" not in answer.text
        assert (await served.client.get("/readyz")).status_code == 200
        assert [record.getMessage() for record in caplog.records if record.name == "sartor.server"] == [
            "the model is not ready: canary: the weights are gone",
            "the model is ready again",
        ]


async def test_a_service_that_is_told_to_stop_is_not_ready_and_takes_nothing_new(serve):
    async with serve() as served:
        await served.service.drain()
        answer = await served.client.get("/readyz")
        assert answer.status_code == 503 and checks(answer) == {"model": True, "database": True, "accepting": False}
        assert (await served.client.get("/healthz")).status_code == 200
        asked = {"bot": "support", "text": "Hi"}
        turn = await served.client.post("/v1/turns", json=asked, headers=await served.key())
        assert turn.status_code == 503 and turn.headers["retry-after"]


async def test_draining_waits_for_turns_and_cancels_what_takes_too_long(serve):
    async with serve(script=["word " * 100], delay=0.05, sartor_yaml="service: {drain_seconds: 0.3}\n") as served:
        asked = {"bot": "support", "text": "Hi"}
        asking = asyncio.create_task(served.client.post("/v1/turns", json=asked, headers=await served.key()))
        while not served.service.live.running:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        await asyncio.wait_for(served.service.drain(), 5)
        turn = (await asking).json()
        assert turn["outcome"] == Outcome.CANCELLED and "word" in turn["text"]


def client_from(served, host: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(served.client._transport.app, client=(host, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 404),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, 404),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 404),
        ("203.0.113.9", {}, 404),
        ("203.0.113.9", {"Authorization": "Bearer "}, 404),
        ("testclient", {}, 404),
    ],
)
async def test_without_a_token_only_this_machine_sees_the_figures(serve, host, headers, status):
    async with serve() as served, client_from(served, host) as client:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("sartor_turns" in answer.text) is (status == 200)


@pytest.mark.parametrize(
    ("authorization", "status"), [("Bearer m3trics", 200), ("bearer m3trics", 200), ("Bearer m3tric", 404), ("", 404)]
)
async def test_with_a_token_whoever_has_it_sees_the_figures(serve, monkeypatch, authorization, status):
    monkeypatch.setenv("METRICS_TOKEN", "m3trics")
    async with serve(sartor_yaml='service: {metrics_token: "env:METRICS_TOKEN"}\n') as served:
        async with client_from(served, "203.0.113.9") as client:
            answer = await client.get("/metrics", headers={"Authorization": authorization} if authorization else {})
            assert answer.status_code == status
        assert (await served.client.get("/metrics")).status_code == 404  # also for this machine


@pytest.mark.parametrize("given", ["Bearer ", "Bearer", "Bearer x", ""])
async def test_a_token_that_is_not_to_be_had_opens_nothing(serve, monkeypatch, given):
    monkeypatch.delenv("METRICS_TOKEN", raising=False)
    async with serve(sartor_yaml='service: {metrics_token: "env:METRICS_TOKEN"}\n') as served:
        answer = await served.client.get("/metrics", headers={"Authorization": given})
        assert answer.status_code == 404 and "METRICS_TOKEN" not in answer.text


async def test_requests_have_an_id_that_a_proxy_may_choose(serve):
    async with serve() as served:
        assert (await served.client.get("/healthz")).headers["x-request-id"].startswith("req_")
        chosen = await served.client.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"})
        assert chosen.headers["x-request-id"] == "abc-1.2_3"
        forged = await served.client.get("/healthz", headers={"X-Request-Id": 'a" b'})
        assert forged.headers["x-request-id"].startswith("req_")


async def test_an_error_of_our_own_has_an_id_too(serve, monkeypatch):
    async with serve() as served:
        monkeypatch.setattr(served.service.readiness, "checks", lambda: 1 / 0)
        answer = await served.client.get("/readyz")
        assert answer.status_code == 500 and answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-content-type-options"] == "nosniff" and "division" not in answer.text


async def test_operations_are_there_where_the_application_is_mounted(make_project):
    from fastapi import FastAPI

    root = make_project({"tenants/acme/support/bot.yaml": "title: x"})
    inner, host = asgi.app(root), FastAPI()
    host.mount("/bots", inner)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://host")
    async with asgi.running(inner), client:
        assert (await client.get("/bots/readyz")).json()["ready"]
        assert 'route="/readyz"' in (await client.get("/bots/metrics")).text
