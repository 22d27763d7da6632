"""Bots of a service over MCP: keys, tenants, users, origins, and turns that the service counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator

import anyio
import httpx2
import jwt
import pytest
import uvicorn
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

MODES = ("2026-07-28", "legacy")
ASKED = {"question": "When do parcels leave?"}
SIGNING = "a secret of the shop, long enough"
FILES = {
    "tenants/acme/tenant.yaml": "name: Acme\nusers: {secret: 'env:SHOP_SECRET'}\n",
    "tenants/acme/support/bot.yaml": """
        title: Acme support
        audiences: {business: {}}
        web: {origins: ["https://shop.example"]}
        """,
    "tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nParcels leave within one day.\n",
    "tenants/acme/support/knowledge/audience=business/terms.md": "# Terms\n\nParcels are paid within thirty days.\n",
    "tenants/rival/support/bot.yaml": "title: Rival support\n",
    "tenants/rival/support/knowledge/secret.md": "# Secret\n\nParcels of the rival are blue.\n",
}
LONG = "word " * 400


@pytest.fixture
def listening(serve, monkeypatch):
    """A service on a port of its own: ``async with listening(script=[…]) as (served, url)``."""
    monkeypatch.setenv("SHOP_SECRET", SIGNING)

    @contextlib.asynccontextmanager
    async def listen(files=None, **options) -> AsyncIterator[tuple[object, str]]:
        async with serve(files={**FILES, **(files or {})}, **options) as served:
            for bot_id in served.bots:
                await served.bots.knowledge(bot_id).ingest()
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                config = uvicorn.Config(
                    served.client._transport.app, lifespan="off", log_config=None, timeout_graceful_shutdown=2
                )
                server = uvicorn.Server(config)
                task = asyncio.create_task(server.serve([listener]))
                while not server.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                try:
                    yield served, f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
                finally:
                    server.should_exit = True
                    await task

    return listen


@contextlib.asynccontextmanager
async def connected(url: str, headers: dict[str, str], mode: str = MODES[0]) -> AsyncIterator[Client]:
    http = httpx2.AsyncClient(headers=headers, timeout=20)
    async with http, Client(streamable_http_client(url, http_client=http), mode=mode) as client:
        yield client


def signed(**claims) -> dict[str, str]:
    return {"Sartor-User": jwt.encode({"exp": 4102444800, **claims}, SIGNING, algorithm="HS256")}


META = {"io.modelcontextprotocol/protocolVersion": MODES[0], "io.modelcontextprotocol/clientCapabilities": {}}
USUAL = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": MODES[0]}


async def post(url: str, headers: dict[str, str]) -> httpx2.Response:
    """List the tools, without the SDK's client."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    async with httpx2.AsyncClient() as http:
        return await http.post(url, json=body, headers={**USUAL, "Mcp-Method": "tools/list", **headers})


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_asks_its_bot_and_goes_on(listening, mode):
    async with listening(script=["Within one day [1].", "Yes."]) as (served, url):
        key = await served.key("acme", "chat", "search")
        async with connected(f"{url}/acme/support", key, mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["ask", "search"]
            first = (await client.call_tool("ask", ASKED)).structured_content
            assert first["answer"] == "Within one day [1]."
        async with connected(f"{url}/acme/support", key, mode) as client:  # no session is kept
            asked = {**ASKED, "conversation": first["conversation"]}
            assert (await client.call_tool("ask", asked)).structured_content["answer"] == "Yes."
            found = (await client.call_tool("search", {"query": "parcels"})).structured_content["passages"]
            assert [one["source"] for one in found] == ["delivery.md"]
            [listed] = (await client.list_resources()).resources
            assert "within one day" in (await client.read_resource(listed.uri)).contents[0].text
        stored = await served.bots.store.tenant("acme").reply(first["turn"])
        assert stored.reply.turn.user.startswith("key:")


async def test_a_key_for_chat_alone_is_offered_no_documents(listening):
    async with listening() as (served, url), connected(f"{url}/acme/support", await served.key()) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["ask"]
        with pytest.raises(MCPError):
            await client.call_tool("search", {"query": "parcels"})
        with pytest.raises(MCPError):
            await client.read_resource("sartor://acme/support/delivery.md")


async def test_nobody_without_a_key_for_the_bot_comes_in(listening):
    async with listening() as (served, url):
        mine, theirs = f"{url}/acme/support", f"{url}/rival/support"
        key = await served.key("acme", "chat", "search")
        assert (await post(mine, key)).status_code == 200
        assert (await post(mine, {})).status_code == 401
        assert (await post(mine, {"Authorization": "Bearer sartor_000000000000_" + "x" * 43})).status_code == 401
        assert (await post(mine, await served.key("acme", "read"))).status_code == 403
        answers = [await post(theirs, key), await post(f"{url}/rival/nobody", key), await post(f"{url}/A%00/b", key)]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        assert answers[0].json()["error"]["code"] == answers[1].json()["error"]["code"]
        assert (await post(f"{url}/acme/nobody", key)).status_code == 404


async def test_two_tenants_do_not_reach_one_another(listening):
    async with listening(script=["One.", "Two."]) as (served, url):
        acme, rival = await served.key("acme", "chat", "search"), await served.key("rival", "chat", "search")
        async with connected(f"{url}/acme/support", acme) as ours, connected(f"{url}/rival/support", rival) as theirs:
            conversation = (await theirs.call_tool("ask", ASKED)).structured_content["conversation"]
            result = await ours.call_tool("ask", {**ASKED, "conversation": conversation})
            assert result.is_error and "no such conversation" in result.content[0].text
            found = (await ours.call_tool("search", {"query": "parcels of the rival are blue"})).structured_content
            assert {one["source"] for one in found["passages"]} == {"delivery.md"}
            [theirs_listed] = (await theirs.list_resources()).resources
            with pytest.raises(MCPError, match="not found"):
                await ours.read_resource(theirs_listed.uri)


async def test_the_host_s_token_says_who_asks(listening):
    async with listening(script=["One.", "Two."]) as (served, url):
        key = await served.key("acme", "chat", "search")
        ada, bob = {**key, **signed(sub="ada", audience="business")}, {**key, **signed(sub="bob")}
        async with connected(f"{url}/acme/support", ada) as hers, connected(f"{url}/acme/support", bob) as his:
            told = (await hers.call_tool("ask", ASKED)).structured_content
            stored = (await served.bots.store.tenant("acme").reply(told["turn"])).reply
            assert (stored.turn.user, stored.turn.audience) == ("ada", "business")
            assert (await his.call_tool("ask", {**ASKED, "conversation": told["conversation"]})).is_error
            assert [len((await client.list_resources()).resources) for client in (hers, his)] == [2, 1]
        forged = {"Sartor-User": jwt.encode({"exp": 4102444800, "sub": "ada"}, "x" * 40, algorithm="HS256")}
        assert (await post(f"{url}/acme/support", {**key, **forged})).status_code == 401


async def test_a_web_page_comes_in_only_from_the_bot_s_origins(listening):
    async with listening() as (served, url):
        key = await served.key()
        for origin, status in (("https://shop.example", 200), ("https://evil.example", 403), ("null", 403)):
            assert (await post(f"{url}/acme/support", {**key, "Origin": origin})).status_code == status


async def test_only_post_is_taken(listening):
    async with listening() as (served, url), httpx2.AsyncClient(headers=await served.key()) as http:
        for method in ("GET", "DELETE"):
            assert (await http.request(method, f"{url}/acme/support")).status_code == 405


@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_who_goes_away_stops_the_turn(listening, mode):
    async with listening(script=[LONG], delay=0.02) as (served, url):
        async with connected(f"{url}/acme/support", await served.key(), mode) as client:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as calls:

                    async def leave(progress, total, message):
                        calls.cancel_scope.cancel()

                    await client.call_tool("ask", ASKED, progress_callback=leave)
        for _ in range(200):
            if not served.service.live.running:
                break
            await asyncio.sleep(0.02)
        assert served.service.live.running == 0


async def test_a_caller_who_takes_nothing_any_more_stops_the_turn(serve):
    params = {"name": "ask", "arguments": ASKED, "_meta": {**META, "progressToken": 1}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    limits = "service: {stall_seconds: 0.2}\n"
    async with serve(script=[LONG], delay=0.02, sartor_yaml=limits) as served:
        told = {**USUAL, **await served.key(), "Mcp-Method": "tools/call", "Mcp-Name": "ask", "Host": "service"}
        told["Content-Type"] = "application/json"
        scope = {"type": "http", "method": "POST", "path": "/mcp/acme/support", "query_string": b"", "scheme": "http"}
        scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent = []

        async def receive():
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)
            if message["type"] == "http.response.body":
                assert served.service.live.running == 1
                await asyncio.Event().wait()

        async with asyncio.timeout(5):
            await served.client._transport.app(scope, receive, send)
            while served.service.live.running:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert sent[0]["status"] == 200 and b"notifications/progress" in sent[1]["body"]


async def test_a_turn_counts_among_those_of_the_service(listening):
    limits = "service: {turns: 1}\n"
    async with listening(script=[LONG], delay=0.02, sartor_yaml=limits) as (served, url):
        key = await served.key()
        async with connected(f"{url}/acme/support", key) as first, connected(f"{url}/acme/support", key) as second:
            began = asyncio.Event()

            async def begun(progress, total, message):
                began.set()

            call = asyncio.create_task(first.call_tool("ask", ASKED, progress_callback=begun))
            await began.wait()
            refused = await second.call_tool("ask", ASKED)
            assert refused.is_error and "too many turns" in refused.content[0].text
            [live] = served.service.live.of_tenant("acme")
            live.cancel()
            assert (await call).structured_content["outcome"] == "cancelled"
            served.service.live.draining = True
            assert "about to stop" in (await second.call_tool("ask", ASKED)).content[0].text


async def test_a_service_without_the_sdk_says_so(serve, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mcp", "mcp_types")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "sartor.mcpserver", raising=False)
    async with serve() as served:
        answer = await served.client.post("/mcp/acme/support", headers=await served.key(), json={})
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "mcp_missing"


async def test_the_sdk_does_not_fill_the_log(listening, caplog):
    caplog.set_level(logging.INFO)
    async with listening() as (served, url):
        await post(f"{url}/acme/support", await served.key())
    assert not [record for record in caplog.records if record.name.startswith("mcp.")]
