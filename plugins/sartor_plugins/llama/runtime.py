"""The model as a whole, as the engine's thread holds it: weights, memory, vocabulary, template, adapters."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.errors import ModelError

from sartor_plugins.llama import gguf, machine
from sartor_plugins.llama.engine.attic import Attic
from sartor_plugins.llama.engine.batches import Batcher
from sartor_plugins.llama.engine.context import Context, Sizes
from sartor_plugins.llama.engine.jobs import Plan
from sartor_plugins.llama.engine.memory import SPARE, Memory
from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.engine.weights import Adapter, Weights
from sartor_plugins.llama.probe import needs_probe, probe, probe_adapter
from sartor_plugins.llama.reply import Request, Said, Voice
from sartor_plugins.llama.settings import LlamaSettings, model_path
from sartor_plugins.llama.template import CHATML, ChatTemplate
from sartor_plugins.llama.toolcalls import format_of
from sartor_plugins.llama.tryout import try_template
from sartor_plugins.llama.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sartor_plugins.llama.engine.cellar import Cellar

__all__ = ["Runtime", "load"]

_SEQUENCES = 255
"""What llama.cpp allows, but for one."""
_BATCH = 512
_CONVERSATIONS = 8
"""Full ones for which there is room, where there is memory enough."""
_MULTIPLE = 256
"""The library makes rooms of a multiple of so many tokens."""
_SHARE_OF_MEMORY = 0.25
_MOST_SPILLED = 4096
_IDLE_CELLS = 64
_SLACK = 64
"""Tokens beside one conversation's, such as those of a draft."""


@dataclass(slots=True)
class Runtime:
    """A loaded model that can speak. It is the engine's machine."""

    settings: LlamaSettings
    directory: Path
    weights: Weights
    context: Context
    memory: Memory
    batcher: Batcher
    voice: Voice
    _adapters: dict[str, Adapter] = field(default_factory=dict)

    def plan(self, request: Request) -> Plan:
        return self.voice.plan(request)

    def reply(self, request: Request, track: Track) -> Generator[Said | Need, None, None]:
        return self.voice.reply(request, track)

    def adapter(self, name: str) -> Adapter | None:
        """The adapter of that name in the settings, loaded with its first use. Raises `ModelError`."""
        if not name:
            return None
        if name not in self._adapters:
            told = self.settings.adapters[name]
            path = self.directory / told.path
            gguf.check(path, told.sha256)
            probe_adapter(path, told, self.weights.path, self.settings)
            self._adapters[name] = self.weights.adapter(path, told.scale)
        return self._adapters[name]

    def close(self) -> None:
        with contextlib.ExitStack() as rest:
            rest.callback(self.weights.close)
            rest.callback(self.context.close)
            self.memory.close()


def load(settings: LlamaSettings, directory: Path) -> Runtime:
    """Open the model that `settings` name. Raises `ModelError`."""
    path = model_path(settings.path, directory)
    gguf.check(path, settings.sha256)
    probe(path, settings)
    with contextlib.ExitStack() as made:
        weights = Weights(path, settings)
        made.callback(weights.close)
        size = weights.context_size(settings.context)
        vocabulary = Vocabulary(weights.model)
        source = _template(settings, directory, weights, vocabulary)
        if settings.template is None and needs_probe(path, settings):
            try_template(source, where=str(path))
        form = format_of(source)
        template = ChatTemplate(
            source, start=vocabulary.start, end=vocabulary.end, spell=form.spell, example=form.example
        )
        vocabulary.reserve(source, *form.marks)
        context = Context(weights, _sizes(settings, weights, size))
        made.callback(context.close)
        memory = _memory(settings, directory, weights, context)
        made.pop_all()
    return Runtime(
        settings,
        directory,
        weights,
        context,
        memory,
        Batcher(context.sizes.batch, context.most_rows, settings.batch_seconds, rooms=context.sizes.apart),
        Voice(vocabulary, template, form, settings.choice, size, thinks=settings.thinking),
    )


def _memory(settings: LlamaSettings, directory: Path, weights: Weights, context: Context) -> Memory:
    """What is kept of finished replies lies in ordinary memory, but for a little: see `Memory`."""
    spill = settings.spill
    if spill is None:
        spill = min(_MOST_SPILLED, int(machine.available_bytes() * _SHARE_OF_MEMORY) >> 20)
    idle = settings.idle_cells
    if idle is None:
        idle = context.sizes.cells if weights.on_gpu else _IDLE_CELLS
    attic = Attic(spill << 20, _cellar(settings, directory) if spill else None)
    return Memory(context, attic, keeps=weights.can_branch, idle=idle, whole=weights.window > 0)


def _cellar(settings: LlamaSettings, directory: Path) -> Cellar | None:
    """Where there is none, what it is made of need not be loaded."""
    if not settings.spill_disk:
        return None
    from sartor_plugins.llama.engine.cellar import Cellar

    return Cellar(directory / settings.spill_folder, settings.spill_disk << 20)


def _sizes(settings: LlamaSettings, weights: Weights, size: int) -> Sizes:
    """Room for several conversations, within a quarter of the memory that the machine has left."""
    within = int(machine.available_bytes() * _SHARE_OF_MEMORY / weights.bytes_per_token)
    threads = weights.threads(settings.threads)
    room = -(-(size + _SLACK) // _MULTIPLE) * _MULTIPLE
    if rooms := _rooms(settings, weights, within // room - SPARE):
        sequences = rooms + SPARE
        return Sizes(cells=sequences * room, sequences=sequences, batch=_BATCH, threads=threads, apart=True)
    cells = settings.cells or min(_CONVERSATIONS * size, within)
    return Sizes(
        cells=max(cells, size + _SLACK),
        sequences=_SEQUENCES if weights.can_branch else settings.parallel,
        batch=_BATCH,
        threads=threads,
    )


def _rooms(settings: LlamaSettings, weights: Weights, within: int) -> int:
    """Conversations with a room of their own, where there is memory for `within`; 0: all share."""
    if not weights.can_branch or weights.window:  # what two conversations have in common could not be copied
        return 0
    if settings.rooms is not None:
        return settings.rooms
    shared = weights.on_gpu or settings.cells is not None or settings.idle_cells is not None
    return settings.fewest_rooms if within >= settings.fewest_rooms and not shared else 0


def _template(settings: LlamaSettings, directory: Path, weights: Weights, vocabulary: Vocabulary) -> str:
    if settings.template is not None:
        path = directory / settings.template
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"the chat template cannot be read: {error}", where=str(path)) from error
    if source := weights.template:
        return source
    if {"<|im_start|>", "<|im_end|>"} <= vocabulary.special.keys():
        return CHATML
    raise ModelError(
        "the model has no chat template",
        where=str(weights.path),
        remedy="Use an instruction-tuned model, or set `template` to a Jinja file.",
    )
