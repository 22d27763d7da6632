"""A GGUF model in this process, through llama.cpp: for chat (`llama`) and for vectors (`llama-embeddings`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sartor.modelfile import ModelFile
from sartor.plugin import Plugin, hookimpl

from sartor_plugins.llama.files import model_files
from sartor_plugins.llama.settings import EmbeddingsSettings, LlamaSettings

if TYPE_CHECKING:
    from sartor_plugins.llama.embeddings import LlamaEmbeddings
    from sartor_plugins.llama.model import LlamaChatModel

__all__ = ["LlamaEmbeddingsPlugin", "LlamaPlugin"]


class LlamaPlugin(Plugin):
    """A chat model: the built-in one, or any GGUF file."""

    Settings = LlamaSettings
    hook_versions = "1"

    @hookimpl
    def sartor_model(self) -> LlamaChatModel:
        from sartor_plugins.llama.model import LlamaChatModel  # brings LangChain and llama.cpp: over a second

        return LlamaChatModel(cast("LlamaSettings", self.settings), self.directory)

    @hookimpl
    def sartor_model_files(self) -> list[ModelFile]:
        return model_files(cast("LlamaSettings", self.settings), self.directory)


class LlamaEmbeddingsPlugin(Plugin):
    """Vectors from any GGUF embedding model."""

    Settings = EmbeddingsSettings
    hook_versions = "1"

    @hookimpl
    def sartor_embeddings(self) -> LlamaEmbeddings:
        from sartor_plugins.llama.embeddings import LlamaEmbeddings

        return LlamaEmbeddings(cast("EmbeddingsSettings", self.settings), self.directory)

    @hookimpl
    def sartor_model_files(self) -> list[ModelFile]:
        return model_files(cast("EmbeddingsSettings", self.settings), self.directory)
