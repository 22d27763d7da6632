"""What is refused at the door, before a request reaches anything: bodies too large, too deep, or no JSON.

`json` and pydantic accept NaN, and Python has strings that no UTF-8 can hold; neither gets in.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sartor.server.failures import Failure, json_failure
from sartor.server.service import service_of

__all__ = ["Door", "check_json"]


class Door:
    """ASGI middleware that reads a body within its limits, checks it where it is JSON, and hands it on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return await self._app(scope, receive, send)
        kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
        spec = service_of(HTTPConnection(scope)).spec
        limit = spec.upload_bytes if kind == "multipart/form-data" else spec.body_bytes
        try:
            body = await self._read(scope, receive, limit)
            if body is None:
                return None
            if kind == "application/json" or kind.endswith("+json"):
                check_json(body, spec.depth)
        except Failure as failure:
            return await json_failure(failure)(scope, receive, send)
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return await self._app(scope, again, send)

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> bytes | None:
        """The whole body; None where the client went away. Raises `Failure` 413."""
        told = Headers(scope=scope).get("content-length", "")
        if told.isascii() and told.isdigit() and int(told[:20]) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return b"".join(pieces)


def check_json(body: bytes, depth: int) -> None:
    """Raises `Failure` 400 for a body that is no JSON (RFC 8259), is nested deeper than `depth`, or has a text that
    is no Unicode."""
    if not body:
        return
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise _bad(f"the body is nested deeper than {depth} levels", "too_deep") from error
    except ValueError as error:
        raise _bad("the body is no JSON", "invalid_json") from error
    level, layer = 0, [value]
    while layer := [inner for outer in layer if isinstance(outer, dict | list) for inner in _inside(outer)]:
        level += 1
        if level >= depth:
            raise _bad(f"the body is nested deeper than {depth} levels", "too_deep")


def _inside(outer: dict[str, object] | list[object]) -> list[object]:
    return list(outer.values()) if isinstance(outer, dict) else outer


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _bad(message: str, code: str) -> Failure:
    return Failure(400, message, code=code)


def _too_large(limit: int) -> Failure:
    return Failure(413, f"the body is larger than {limit} bytes", code="too_large")
