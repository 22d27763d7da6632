"""`/v1/embeddings`: texts as vectors, with the model that the project's search uses, for OpenAI's clients."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from sartor.errors import ModelError, SartorError
from sartor.server.caller import KeyHolder
from sartor.server.failures import Failure
from sartor.server.service import Service, service_of
from sartor.server.sse import unless_gone

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["EMBEDDINGS", "router"]

router = APIRouter(tags=["openai"])

EMBEDDINGS = "embeddings"
"""The name of the project's embeddings in this API."""

_Input = Annotated[str, Field(min_length=1, max_length=32_768)]


class EmbeddingsRequest(BaseModel):
    """Texts to be turned into vectors."""

    model: str = Field(min_length=1, max_length=200)
    """``embeddings``, or the name of the plugin in `sartor.yaml`."""
    input: _Input | Annotated[list[_Input], Field(min_length=1, max_length=2048)]
    """A text or several. Token ids are not taken: they mean nothing without their model."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    """The width of the model's vectors; another one cannot be had."""
    user: str | None = None


class EmbeddingObject(BaseModel):
    """The vector of a text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or as base64 their 32-bit floats, little-endian."""


class EmbeddingsUsage(BaseModel):
    """A quarter of the texts' bytes: the model's own tokens are not known."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors of all texts, in their order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingsUsage


@router.post("/v1/embeddings")
async def create(request: Request, asked: EmbeddingsRequest, caller: KeyHolder) -> EmbeddingList:
    """Turn texts into vectors."""
    service = service_of(request)
    embeddings = _embeddings(service, asked.model)
    texts = [text.replace("\0", "") for text in ([asked.input] if isinstance(asked.input, str) else asked.input)]
    with service.live.place(caller.tenant):
        vectors = await unless_gone(request, _vectors(embeddings, texts))
    if asked.dimensions is not None and any(len(vector) != asked.dimensions for vector in vectors):
        what = f"the vectors have {len(vectors[0])} dimensions, and no other number can be had"
        raise Failure(400, what, code="invalid_value", param="dimensions")
    tokens = sum(-(-len(text.encode()) // 4) for text in texts)
    return EmbeddingList(
        data=[
            EmbeddingObject(index=at, embedding=_packed(vector) if asked.encoding_format == "base64" else list(vector))
            for at, vector in enumerate(vectors)
        ],
        model=asked.model,
        usage=EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens),
    )


def _embeddings(service: Service, model: str) -> Embeddings:
    use = service.bots.project.spec.embeddings
    embeddings = service.bots.embeddings()
    if use is None or embeddings is None or model not in (EMBEDDINGS, use.plugin):
        what = (
            f"there are no embeddings {model[:100]!r}; the name is {EMBEDDINGS!r}"
            if use is not None
            else "this service has no embeddings: its search is by keywords only"
        )
        raise Failure(404, what, code="model_not_found", param="model")
    return embeddings


async def _vectors(embeddings: Embeddings, texts: list[str]) -> Sequence[Sequence[float]]:
    try:
        return await embeddings.aembed_documents(texts)
    except SartorError:
        raise
    except Exception as error:
        raise ModelError(f"the embeddings failed: {type(error).__name__}: {error}") from error


def _packed(vector: Sequence[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
