"""The shop's pages, and its chatbot below /bots."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import Cookie, Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from sartor import asgi

from hazel import database

HERE = Path(__file__).parent
BOT = "hazel/support"

# Set both in earnest, so that they outlive a restart and are the same in all processes of the shop.
LOGIN_SECRET = os.environ.setdefault("HAZEL_LOGIN_SECRET", secrets.token_urlsafe(32))
CHAT_SECRET = os.environ.setdefault("HAZEL_CHAT_SECRET", secrets.token_urlsafe(32))  # named in tenant.yaml

pages = Jinja2Templates(HERE)
chat = asgi.app(HERE.parent / "bots")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    database.create()
    async with asgi.running(chat) as bots:
        await bots.knowledge(BOT).ingest()  # reads only what is new or changed
        await bots.start(BOT)  # loads the model now, not with the first message
        yield


shop = FastAPI(title="Hazel Coffee", lifespan=lifespan)
shop.mount("/bots", chat)


def sign_login(customer: str) -> str:
    """What the cookie of a customer who is signed in holds."""
    return jwt.encode({"sub": customer, "exp": datetime.now(UTC) + timedelta(days=1)}, LOGIN_SECRET)


def sign_chat(customer: str) -> str:
    """A token that tells the bots who is speaking, and that this is a customer."""
    ends = datetime.now(UTC) + timedelta(minutes=10)
    return jwt.encode({"sub": customer, "aud": "chat", "audience": "customer", "exp": ends}, CHAT_SECRET)


def visitor(hazel_login: Annotated[str, Cookie()] = "") -> str:
    """The customer who is signed in; empty: nobody."""
    try:
        return str(jwt.decode(hazel_login, LOGIN_SECRET, algorithms=["HS256"])["sub"])
    except jwt.PyJWTError:
        return ""


Visitor = Annotated[str, Depends(visitor)]


def customer(visitor: Visitor) -> str:
    if not visitor:
        raise HTTPException(401, "sign in first")
    return visitor


Customer = Annotated[str, Depends(customer)]


@shop.get("/")
def home(request: Request, visitor: Visitor) -> Response:
    told = {
        "customer": visitor,
        "products": database.products(),
        "orders": database.orders(visitor),
        "bot": BOT,
        "token": sign_chat(visitor) if visitor else "",
    }
    return pages.TemplateResponse(request, "page.html", told, headers={"Cache-Control": "no-store"})


@shop.get("/chat-token")
def chat_token(customer: Customer, response: Response) -> dict[str, str]:
    """A new token for a page that has been open for long."""
    response.headers["Cache-Control"] = "no-store"
    return {"token": sign_chat(customer)}


@shop.post("/orders")
def buy(customer: Customer, product: Annotated[str, Form()]) -> RedirectResponse:
    try:
        database.place_order(customer, product)
    except LookupError as error:
        raise HTTPException(404, "there is no such product") from error
    return RedirectResponse("/", 303)


@shop.post("/login")
def login(name: Annotated[str, Form(min_length=1, max_length=50)]) -> RedirectResponse:
    """Anybody may sign in under any name: this shop sells nothing."""
    response = RedirectResponse("/", 303)
    response.set_cookie("hazel_login", sign_login(name.lower()), httponly=True, samesite="lax")
    return response


@shop.post("/logout")
def logout() -> RedirectResponse:
    response = RedirectResponse("/", 303)
    response.delete_cookie("hazel_login")
    return response


@shop.get("/shop.js")
def script() -> FileResponse:
    return FileResponse(HERE / "shop.js")
