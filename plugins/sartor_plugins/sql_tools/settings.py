"""What may stand under the name `sql` in `bot.yaml`."""

from __future__ import annotations

from pydantic import Field
from sartor.plugin import PluginSettings

from sartor_plugins.reach.settings import ArgumentSettings, ToolName, ToolSettings

__all__ = ["DatabaseSettings", "QuerySettings", "SqlSettings"]


class QuerySettings(ToolSettings):
    """One query as a tool."""

    describe: str = Field(min_length=1)
    """What the tool is for: the model chooses by it."""
    sql: str = Field(min_length=1)
    """One SELECT. ``:name`` stands for an argument, which is passed beside the query and never written into it."""
    arguments: dict[str, ArgumentSettings] = Field(default_factory=dict)
    """Each ``:name`` of the query: what the model gives, and what `bind` sets."""
    rows: int = Field(default=20, ge=1, le=1000)
    """Rows that the model is shown. With 1, the result is a row and no list."""
    timeout: float = Field(default=5, gt=0, le=600)
    """Seconds after which the query is stopped."""


class DatabaseSettings(PluginSettings):
    """One database and its queries."""

    url: str = Field(pattern=r"^(env:|file:|sqlite:).+")
    """``sqlite:FILE`` for an SQLite file in the bot's folder, or a reference (``env:SHOP_DB``) to ``sqlite:PATH`` or
    ``postgresql://USER:PASSWORD@HOST/NAME``."""
    queries: dict[ToolName, QuerySettings] = Field(min_length=1)


class SqlSettings(PluginSettings):
    """Settings of the plugin `sql`."""

    databases: dict[str, DatabaseSettings] = Field(min_length=1)
