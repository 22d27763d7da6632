"""What is noted of every HTTP request: a line in the log, figures, an id.

Neither paths nor query strings nor bodies are among it, since they name conversations and hold text.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sartor.observing import TRACE_HEADERS
from sartor.server.failures import Failure, failure_of, json_failure
from sartor.server.logs import REQUEST, RequestNote
from sartor.server.service import Service

__all__ = ["Requests"]

log = logging.getLogger("sartor.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds: told at the level DEBUG."""
_FULL = Failure(429, "too many requests at once; try again later", code="overloaded", headers={"Retry-After": "1"})
_GONE = 499
"""As nginx has it: the client went away before it was answered."""


class Requests:
    """ASGI middleware around all other: what they raise is answered here, so that this answer has an id as well.

    It is also the bound on requests at once: what is too much is refused before its body is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        id_ = given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        note = RequestNote(id_, scope.setdefault("state", {}))
        status, size, began = 0, 0, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                told = MutableHeaders(scope=message)
                told["X-Request-Id"] = id_
                told.setdefault("X-Content-Type-Options", "nosniff")
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        token = REQUEST.set(note)
        traced = TRACE_HEADERS.set({name: headers[name] for name in ("traceparent", "tracestate") if name in headers})
        self._at_work += 1
        try:
            if self._full(scope):
                await json_failure(_FULL)(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        except Exception as error:
            if not status:
                await json_failure(failure_of(error))(scope, receive, noted)
            raise
        finally:
            self._at_work -= 1
            _record(scope, status or _GONE, size, time.perf_counter() - began)
            TRACE_HEADERS.reset(traced)
            REQUEST.reset(token)

    def _full(self, scope: Scope) -> bool:
        service = getattr(scope["app"].state, "sartor", None)
        return isinstance(service, Service) and self._at_work > service.spec.requests and scope["path"] not in _QUIET


def _record(scope: Scope, status: int, size: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "other")
    told = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 4), "bytes": size}
    log.log(logging.DEBUG if route in _QUIET else logging.INFO, "request", extra=told)
    service = getattr(scope["app"].state, "sartor", None)
    if isinstance(service, Service):
        service.metrics.requested(scope["method"], route, status, seconds)
