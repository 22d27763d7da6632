"""A loaded model file, with what the library tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import NewType

from sartor.errors import ModelError

from sartor_plugins.llama import machine
from sartor_plugins.llama.native import heard, lib, listen
from sartor_plugins.llama.settings import FileSettings

__all__ = ["Adapter", "Weights"]

_Pointer = NewType("_Pointer", int)

_DEFAULT_CONTEXT = 4096
_SMALL = 64 << 20
_BYTES_OF_A_NUMBER = 2  # keys and values lie in the memory as 16-bit floats


class Adapter:
    """A loaded LoRA adapter. It lives as long as its model."""

    def __init__(self, pointer: _Pointer, scale: float) -> None:
        self.pointer = pointer
        self.scale = scale


class Weights:
    """A loaded model file. To be used by its owner's thread only."""

    def __init__(self, path: Path, settings: FileSettings) -> None:
        """Raises `ModelError` when the library cannot load the file."""
        listen()
        self.path = path
        self.on_gpu: bool = lib.llama_supports_gpu_offload() and settings.gpu_layers != 0
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers if self.on_gpu else 0
        self.model: _Pointer | None = lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise ModelError(
                f"llama.cpp cannot load the model: {heard() or 'it does not say why'}",
                where=str(path),
                remedy="Download or convert it again; a newer llama-cpp-python knows more kinds of models.",
            )

    def close(self) -> None:
        """Free the memory, adapters included; the object is of no use afterwards."""
        if self.model:
            lib.llama_model_free(self.model)
            self.model = None

    def adapter(self, path: Path, scale: float) -> Adapter:
        """Load a LoRA adapter made for this model. Raises `ModelError`."""
        listen()
        pointer = lib.llama_adapter_lora_init(self.model, str(path).encode())
        if not pointer:
            raise ModelError(
                f"llama.cpp cannot load the adapter: {heard() or 'it does not say why'}",
                where=str(path),
                remedy="An adapter must be a GGUF file made for the very model that it is used with.",
            )
        return Adapter(pointer, scale)

    def threads(self, asked: int | None) -> int:
        """Threads for computing. Of a small model each operation is so short that threads which wait for one
        another lose more than they gain; on a busy machine, a thousandfold. So it gets one."""
        small = lib.llama_model_size(self.model) < _SMALL
        return asked or (1 if small else machine.threads())

    @property
    def template(self) -> str:
        """The chat template in the file; empty where it has none."""
        return (lib.llama_model_chat_template(self.model, None) or b"").decode("utf-8", "replace")

    @property
    def bytes_per_token(self) -> int:
        """About how much memory the keys and values of one token take."""
        heads = lib.llama_model_n_head(self.model)
        per_head = lib.llama_model_n_embd(self.model) // heads if heads else 0
        numbers = 2 * lib.llama_model_n_layer(self.model) * lib.llama_model_n_head_kv(self.model) * per_head
        return max(1, _BYTES_OF_A_NUMBER * int(numbers))

    @property
    def can_branch(self) -> bool:
        """Whether a part of what was computed can be kept and the rest forgotten. Recurrent models cannot."""
        return not (lib.llama_model_is_recurrent(self.model) or lib.llama_model_is_hybrid(self.model))

    @property
    def window(self) -> int:
        """How many tokens a layer with a sliding window looks back; 0 where there is none. Of what lies further back
        such layers keep nothing when a sequence is copied."""
        return int(lib.llama_model_n_swa(self.model))

    def context_size(self, asked: int | None) -> int:
        """Tokens for one conversation. Raises `ModelError` when `asked` is more than the model was trained for."""
        most = lib.llama_model_n_ctx_train(self.model) or _DEFAULT_CONTEXT
        if asked is not None and asked > most:
            raise ModelError(
                f"the model reads at most {most} tokens, `context` asks for {asked}",
                where=str(self.path),
                remedy=f"Set `context` to {most} or less.",
            )
        return asked or min(_DEFAULT_CONTEXT, most)
