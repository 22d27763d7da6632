"""What may stand under the name `openai` in `sartor.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from sartor.plugin import PluginSettings

__all__ = ["OpenAISettings"]


class OpenAISettings(PluginSettings):
    """A server that speaks OpenAI's chat completions: OpenAI, vLLM, llama-server and others."""

    url: str = Field(pattern=r"^https?://[^\s/]+")
    """Its address up to and with the version, such as ``http://127.0.0.1:8000/v1``."""
    model: str
    """The model's name there."""
    api_key: str | None = Field(default=None, pattern="^(env|file):.+")
    """Where the key is, as ``env:NAME`` or ``file:PATH``; looked up with each call."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers; a value may be a reference like `api_key`."""
    timeout: float = Field(default=120, gt=0)
    """Seconds that the server may be silent."""
    connect_timeout: float = Field(default=10, gt=0)
    """Seconds until a connection must stand."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a request that could not begin is tried again: no connection, 429, 502, 503."""
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int = Field(default=512, ge=1)
    """Tokens of a reply, where the caller names no number."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls that number; OpenAI's newer models want the second."""
    grammar: bool = False
    """Whether the server takes a GBNF grammar in the field `grammar`, as llama-server does."""
    cache_salt: bool = False
    """Whether to send a `cache_salt` for each tenant, as vLLM takes it: cached prompts are not shared then."""
