"""The chat widget as one script, with a page of its own for each bot."""

from __future__ import annotations

import functools
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from sartor.server.failures import Failure
from sartor.server.pages import may_hold, own_origins
from sartor.server.service import service_of
from sartor.servicespec import WebSpec
from sartor.texts import nearest

__all__ = ["router", "script"]

router = APIRouter()

_PARTS = ("texts", "dom", "markdown", "api", "turn", "frame", "waiting", "talk", "element")
"""The files of the script, in the order in which they need each other."""

_HOST = re.compile(r"(\*\.)?[a-z0-9.-]+(:\d+)?", re.IGNORECASE)

_HEADERS = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "public, max-age=300, stale-while-revalidate=86400",
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is served."""

    plain: bytes
    packed: bytes
    """The same, compressed by gzip."""
    digest: str


@functools.cache
def script() -> Script:
    """The widget: its files joined, with its style sheet as a constant."""
    folder = files("sartor.server") / "static" / "widget"
    style = (folder / "style.css").read_text(encoding="utf-8")
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS]
    inner = "\n".join([f"const STYLE = {json.dumps(style)};", *parts])
    plain = f'/* Sartor chat widget */\n(() => {{\n"use strict";\n{inner}\n}})();\n'.encode()
    return Script(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:32])


@router.get("/widget.js", include_in_schema=False)
def widget(request: Request) -> Response:
    """The script that pages embed."""
    made = script()
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{made.digest}{"-gz" if packed else ""}"'
    headers = {**_HEADERS, "ETag": tag}
    if _known(request.headers, tag):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(made.packed if packed else made.plain, headers=headers)


@router.get("/chat/{tenant}/{bot}", include_in_schema=False)
def page(request: Request, tenant: str, bot: str) -> HTMLResponse:
    """A page that is nothing but the chat: to try a bot, or to share its address."""
    service, bot_id = service_of(request), f"{tenant}/{bot}"
    if bot_id not in service.bots:
        raise _nothing()
    spec = service.bots[bot_id].spec
    if not any(may_hold(request, origin, spec.web) for origin in own_origins(request)):
        raise _nothing()
    accepted = [one.partition(";")[0].strip() for one in request.headers.get("accept-language", "").split(",")]
    text = _PAGE.format(
        language=html.escape(nearest(accepted, spec.languages)),
        title=html.escape(spec.title or bot_id),
        bot=html.escape(bot_id),
    )
    headers = {
        "Content-Security-Policy": _policy(spec.web),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Language",
        "X-Robots-Tag": "noindex",
    }
    return HTMLResponse(text, headers=headers)


_PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<script src="../../widget.js" data-bot="{bot}" data-position="page" defer></script>
</html>
"""


def _policy(web: WebSpec) -> str:
    """The page's Content-Security-Policy: scripts from here, images from where the bot may show some."""
    images = " ".join(["data:", *(f"https://{host}" for host in web.links if _HOST.fullmatch(host))])
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; img-src {images}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _nothing() -> Failure:
    return Failure(404, "there is nothing here", code="not_found")


def _known(headers: Mapping[str, str], tag: str) -> bool:
    """Whether the browser has this very version."""
    sent = [known.strip().removeprefix("W/") for known in headers.get("if-none-match", "").split(",")]
    return tag in sent or "*" in sent
