"""The embedded search index: vectors in Chroma and keywords in SQLite, in one folder for each tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from sartor.hookspecs import hookimpl
from sartor.plugin import Plugin

from sartor_plugins.chroma.folders import TenantFolders
from sartor_plugins.chroma.index import ChromaIndex
from sartor_plugins.chroma.settings import ChromaSettings

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from sartor.plugin import PluginSettings
    from sartor.retrieval import Index
    from sartor.values import BotInfo

__all__ = ["ChromaPlugin", "ChromaSettings"]


class ChromaPlugin(Plugin):
    """Gives every bot an index in its tenant's own folder; all of them share one bounded set of open folders."""

    Settings = ChromaSettings
    hook_versions = "1"

    def __init__(self, settings: PluginSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        given = cast("ChromaSettings", settings)
        self._folders = TenantFolders(given.open_tenants, given.memory * 1_000_000)

    @hookimpl
    def sartor_index(self, bot: BotInfo, embeddings: Embeddings | None) -> Index:
        return ChromaIndex(bot, embeddings, self._folders, cast("ChromaSettings", self.settings))
