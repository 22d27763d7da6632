"""`/v1/models`: the bots of a tenant, for OpenAI's clients."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from sartor.server.caller import KeyHolder
from sartor.server.failures import Failure
from sartor.server.openai.embeddings import EMBEDDINGS
from sartor.server.service import Service, service_of

__all__ = ["router"]

router = APIRouter(tags=["openai"])


class ModelObject(BaseModel):
    """A bot, or what turns texts into vectors."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All that the caller may use."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


@router.get("/v1/models")
async def all_models(request: Request, caller: KeyHolder) -> ModelList:
    """The bots of the tenant."""
    service = service_of(request)
    found = [_model(service, bot_id) for bot_id in service.bots.project.bots(caller.tenant)]
    if service.bots.project.spec.embeddings is not None:
        found.append(ModelObject(id=EMBEDDINGS, created=0, owned_by="sartor"))
    return ModelList(data=found)


@router.get("/v1/models/{model:path}")
async def one_model(request: Request, model: str, caller: KeyHolder) -> ModelObject:
    """One bot of the tenant."""
    service = service_of(request)
    if model == EMBEDDINGS and service.bots.project.spec.embeddings is not None:
        return ModelObject(id=EMBEDDINGS, created=0, owned_by="sartor")
    bot_id = caller.bot_id(model)
    if not service.bots.project.has_bot(bot_id):
        raise Failure(404, f"there is no bot {model[:100]!r}", code="model_not_found", param="model")
    return _model(service, bot_id)


def _model(service: Service, bot_id: str) -> ModelObject:
    """`created` is when the bot's file was last written."""
    tenant = bot_id.partition("/")[0]
    file = Path(service.bots.project.directory, "tenants", bot_id, "bot.yaml")
    try:
        created = int(file.stat().st_mtime)
    except OSError:
        created = 0
    return ModelObject(id=bot_id, created=created, owned_by=tenant)
