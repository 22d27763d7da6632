"""Which pages may hold a bot."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from sartor.servicespec import WebSpec

__all__ = ["may_hold", "own_origins"]


def may_hold(request: Request, origin: str, web: WebSpec) -> bool:
    """Whether the page at `origin` may hold the bot: by its `web.origins`, or as a page of the service itself that is
    opened on the service's own machine."""
    if "*" in web.origins or (origin and origin.lower() in web.origins):
        return True
    return origin.lower() in own_origins(request) and _here(urlsplit(origin).hostname or "")


def own_origins(request: Request) -> tuple[str, str]:
    """The origins under which the service was asked; a proxy in front of it may speak TLS."""
    host = request.headers.get("host", "").lower()
    return f"https://{host}", f"http://{host}"


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
