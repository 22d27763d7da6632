"""`/healthz`, `/readyz` and `/metrics`: what those who run the service ask it."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from sartor.errors import SartorError
from sartor.secrets import resolve_secret
from sartor.server.failures import Failure
from sartor.server.service import Service, service_of

__all__ = ["router"]

router = APIRouter(tags=["operations"])

log = logging.getLogger("sartor.server")

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of which a proxy adds at least one: then the peer is the proxy, not who asks."""


class Health(BaseModel):
    """That the process is alive."""

    status: Literal["ok"] = "ok"


class ReadyCheck(BaseModel):
    """One thing that must be so for turns to be answered."""

    name: str
    ok: bool


class Ready(BaseModel):
    """Whether turns can be answered now."""

    ready: bool
    checks: list[ReadyCheck]


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process is alive. It asks nothing else."""
    return Health()


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
async def readyz(request: Request) -> JSONResponse:
    """Whether turns can be answered: the model is loaded, the database within reach, the service not about to stop."""
    service = service_of(request)
    checks = [ReadyCheck(name=check.name, ok=check.ok) for check in await service.readiness.checks()]
    checks.append(ReadyCheck(name="accepting", ok=not service.draining))
    ready = Ready(ready=all(check.ok for check in checks), checks=checks)
    return JSONResponse(ready.model_dump(), 200 if ready.ready else 503, {"Cache-Control": "no-store"})


@router.get("/metrics", response_class=Response, include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus: with `service.metrics_token`, or from this machine where there is none."""
    service = service_of(request)
    if not _may_see(request, service):
        raise Failure(404, "there is nothing here", code="not_found")
    page, kind = service.metrics.page(request.headers.get("accept", ""))
    return Response(page, media_type=None, headers={"Content-Type": kind, "Cache-Control": "no-store"})


def _token(service: Service) -> str:
    """The token that is asked for; empty where it is not to be had, and then nobody has it."""
    try:
        return resolve_secret(service.spec.metrics_token, service.bots.project.directory)
    except SartorError as error:
        log.error("service.metrics_token: %s", error)
        return ""


def _may_see(request: Request, service: Service) -> bool:
    if service.spec.metrics_token:
        token = _token(service)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return (
            bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
        )
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
