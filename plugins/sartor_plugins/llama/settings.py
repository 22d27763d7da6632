"""What may stand under the names `llama` and `llama-embeddings` in `sartor.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings

from sartor_plugins.builtin import MODEL

__all__ = ["AdapterSettings", "ChoiceMethod", "EmbeddingsSettings", "FileSettings", "LlamaSettings", "model_path"]

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


class AdapterSettings(PluginSettings):
    """A LoRA adapter made for the model, as a GGUF file."""

    path: str
    """Counted from the folder of the YAML file."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    """The file's SHA-256; when given, any other file is refused."""
    scale: float = Field(default=1.0, gt=0, le=10)
    """How strongly it acts."""


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
    thinking: bool = False
    """Whether a model that can may think before it replies freely. Nobody is told what; but it takes time and
    tokens of `max_tokens`."""
    choice: ChoiceMethod = "trie"
    """How a reply is chosen among given sentences."""
    rooms: int | None = Field(default=None, ge=0, le=240)
    """Conversations that have a room of `context` tokens of their own in the model's memory, those that are kept of
    earlier ones counted in; 0: all share `cells`. Default: one and a half times `parallel` on a CPU, where a quarter of
    the memory that the machine has left is enough for them; else, for models with a sliding window, or where `cells`
    or `idle_cells` is set, 0."""
    cells: int | None = Field(default=None, ge=128)
    """Tokens that all conversations which share the model's memory may have together, those that are kept of earlier
    ones counted in; default: eight times `context`, or what fits into a quarter of the machine's memory if less."""
    parallel: int = Field(default=16, ge=1, le=48)
    """Replies that are computed together. A tenant of which nothing runs gets in beyond that."""
    queue: int = Field(default=256, ge=1)
    """Requests that may wait; further ones are refused with the time after which to try again."""
    seconds: float = Field(default=300.0, gt=0)
    """How long a reply may take, the time in the queue counted in."""
    idle_seconds: float = Field(default=30.0, gt=0)
    """How long a caller may leave a streaming reply unread before it is ended."""
    batch_seconds: float = Field(default=0.05, gt=0)
    """How long a batch may take that reads prompts; the others' replies wait meanwhile."""
    speculation: int = Field(default=31, ge=0, le=64)
    """The longest draft of tokens that are likely to follow, since they stand in the prompt; 0: none. Drafts make
    quotes faster and change no reply."""
    idle_cells: int | None = Field(default=None, ge=0)
    """Of `cells`, how many may hold what is kept of finished replies for more than two seconds; default: 64 on a CPU,
    where idle cells slow every token, and all of them on a GPU. Rooms slow nothing, and stay as they are."""
    spill: int | None = Field(default=None, ge=0)
    """MiB of ordinary memory for what is kept of finished replies beyond that: to copy it back is far cheaper than to
    compute it. Default: a quarter of the memory that the machine has left, at most 4096; 0: none."""
    spill_disk: int = Field(default=0, ge=0)
    """MiB of a disk for what `spill` has no room for: encrypted with keys that only this process has, and removed with
    it, so nothing can be read of it later. A reply waits while its beginning is read back, so the disk should be
    fast."""
    spill_folder: str = "state/spill"
    """The folder for that, counted from the folder of the YAML file; several processes may use the same one, each with
    its own files and its own limit."""
    isolation: Literal["thread", "process"] = "thread"
    """``process``: the model runs in a process of its own. A crash of llama.cpp then ends the replies that are being
    computed, and not this process."""
    adapters: dict[str, AdapterSettings] = Field(default_factory=dict)
    """LoRA adapters by the name of the tenant that they are for."""

    @property
    def fewest_rooms(self) -> int:
        """Of which tenants that ask for many replies at once leave some free for the others."""
        return self.parallel + max(1, self.parallel // 2)

    @model_validator(mode="after")
    def _disk_below_memory(self) -> Self:
        if self.spill_disk and self.spill == 0:
            raise ValueError("`spill_disk` is for what `spill` has no room for: set `spill` above 0, or leave it out")
        return self

    @model_validator(mode="after")
    def _enough_rooms(self) -> Self:
        if self.rooms and self.rooms < self.fewest_rooms:
            raise ValueError(
                f"`rooms` is {self.rooms}, and must be at least {self.fewest_rooms} where `parallel` is "
                f"{self.parallel}: set it higher, `parallel` lower, or `rooms` to 0, so that all share one memory"
            )
        return self


class EmbeddingsSettings(FileSettings):
    """An embedding model."""

    query_prefix: str = ""
    """Put before each question, such as ``query: `` for E5 models."""
    document_prefix: str = ""
    """Put before each passage."""


def model_path(path: str, directory: Path) -> Path:
    """The file that a `path` setting means; `directory` is the folder of the YAML file that has it."""
    return MODEL if path == "builtin" else (directory / path)
