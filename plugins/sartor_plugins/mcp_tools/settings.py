"""What may stand under the name `mcp-tools` in `bot.yaml`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings

from sartor_plugins.reach.settings import ToolName, ToolSettings

__all__ = ["McpSettings", "McpToolSettings", "ServerSettings"]


class McpToolSettings(ToolSettings):
    """One tool of a server."""

    sha256: str = Field(default="", pattern="^([0-9a-fA-F]{64})?$")
    """What the tool said of itself when you allowed it: the hash of its name, description and schema. Without it, or
    where it differs, the tool is not offered; the log and `sartor doctor` tell the hash."""
    name: ToolName = ""
    """What the model calls it; by default as the server does."""
    describe: str = ""
    """What it is for, in place of the server's own words."""
    acts: bool | None = None
    """Whether it changes something. By default yes; with `trust_hints`, what the server says."""
    timeout: float = Field(default=30, gt=0, le=600)
    """Seconds that one call may take."""


class ServerSettings(PluginSettings):
    """One MCP server: a program to start (`command`), or an address (`url`)."""

    command: str = ""
    """The program that speaks MCP over stdio. Whoever may write this line runs programs on the machine."""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    """Its environment, beside PATH, HOME and the like. A value may be a reference: ``env:CRM_TOKEN``."""
    cwd: str = ""
    """Where it is started; a relative path counts from the bot's folder, which is the default."""
    url: str = Field(default="", pattern=r"^(https?://[^\s/]+.*)?$")
    """Where the server answers over streamable HTTP."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request. A value, or its last word, may be a reference: ``Bearer env:CRM_TOKEN``."""
    user_headers: dict[str, str] = Field(default_factory=dict)
    """Headers of calls for a user, in place of those of the same name: ``Bearer turn:attributes.crm_token``. Each user
    has a connection of their own."""
    tools: dict[str, McpToolSettings] = Field(min_length=1)
    """The tools that the bot may use, by the server's names. There are no others."""
    trust_hints: bool = False
    """Whether to believe a server that says a tool of it only reads."""
    start_seconds: float = Field(default=5, gt=0, le=60)
    """Seconds that connecting may take. The first time, building the bot waits so long."""
    recheck: float = Field(default=60, ge=0)
    """Seconds after which the server is asked again what its tools say of themselves, before a call."""
    connections: int = Field(default=20, ge=1, le=1000)
    """Connections that are kept; those of users who ask nothing just now are closed beyond that."""
    failures: int = Field(default=5, ge=1)
    """After so many failures in a row a tool is not tried again for `rest` seconds."""
    rest: float = Field(default=30, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a `command` or a `url`")
        if self.url and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd belong to a `command`")
        if self.command and (self.headers or self.user_headers):
            raise ValueError("headers and user_headers belong to a `url`")
        return self


class McpSettings(PluginSettings):
    """Settings of the plugin `mcp-tools`."""

    servers: dict[str, ServerSettings] = Field(min_length=1)
