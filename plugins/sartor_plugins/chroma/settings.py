"""The settings of the plugin chroma."""

from __future__ import annotations

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings

__all__ = ["ChromaSettings"]


class ChromaSettings(PluginSettings):
    """What stands under `chroma` in `sartor.yaml`."""

    keywords: float = Field(default=0.5, ge=0)
    """The weight of the keyword search."""
    vectors: float = Field(default=0.5, ge=0)
    """The weight of the vector search. Without embeddings, keywords alone decide."""
    fair_cosine: float = Field(default=0.18, ge=-1, le=1)
    """The cosine at which a chunk fits as likely as not. It depends on the embeddings: 0.18 is that of `ngrams`,
    about 0.4 that of small sentence models. It moves the scores, not the order."""
    open_tenants: int = Field(default=32, ge=1)
    """How many tenants' folders are kept open. The one that was used least recently is closed for the next."""

    memory: int = Field(default=64, ge=0)
    """Megabytes of memory for vectors, of all tenants together: those of bots with up to 300 chunks are held there
    and searched exactly, which is faster. 0: none are."""

    @model_validator(mode="after")
    def _something_counts(self) -> ChromaSettings:
        if self.keywords + self.vectors <= 0:
            raise ValueError("keywords and vectors cannot both be 0")
        return self
