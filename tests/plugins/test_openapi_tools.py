"""Operations of a service on loopback, by the description that it gives of itself."""

from __future__ import annotations

import asyncio
import json
import socket
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pytest
import sartor
import uvicorn
import yaml
from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel
from sartor.errors import PluginError
from sartor.spec import Limits
from sartor.toolbox import check_call, offer, run_tool
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Origin, ToolCall, ToolResult, Turn
from sartor_plugins.openapi_tools import OpenAPIPlugin
from sartor_plugins.openapi_tools.description import Description
from sartor_plugins.openapi_tools.settings import OpenAPISettings

TURN = Turn("turn-1", "c", "acme", "support", "anna", "?", attributes={"token": "token-of-anna"})


class Ticket(BaseModel):
    subject: str
    priority: int = 3
    tags: list[str] = []


class State:
    """What came in, and how often the service shall fail."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.failures = 0
        self.status = 503
        self.url = ""


def service(state: State) -> FastAPI:
    app = FastAPI(title="Shop")

    @app.middleware("http")
    async def note(request: Request, go):  # type: ignore[no-untyped-def]
        state.seen.append(request)
        if state.failures:
            state.failures -= 1
            return JSONResponse({}, state.status, {"retry-after": "0"})
        response = await go(request)
        response.headers["set-cookie"] = "session=of-the-first-user; Path=/"
        return response

    @app.get("/orders/{order_id}", operation_id="get_order", summary="Look up an order by its number.")
    def get_order(order_id: str, verbose: bool = False) -> dict[str, object]:
        if order_id == "BW-404":
            raise HTTPException(404, "no such order")
        return {"data": {"order_id": order_id, "status": "shipped", "internal": "x", "verbose": verbose}}

    @app.get("/numbers/{number}", operation_id="get_number", summary="Look up a number.")
    def get_number(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/orders", operation_id="list_orders", summary="List orders.")
    def list_orders(request: Request, page: int = 1, tag: Annotated[list[str], Query()] = []) -> JSONResponse:  # noqa: B006
        body: dict[str, object] = {"items": [{"id": page * 10 + n} for n in range(2)], "tags": tag}
        body["next"] = page + 1 if page < 5 else None
        return JSONResponse(body, headers={"link": f'<{request.url.path}?page={page + 1}>; rel="next"'})

    @app.post("/tickets", operation_id="open_ticket", summary="Open a ticket.")
    def open_ticket(ticket: Ticket, x_source: Annotated[str, Header()] = "none") -> dict[str, object]:
        return {"id": 7, "source": x_source, **ticket.model_dump()}

    @app.get("/me", operation_id="whoami", summary="Who asks.")
    def whoami(request: Request, key: str = "") -> dict[str, str]:
        return {
            "who": request.headers.get("authorization", ""),
            "cookie": request.headers.get("cookie", ""),
            "key": key,
        }

    @app.get("/away", operation_id="away", summary="Elsewhere.")
    def away() -> RedirectResponse:
        return RedirectResponse("http://169.254.169.254/latest/meta-data")

    @app.get("/near", operation_id="near", summary="Nearby.")
    def near() -> RedirectResponse:
        return RedirectResponse("/me")

    @app.get("/huge", operation_id="huge", summary="Much.")
    def huge() -> dict[str, str]:
        return {"text": "x" * 200_000}

    @app.get("/slow", operation_id="slow", summary="Slow.")
    async def slow() -> dict[str, str]:
        await asyncio.sleep(30)
        return {}

    return app


@pytest.fixture(scope="module")
def running() -> Iterator[State]:
    state = State()
    app = service(state)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        state.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        state.description = json.dumps(app.openapi())  # type: ignore[attr-defined]
        yield state
        server.should_exit = True
        thread.join()


@pytest.fixture
def shop(running: State, tmp_path: Path) -> State:
    running.seen.clear()
    running.failures, running.status = 0, 503
    (tmp_path / "shop.json").write_text(running.description)  # type: ignore[attr-defined]
    running.directory = tmp_path  # type: ignore[attr-defined]
    return running


def plugin(shop: State, operations: Mapping[str, object], **told: object) -> OpenAPIPlugin:
    given = {"file": "shop.json", "url": shop.url, "operations": operations, **told}
    return OpenAPIPlugin(OpenAPISettings.model_validate({"services": {"shop": given}}), shop.directory)  # type: ignore[attr-defined]


def tools(made: OpenAPIPlugin) -> dict[str, Tool]:
    return {tool.name: tool for tool in made.sartor_tools(BotInfo("acme", "support", made.directory, made.directory))}


async def call(tool: Tool, turn: Turn = TURN, **arguments: JSONValue) -> ToolResult:
    request = ToolCall("1", tool.name, arguments, {name: frozenset({Origin.USER}) for name in arguments})
    checked = check_call({tool.name: tool}, request, "")
    if isinstance(checked, ToolResult):
        return checked
    return await run_tool(tool, request, checked[1], turn, Limits())


async def test_operations_become_tools_with_typed_arguments(shop):
    made = plugin(
        shop,
        {
            "get_order": {"pick": ["data"], "columns": ["order_id", "status", "verbose"], "from_user": ["order_id"]},
            "POST /tickets": {"name": "ticket", "bind": {"x-source": "turn:user"}},
            "get_number": {"from_user": ["number"]},
        },
    )
    found = tools(made)
    assert {name: tool.acts for name, tool in found.items()} == {
        "get_order": False,
        "ticket": True,
        "get_number": False,
    }
    assert found["get_order"].description == "Look up an order by its number."
    assert set(found["ticket"].schema["properties"]) == {"subject", "priority", "tags"}
    assert found["ticket"].schema["required"] == ["subject"]
    order = await call(found["get_order"], order_id="BW-1", verbose=True)
    assert order.text == '{"order_id": "BW-1", "status": "shipped", "verbose": true}'
    made_one = await call(found["ticket"], subject="Brakes", tags=["a", "b"])
    assert json.loads(made_one.text) == {
        "id": 7,
        "source": "anna",
        "subject": "Brakes",
        "priority": 3,
        "tags": ["a", "b"],
    }
    assert "is not of type 'integer'" in (await call(found["ticket"], subject="x", priority="high")).text
    assert "'subject' is a required property" in (await call(found["ticket"])).text
    assert "no such order" in (await call(found["get_order"], order_id="BW-404")).text
    told = offer(found["get_number"], ["Is it 42 or forty?"])
    assert told is not None and told["function"]["parameters"]["properties"]["number"]["enum"] == ["42"]
    assert (await call(found["get_number"], number="42")).text == '{"number": 42}'
    await made.close()


@pytest.mark.parametrize(
    "text", ["../me", "..", "BW/../../me", "x?key=1", "x#y", "//evil.example/", "@evil.example", "%2e%2e"]
)
async def test_no_argument_leads_elsewhere(shop, text):
    made = plugin(shop, {"get_order": {}})
    result = await call(tools(made)["get_order"], order_id=text)
    for request in shop.seen:
        assert request.scope["raw_path"].startswith(b"/orders/") and request.scope["raw_path"].count(b"/") == 2
        assert not request.url.query and "who" not in result.text
    await made.close()


async def test_redirects(shop):
    made = plugin(shop, {"away": {}, "near": {}})
    found = tools(made)
    assert "points elsewhere" in (await call(found["away"])).text
    assert "who" in (await call(found["near"])).text
    await made.close()


async def test_credentials_by_reference_and_of_each_user(shop, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "key-of-the-tenant")
    made = plugin(
        shop,
        {"whoami": {}},
        headers={"authorization": "Bearer turn:attributes.token"},
        query={"key": "env:SHOP_KEY"},
    )
    tool = tools(made)["whoami"]
    first = await call(tool)
    assert "•••" in first.text and "token-of-anna" not in first.text and "key-of-the-tenant" not in first.text
    assert shop.seen[-1].headers["authorization"] == "Bearer token-of-anna"
    assert shop.seen[-1].query_params["key"] == "key-of-the-tenant"
    second = await call(tool, Turn("t", "c", "acme", "support", "bert", "?", attributes={"token": "token-of-bert"}))
    assert shop.seen[-1].headers["authorization"] == "Bearer token-of-bert" and '"cookie": ""' in second.text
    nobody = await call(tool, Turn("t", "c", "acme", "support", "x", "?"))
    assert nobody.error and "not known for whom" in nobody.text and len(shop.seen) == 2
    await made.close()
    made = plugin(shop, {"whoami": {}}, basic=["anna", "env:SHOP_KEY"])
    await call(tools(made)["whoami"])
    assert shop.seen[-1].headers["authorization"].startswith("Basic ")
    await made.close()


async def test_only_what_is_safe_is_tried_again(shop):
    made = plugin(shop, {"get_order": {}, "open_ticket": {}})
    found = tools(made)
    shop.failures = 2
    assert not (await call(found["get_order"], order_id="1")).error and len(shop.seen) == 3
    shop.failures = 1
    assert "the service failed (503)" in (await call(found["open_ticket"], subject="x")).text and len(shop.seen) == 4
    await made.close()
    made = plugin(shop, {"open_ticket": {}}, idempotency_header="Idempotency-Key")
    shop.seen.clear()
    shop.failures = 1
    assert not (await call(tools(made)["open_ticket"], subject="x")).error
    one, two = (request.headers["idempotency-key"] for request in shop.seen)
    await call(tools(made)["open_ticket"], subject="y")
    assert one == two != shop.seen[-1].headers["idempotency-key"]
    await made.close()


async def test_a_service_that_fails_again_and_again_is_left_alone(shop):
    made = plugin(shop, {"get_order": {}, "whoami": {}}, retries=0, failures=2, rest=0.5)
    found = tools(made)
    shop.failures, shop.status = 2, 500
    for _ in range(2):
        assert (await call(found["get_order"], order_id="1")).error
    assert "out of order" in (await call(found["get_order"], order_id="1")).text and len(shop.seen) == 2
    assert not (await call(found["whoami"])).error
    await asyncio.sleep(0.6)
    assert not (await call(found["get_order"], order_id="1")).error
    await made.close()


async def test_limits_of_size_and_time(shop):
    made = plugin(shop, {"huge": {}, "slow": {"timeout": 0.5}}, response_bytes=10_000)
    found = tools(made)
    assert "more than 10000 bytes" in (await call(found["huge"])).text
    assert "no result within 0.5 seconds" in (await call(found["slow"])).text
    await made.close()


async def test_pages(shop):
    pages = {"next": ["next"], "parameter": "page", "most": 2}
    made = plugin(shop, {"list_orders": {"pick": ["items"], "columns": ["id"], "pages": pages}})
    found = json.loads((await call(tools(made)["list_orders"], tag=["a", "b"])).text)
    assert found["items"] == [{"id": 10}, {"id": 11}, {"id": 20}, {"id": 21}] and "more" in found["note"]
    assert shop.seen[0].query_params.getlist("tag") == ["a", "b"]
    await made.close()
    made = plugin(shop, {"list_orders": {"pick": ["items", "id"], "pages": {"link": True, "most": 3}}})
    assert json.loads((await call(tools(made)["list_orders"])).text)["items"] == [10, 11, 20, 21, 30, 31]
    await made.close()


async def test_nobody_there(shop):
    made = plugin(shop, {"get_order": {}}, url="http://127.0.0.1:9", retries=0)
    assert (await call(tools(made)["get_order"], order_id="1")).text == (
        "Error: get_order failed: the service cannot be reached"
    )
    await made.close()


BASE = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://{region}.shop.example", "variables": {"region": {"default": "eu"}}}],
}


def described(operation: Mapping[str, object], **more: object) -> Description:
    return Description(
        {**BASE, "paths": {"/x": {"post": {"operationId": "x", "summary": "X.", **operation}}}, **more}, "x.yaml"
    )  # type: ignore[dict-item]


def test_references_and_the_schemas_of_3_0():
    schemas = {
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}},
        "Body": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                "note": {"type": "string", "nullable": True},
                "node": {"$ref": "#/components/schemas/Node"},
                "made": {"type": "string", "readOnly": True},
            },
        },
    }
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
    description = described(
        {"requestBody": body, "parameters": [{"name": "id", "in": "query", "schema": {"type": "string"}}]},
        components={"schemas": schemas},
    )
    assert description.url == "https://eu.shop.example"
    schema = description.operation("POST /x").schema
    assert schema["required"] == ["body_id"]
    assert schema["properties"] == {
        "id": {"type": "string"},
        "body_id": {"type": "integer", "exclusiveMinimum": 0},
        "note": {"type": ["string", "null"]},
        "node": {"type": "object", "properties": {"next": {}}},
    }


@pytest.mark.parametrize(
    "reference", ["http://evil.example/x.json", "other.yaml#/x", "#/components/schemas/None", "#/paths/~1x"]
)
def test_references_lead_nowhere_else(reference):
    body = {"content": {"application/json": {"schema": {"$ref": reference, "type": "object"}}}}
    if reference == "#/paths/~1x":
        described({"requestBody": body}).operation("x")
        return
    with pytest.raises(PluginError, match="refers to"):
        described({"requestBody": body}).operation("x")


def test_faults_are_told_when_the_bot_is_built(shop, tmp_path):
    with pytest.raises(PluginError, match="has no operation 'nothing'") as caught:
        tools(plugin(shop, {"nothing": {}}))
    assert "get_order" in (caught.value.remedy or "")
    with pytest.raises(PluginError, match="outside the bot's folder"):
        tools(plugin(shop, {"x": {}}, file="../shop.json"))
    with pytest.raises(PluginError, match="cannot be read"):
        tools(plugin(shop, {"x": {}}, file="none.json"))
    with pytest.raises(PluginError, match="bind of the tool 'get_order' names 'x'"):
        tools(plugin(shop, {"get_order": {"bind": {"x": 1}}}))
    with pytest.raises(PluginError, match="not known where"):
        tools(plugin(shop, {"get_order": {}}, url=""))
    (tmp_path / "old.yaml").write_text("swagger: '2.0'\n")
    with pytest.raises(PluginError, match="is no OpenAPI 3 description"):
        tools(plugin(shop, {"x": {}}, file="old.yaml"))
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(json.loads(shop.description)))
    assert tools(plugin(shop, {"get_order": {}}, file="shop.yaml"))


async def test_a_bot_uses_it_through_the_built_in_model(shop, tmp_path):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    project = tmp_path / "project"
    files = {
        "sartor.yaml": "embeddings: null\n",
        "tenants/acme/support/shop.json": shop.description,
        "tenants/acme/support/bot.yaml": f"""
            title: Acme support
            grounding: {{mode: quote, tool_results: verbatim}}
            retrieval: {{passages: 0}}
            plugins:
              openapi:
                services:
                  shop:
                    file: shop.json
                    url: {shop.url}
                    operations:
                      get_order:
                        pick: [data]
                        columns: [order_id, status]
                        from_user: {{order_id: "[A-Z]{{2}}-[0-9]{{3,6}}"}}
                        bind: {{verbose: false}}
            """,
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(textwrap.dedent(text))
    async with sartor.open(project) as bots:
        reply = await bots["acme/support"].reply("Where is my order BW-1042?")
    assert [(use.call.name, dict(use.call.arguments)) for use in reply.tools] == [
        ("get_order", {"order_id": "BW-1042"})
    ]
    assert "shipped" in reply.text and shop.seen[-1].url.path == "/orders/BW-1042"
