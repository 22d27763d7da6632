"""The chat widget as one script, with a page of its own for each bot."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

__all__ = ["router", "script"]

router = APIRouter()

_PARTS = ("texts", "dom", "markdown", "api", "turn", "frame", "talk", "element")
"""The files of the script, in the order in which they need each other."""

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


def _known(headers: Mapping[str, str], tag: str) -> bool:
    """Whether the browser has this very version."""
    sent = [known.strip().removeprefix("W/") for known in headers.get("if-none-match", "").split(",")]
    return tag in sent or "*" in sent
