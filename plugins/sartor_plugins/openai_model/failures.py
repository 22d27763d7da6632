"""Everything that can go wrong with a server, as `ModelError`: the only place that translates."""

from __future__ import annotations

import json
import math

import httpx
from sartor.errors import ModelError

__all__ = ["broken", "refused", "translated", "wait_of"]

_REMEDIES = {
    400: "The server does not take the request: compare the plugin's settings with what the model can do.",
    401: "Set `api_key` to a valid key, as env:NAME or file:PATH.",
    403: "The key may not use this model: check its rights.",
    404: "Check `url` (it usually ends with /v1) and `model`.",
    413: "Give the bot fewer passages or a shorter history.",
    429: "The server's limit is reached: wait, or raise the limit there.",
}
_MOST = 300


def translated(error: Exception, url: str) -> ModelError:
    """What httpx raised, for people."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return ModelError(
            f"the model's server cannot be reached: {error or type(error).__name__}",
            where=url,
            remedy="Start it, or correct `url`.",
        )
    if isinstance(error, httpx.TimeoutException):
        remedy = "Raise `timeout`, or look why the server is slow."
        return ModelError("the model's server was silent for too long", where=url, remedy=remedy)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return ModelError(f"the address is wrong: {error}", where=url, remedy="Correct `url`.")
    return ModelError(
        f"the connection to the model's server broke: {error or type(error).__name__}",
        where=url,
        remedy="Try again; look into the server's log when it happens often.",
    )


def refused(status: int, body: bytes, url: str, *, wait: float | None, secrets: list[str]) -> ModelError:
    """An answer that is no stream; none of `secrets` is repeated."""
    told = _reason(body)
    for secret in filter(None, secrets):
        told = told.replace(secret, "…")
    later = f"; it asks to wait {wait:g} s" if wait is not None else ""
    remedy = _REMEDIES.get(status) or ("Look into the server's log." if status >= 500 else "Check `url`.")
    return ModelError(
        f"the model's server answered {status}{later}{': ' if told else ''}{told}", where=url, remedy=remedy
    )


def broken(what: str, url: str) -> ModelError:
    """A stream that says what no stream may say."""
    return ModelError(
        f"the model's server sent a broken stream: {what}"[: _MOST + 60],
        where=url,
        remedy="Check that `url` is an OpenAI-compatible server, and look into its log.",
    )


def wait_of(response: httpx.Response) -> float | None:
    """The seconds of the header `Retry-After`; None where there are none."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.startswith("<") else text[:_MOST]
    error = told.get("error", told) if isinstance(told, dict) else told
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)[:_MOST]
