"""A small service with the native API, whose turns are scripted: what the browser tests of the widget talk to."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.middleware.cors import CORSMiddleware

Given: TypeAlias = "str | float | dict | Exception"
"""A step of a script: text (a delta), seconds to wait, `{"tool": …}`, `{"approval": …}`, `{"drop": True}` (the
connection ends), `{"finish": {…}}` (fields of the turn object), `{"error": …}`."""

BOT = {
    "id": "acme/support",
    "title": "Acme Support",
    "languages": ["en", "fr", "ar"],
    "greeting": "Hello! How can I help you?",
    "suggestions": ["How long does delivery take?", "May I return a lamp?"],
    "links": ["help.acme.example", "*.acme-cdn.example"],
}


@dataclass
class MockTurn:
    """A turn that runs, with everything that it has said so far."""

    id: str
    conversation: str
    question: str
    events: list[tuple[str, dict]] = field(default_factory=list)
    fields: dict = field(default_factory=dict)
    status: str = "in_progress"
    news: asyncio.Event = field(default_factory=asyncio.Event)
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    drops: set[int] = field(default_factory=set)

    def say(self, name: str, data: dict) -> None:
        self.events.append((name, data))
        self.news.set()
        self.news = asyncio.Event()

    def told(self) -> dict:
        text = "".join(data["text"] for name, data in self.events if name == "delta")
        base = {"object": "turn", "id": self.id, "conversation": self.conversation, "bot": BOT["id"], "user": "v",
                "status": self.status, "outcome": "answered", "question": self.question, "text": text,
                "citations": [], "tools": [], "created": 1.0}  # fmt: skip
        return base | self.fields


class MockService:
    """The state behind the API; tests set `script` and read `requests`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.script: list[Given] = ["Hello."]
        self.turns: dict[str, MockTurn] = {}
        self.conversations: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str, dict, dict]] = []
        """Method, path, headers, body of each request to the API."""
        self.faults: list[tuple[str, int, dict]] = []
        """Answers in store: the end of a path, a status, headers; each is given once."""
        self.passages = {
            1: {"title": "Delivery › Abroad", "source": "delivery.md",
                "text": "We ship to 24 countries.\n\nDelivery abroad takes five to\nseven working days. Insured.",
                "quote": "Delivery abroad takes five to seven working days."},
            2: {"title": "Returns", "source": "terms.pdf#page=3", "text": "Lamps may be returned within 30 days.",
                "quote": "Lamps may be returned within 30 days."},
        }  # fmt: skip
        self.scripts: list[list[Given]] = []
        """Scripts of the next turns, used before `script`."""
        self.bot = dict(BOT)
        self.made = 0
        self.bad_sessions: set[str] = set()
        self.person = False
        """Whether a person has the conversation."""

    def seen(self, method: str, end: str) -> list[tuple[str, str, dict, dict]]:
        return [request for request in self.requests if request[0] == method and request[1].endswith(end)]

    def tell(self, conversation: str, text: str, author: str = "", released: bool = False) -> None:
        """Let a person say something, or the bot when it has the conversation again."""
        turn = MockTurn(f"t{len(self.turns) + 1}", conversation, "", status="completed")
        turn.fields = {"text": text, "author": author}
        self.turns[turn.id] = turn
        self.conversations[conversation].append(turn.id)
        self.person = not released

    async def play(self, turn: MockTurn, script: list[Given]) -> None:
        await asyncio.sleep(0)
        turn.say("turn", {"turn": turn.id, "conversation": turn.conversation})
        for step in script:
            if turn.cancelled.is_set():
                turn.fields |= {"outcome": "cancelled"}
                break
            if isinstance(step, str):
                turn.say("delta", {"text": step})
            elif isinstance(step, int | float):
                waits = [asyncio.ensure_future(turn.cancelled.wait()), asyncio.ensure_future(asyncio.sleep(step))]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
            elif "tool" in step:
                turn.say("tool", step["tool"])
            elif "approval" in step:
                turn.status = "waiting"
                turn.say("approval", step["approval"])
                await turn.decided.wait()
                turn.status = "in_progress"
            elif "drop" in step:
                turn.drops.add(len(turn.events))
            elif "error" in step:
                told = {"message": step["error"], "type": "server_error", "code": step.get("code")}
                return turn.say("error", {"error": told})
            else:
                turn.fields |= step["finish"]
        turn.status = "cancelled" if turn.cancelled.is_set() else "completed"
        return turn.say("finished", turn.told())

    async def listen(self, turn: MockTurn, after: int) -> AsyncIterator[bytes]:
        at = after
        while True:
            while at < len(turn.events):
                if at in turn.drops:
                    turn.drops.discard(at)
                    return
                name, data = turn.events[at]
                at += 1
                yield f"id: {at}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
                if name in ("finished", "error"):
                    return
            if at in turn.drops:
                turn.drops.discard(at)
                return
            yield b": waiting\n\n"
            await turn.news.wait()


