"""A GGUF model in this process, through llama.cpp: for chat (`llama`) and for vectors (`llama-embeddings`)."""

from __future__ import annotations

from typing import cast

from sartor.plugin import Plugin, hookimpl
from sartor_plugins.llama.model import LlamaChatModel
from sartor_plugins.llama.settings import LlamaSettings

__all__ = ["LlamaPlugin"]


class LlamaPlugin(Plugin):
    """A chat model: the built-in one, or any GGUF file."""

    Settings = LlamaSettings

    @hookimpl
    def sartor_model(self) -> LlamaChatModel:
        return LlamaChatModel(cast("LlamaSettings", self.settings), self.directory)
