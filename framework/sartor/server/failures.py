"""Every error as a response, in the shape of OpenAI's API. Nothing in it tells a path, a key or another tenant."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sartor.errors import (
    BusyError,
    DiskError,
    KnowledgeError,
    ModelError,
    NamingError,
    OverloadedError,
    SartorError,
    SpecError,
    StoreError,
    UsageError,
)

__all__ = ["RESPONSES", "ErrorDetail", "Failure", "failure_of", "install", "json_failure"]

log = logging.getLogger("sartor.server")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    """For people."""
    type: str
    param: str | None = None
    """The part of the request that is meant."""
    code: str | None = None
    """For programs."""


class ErrorBody(BaseModel):
    """Every response that is an error."""

    error: ErrorDetail


RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody, "description": what}
    for status, what in {
        400: "The request is not as it should be.",
        401: "The API key or the session is missing or does not hold.",
        403: "The caller may not do that.",
        404: "There is no such thing, or it is not the caller's.",
        409: "It contradicts what is there.",
        413: "The body is too large.",
        429: "Too much at once: see the header Retry-After.",
        500: "Something went wrong on the server.",
        503: "The bot cannot answer at the moment.",
    }.items()
}
"""How requests may fail, for the description of the API."""


class Failure(Exception):
    """A request that is answered with an error. `message` is for the caller to read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, object]:
        """``{"error": {"message", "type", "param", "code"}}``."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def failure_of(error: BaseException) -> Failure:
    """`error` as what a caller may know of it. What a caller cannot mend is logged, and told without detail."""
    match error:
        case Failure():
            return error
        case OverloadedError():
            seconds = max(1, math.ceil(error.retry_after))
            headers = {"Retry-After": str(seconds)}
            return Failure(429, "too many requests wait already; try again later", code="overloaded", headers=headers)
        case NamingError():
            return Failure(404, "there is no such bot or conversation", code="not_found")
        case SpecError() | KnowledgeError():
            pass
        case UsageError() if type(error) is UsageError and error.where is None:
            return Failure(400, f"{error.what}. {error.remedy}" if error.remedy else error.what, code="invalid_request")
        case ModelError() | StoreError() | BusyError() | DiskError():
            log.error("a request failed: %s", error, exc_info=error)
            return Failure(503, "the bot cannot answer at the moment", code="unavailable", headers={"Retry-After": "5"})
    log.error("a request failed", exc_info=error)
    return Failure(500, "something went wrong on the server", code="server_error")


def json_failure(failure: Failure) -> JSONResponse:
    return JSONResponse(failure.body, failure.status, failure.headers)


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered in one shape."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return json_failure(failure_of(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return json_failure(_invalid(error.errors()))

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        told = {404: "there is nothing here", 405: "this method is not allowed here"}
        message = told.get(error.status_code, str(error.detail))
        return json_failure(Failure(error.status_code, message, headers=error.headers))

    app.add_exception_handler(Failure, known)
    app.add_exception_handler(SartorError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(Exception, known)


def _invalid(faults: Sequence[Mapping[str, object]]) -> Failure:
    """The first fault of a request, with the place where it is."""
    first = faults[0] if faults else {}
    place = first.get("loc", ())
    keys = [str(part) for part in place if part != "body"] if isinstance(place, tuple | list) else []
    param = ".".join(keys) or None
    message = str(first.get("msg", "it is not as it should be"))
    return Failure(400, f"{param or 'the request'}: {message}", code="invalid_value", param=param)