def _stream(mock: MockService, turn: MockTurn, after: int = 0) -> StreamingResponse:
    return StreamingResponse(mock.listen(turn, after), media_type="text/event-stream")


def _missing() -> JSONResponse:
    return JSONResponse({"error": {"message": "not found", "type": "not_found_error"}}, 404)


def native(mock: MockService) -> APIRouter:
    """The native API over `mock`."""
    api = APIRouter()
    playing = set()

    @api.post("/v1/sessions")
    async def sessions(request: Request) -> object:
        body = await request.json()
        if body.get("token") == "expired" or body.get("session") in mock.bad_sessions:
            return JSONResponse({"error": {"message": "expired", "type": "authentication_error"}}, 401)
        mock.made += 1
        kind = "user" if body.get("token") else "visitor"
        token = body.get("session") or f"session-{mock.made}"
        return {"token": token, "expires": "2030-01-01T00:00:00Z", "user_kind": kind, "bot": mock.bot}

    @api.get("/v1/conversations/{id}/turns")
    async def turns(id: str, after: str = "") -> object:
        if id not in mock.conversations:
            return _missing()
        done = [mock.turns[turn].told() for turn in mock.conversations[id] if mock.turns[turn].status == "completed"]
        fresh = done[int(after or 0) :]
        last = str(int(after or 0) + len(fresh))
        return {"object": "list", "data": fresh, "has_more": False, "next": None, "last": last,
                "with_person": mock.person}  # fmt: skip

    @api.post("/v1/turns")
    async def begin(request: Request) -> object:
        body = await request.json()
        conversation = body.get("conversation") or f"c{len(mock.conversations) + 1}"
        turn = MockTurn(f"t{len(mock.turns) + 1}", conversation, body["text"])
        mock.turns[turn.id] = turn
        mock.conversations.setdefault(conversation, []).append(turn.id)
        task = asyncio.ensure_future(mock.play(turn, mock.scripts.pop(0) if mock.scripts else list(mock.script)))
        playing.add(task)
        task.add_done_callback(playing.discard)
        return _stream(mock, turn)

    @api.get("/v1/turns/{id}")
    async def one(id: str) -> object:
        return mock.turns[id].told() if id in mock.turns else _missing()

    @api.get("/v1/turns/{id}/events")
    async def events(id: str, request: Request) -> object:
        if id not in mock.turns:
            return _missing()
        return _stream(mock, mock.turns[id], int(request.headers.get("last-event-id", 0)))

    @api.post("/v1/turns/{id}/cancel")
    async def cancel(id: str) -> object:
        mock.turns[id].cancelled.set()
        return mock.turns[id].told()

    @api.post("/v1/turns/{id}/approvals/{call}")
    async def approve(id: str, call: str, request: Request) -> object:
        body = await request.json()
        mock.turns[id].say("approved", {"id": call, "approve": body["approve"]})
        mock.turns[id].decided.set()
        return {}

    @api.put("/v1/turns/{id}/feedback")
    async def feedback(id: str) -> object:
        return {"turn": id}

    @api.get("/v1/turns/{id}/passages/{number}")
    async def passage(id: str, number: int) -> object:
        return {"number": number} | mock.passages[number] if number in mock.passages else _missing()

    return api


class Recorder:
    """Notes each request to the API, and gives the faults that are in store."""

    def __init__(self, app: object, mock: MockService) -> None:
        self.app, self.mock = app, mock

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http" or "/v1/" not in scope["path"] or scope["method"] == "OPTIONS":
            return await self.app(scope, receive, send)
        message = await receive()
        sent = message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.mock.requests.append((scope["method"], scope["path"], headers, json.loads(sent) if sent else {}))
        for fault in self.mock.faults:
            if scope["path"].endswith(fault[0]):
                self.mock.faults.remove(fault)
                answer = JSONResponse({"error": {"message": "in store", "type": "x"}}, fault[1], headers=fault[2])
                return await answer(scope, receive, send)
        given = iter([message])

        async def again():
            return next(given, None) or await receive()

        return await self.app(scope, again, send)


def mock_app(mock: MockService, *routers: APIRouter, pages: dict[str, tuple[str, dict[str, str]]]) -> FastAPI:
    """The mock service; `pages` maps the names of host pages to their HTML and headers."""
    app = FastAPI()
    app.add_middleware(Recorder, mock=mock)
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=["Retry-After"]
    )
    for router in (native(mock), *routers):
        app.include_router(router)

    @app.get("/pages/{name}")
    async def page(name: str) -> Response:
        text, headers = pages[name]
        return HTMLResponse(text, headers=headers)

    @app.get("/favicon.ico")
    async def favicon() -> Response:
        return Response(status_code=204)

    return app


@contextmanager
def serving(app: object) -> Iterator[int]:
    """`app` on a free port of this machine, in a thread."""
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(5)
