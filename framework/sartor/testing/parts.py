"""Plugins for projects in tests: a model that plays a script, and an index in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field, JsonValue

from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.retrieval import Index
from sartor.testing.script import line_of
from sartor.values import BotInfo, Chunk, Hit

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from sartor.testing.scripted import Line, ScriptedModel

__all__ = ["MemoryIndex", "MemoryIndexPlugin", "ScriptedPlugin", "ScriptedSettings"]


class ScriptedSettings(PluginSettings):
    """A script, as JSON."""

    script: list[JsonValue] = Field(default=[])
    """Lines: a text, ``{"call": NAME, "arguments": {…}}``, a list of such calls, ``{"say": …}``, ``{"fail": …}``."""
    choices: bool = False
    """Whether it takes choices, for quotation."""
    delay: float = 0.0
    """Seconds before each piece."""


class ScriptedPlugin(Plugin):
    """A model that plays the script in its settings."""

    Settings = ScriptedSettings
    made: ClassVar[dict[Path, list[ScriptedModel]]] = {}
    """The models of each project that a test watches."""

    @hookimpl
    def sartor_model(self) -> BaseChatModel:
        from sartor.testing.scripted import ScriptedModel

        told = cast("ScriptedSettings", self.settings)
        script: list[Line] = [line_of(line) for line in told.script]
        model = ScriptedModel(script=script, supports_choices=told.choices, delay=told.delay)
        if self.directory in self.made:
            self.made[self.directory].append(model)
        return model


class MemoryIndexPlugin(Plugin):
    """An index in memory that counts shared words: quick, and good enough for tests of a bot."""

    @hookimpl
    def sartor_index(self, bot: BotInfo) -> Index:
        return MemoryIndex()


class MemoryIndex:
    """Finds chunks by the words that they share with the question."""

    def __init__(self) -> None:
        self._chunks: dict[str, Chunk] = {}

    async def add(self, chunks: Sequence[Chunk]) -> None:
        self._chunks.update({chunk.id: chunk for chunk in chunks})

    async def remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self._chunks.pop(id_, None)

    async def search(self, query: str, limit: int, audience: str = "", *, before: str = "") -> Sequence[Hit]:
        asked, context = _words(query), _words(before)
        hits = []
        for chunk in self._chunks.values():
            words = _words(f"{chunk.title} {chunk.text}")
            score = (len(asked & words) + 0.5 * len(context & words)) / (len(asked) + 0.5 * len(context) or 1)
            if score and chunk.audience in ("", audience):
                hits.append(Hit(chunk.id, score, {"words": score}))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:limit]

    async def ids(self) -> frozenset[str]:
        return frozenset(self._chunks)

    async def clear(self) -> None:
        self._chunks.clear()

    async def close(self) -> None:
        """It has nothing to release."""


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
