"""Any OpenAI-compatible server as the model: OpenAI, vLLM, llama-server."""

from __future__ import annotations

from typing import cast

from sartor.plugin import Plugin, hookimpl

from sartor_plugins.openai_model.model import OpenAIChatModel
from sartor_plugins.openai_model.settings import OpenAISettings

__all__ = ["OpenAIModelPlugin"]


class OpenAIModelPlugin(Plugin):
    """A chat model behind an OpenAI-compatible server."""

    Settings = OpenAISettings
    hook_versions = "1"

    @hookimpl
    def sartor_model(self) -> OpenAIChatModel:
        return OpenAIChatModel(cast("OpenAISettings", self.settings), self.directory)
