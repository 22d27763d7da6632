"""What may stand under the name `openapi` in `bot.yaml`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings

from sartor_plugins.reach.settings import RequestSettings, ToolName, ToolSettings

__all__ = ["OpenAPISettings", "OperationSettings", "PagesSettings", "ServiceSettings"]


class PagesSettings(PluginSettings):
    """How further pages are found. The pages' lists become one."""

    link: bool = False
    """By the header ``Link`` with ``rel="next"``."""
    next: list[str | int] = Field(default_factory=list)
    """The keys that lead to the next page's address, or, with `parameter`, to what tells where it begins."""
    parameter: str = ""
    """The query parameter that takes what stands at `next`."""
    most: int = Field(default=3, ge=1, le=20)
    """Pages that are read."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.link == bool(self.next):
            raise ValueError("say either `link: true` or what `next` is")
        return self


class OperationSettings(ToolSettings):
    """One operation as a tool."""

    name: ToolName = ""
    """The tool's name; by default the operation's id."""
    describe: str = ""
    """What it is for, where the description's own words do not say it well to a model."""
    acts: bool | None = None
    """Whether it changes something. By default all but GET and HEAD do."""
    pick: list[str | int] = Field(default_factory=list)
    """The keys that lead to the part of the answer that the model is shown, such as ``[data, orders]``."""
    columns: list[str] = Field(default_factory=list)
    """The only keys of that part, or of each of its items, that the model is shown; empty: all."""
    pages: PagesSettings | None = None


class ServiceSettings(RequestSettings):
    """One service: its description, and what of it the bot may use."""

    file: str
    """The OpenAPI description (3.0 or 3.1, JSON or YAML), in the bot's folder."""
    url: str = Field(default="", pattern=r"^(https?://[^\s/]+.*)?$")
    """Where the service is; by default what the description says. No argument leads elsewhere."""
    operations: dict[str, OperationSettings] = Field(min_length=1)
    """The operations that become tools, by their ids, or as ``GET /orders/{id}``. There are no others."""


class OpenAPISettings(PluginSettings):
    """Settings of the plugin `openapi`."""

    services: dict[str, ServiceSettings] = Field(min_length=1)
