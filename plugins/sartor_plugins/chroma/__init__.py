"""The embedded search index: vectors in Chroma and keywords in SQLite, in one folder for each tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import Field, model_validator

from sartor.hookspecs import hookimpl
from sartor.plugin import Plugin, PluginSettings
from sartor_plugins.chroma.folders import TenantFolders
from sartor_plugins.chroma.index import ChromaIndex

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from sartor.retrieval import Index
    from sartor.values import BotInfo

__all__ = ["ChromaPlugin", "ChromaSettings"]


class ChromaSettings(PluginSettings):
    """What stands under `chroma` in `sartor.yaml`."""

    keywords: float = Field(default=0.5, ge=0)
    """The weight of the keyword search."""
    vectors: float = Field(default=0.5, ge=0)
    """The weight of the vector search. Without embeddings, keywords alone decide."""
    open_tenants: int = Field(default=32, ge=1)
    """How many tenants' folders are kept open. The one that was used least recently is closed for the next."""

    @model_validator(mode="after")
    def _something_counts(self) -> ChromaSettings:
        if self.keywords + self.vectors <= 0:
            raise ValueError("keywords and vectors cannot both be 0")
        return self


class ChromaPlugin(Plugin):
    """Gives every bot an index in its tenant's own folder; all of them share one bounded set of open folders."""

    Settings = ChromaSettings

    def __init__(self, settings: PluginSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._chroma = cast("ChromaSettings", settings)
        self._folders = TenantFolders(self._chroma.open_tenants)

    @hookimpl
    def sartor_index(self, bot: BotInfo, embeddings: Embeddings | None) -> Index:
        return ChromaIndex(bot, embeddings, self._folders, keywords=self._chroma.keywords, vectors=self._chroma.vectors)
