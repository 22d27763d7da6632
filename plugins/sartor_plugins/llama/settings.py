"""What may stand under the names `llama` and `llama-embeddings` in `sartor.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from sartor.plugin import PluginSettings

from sartor_plugins.builtin import MODEL

__all__ = ["ChoiceMethod", "EmbeddingsSettings", "FileSettings", "LlamaSettings", "model_path"]

ChoiceMethod = Literal["trie", "score", "score-sum"]
"""How one of given texts is chosen: see `sartor_plugins.llama.choice`."""


class FileSettings(PluginSettings):
    """A GGUF file and the machine that it runs on."""

    path: str
    """``builtin``, or the file's path, counted from the folder of the YAML file."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    """The file's SHA-256; when given, any other file is refused. Of a split model, that of all parts in order."""
    probe: bool = True
    """Load a file that has no `sha256` in a child process first, once for each file and version of llama.cpp, so that
    a malformed one cannot end this process."""
    context: int | None = Field(default=None, ge=64)
    """Tokens that the prompt and the reply may have together; default: 4096, or the model's maximum if less."""
    threads: int | None = Field(default=None, ge=1)
    """Threads for computing; default: the physical cores that this process may use, and 1
    for models below 64 MB."""
    gpu_layers: int = Field(default=-1, ge=-1)
    """Layers kept on the GPU, where llama.cpp was built for one; -1: all."""


class LlamaSettings(FileSettings):
    """A chat model."""

    path: str = "builtin"
    template: str | None = None
    """A Jinja file used in place of the GGUF's own chat template."""
    temperature: float = Field(default=0.3, ge=0, le=5)
    """0: always the likeliest token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    min_p: float = Field(default=0.05, ge=0, le=1)
    repeat_penalty: float = Field(default=1.0, gt=0, le=3)
    """Above 1, tokens among the last 64 become less likely."""
    seed: int = Field(default=0, ge=0)
    """The same seed, prompt and build give the same reply."""
    max_tokens: int = Field(default=512, ge=1)
    """Tokens of a reply, where the caller names no number."""
    choice: ChoiceMethod = "trie"
    """How a reply is chosen among given sentences."""


class EmbeddingsSettings(FileSettings):
    """An embedding model."""

    query_prefix: str = ""
    """Put before each question, such as ``query: `` for E5 models."""
    document_prefix: str = ""
    """Put before each passage."""


def model_path(path: str, directory: Path) -> Path:
    """The file that a `path` setting means; `directory` is the folder of the YAML file that has it."""
    return MODEL if path == "builtin" else (directory / path)
