"""What a model thinks before it replies: it is not part of the reply, and nobody is told.

Models mark it in a few ways, which their chat templates show. Some templates begin a thought for the model; where it
is not to think, that thought is ended at once, as the templates that can be told not to do themselves. What a model
thinks all the same, or is allowed to, is left out of the reply while it streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["ThoughtMarks", "Thoughts", "marks_of"]

_TAGS = (
    ("<think>", "</think>"),  # DeepSeek, GLM, MiniMax, Nemotron, Qwen, SmolLM
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),  # MiniMax M3
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Cohere
    ("<|channel>thought", "<channel|>"),  # Gemma 4
)
_FINAL = "<|channel|>final<|message|>"
"""Harmony, the format of gpt-oss: what follows is said. https://cookbook.openai.com/articles/openai-harmony"""
_ROLE = "<|start|>assistant"
_CHANNELS = (("<|channel|>analysis<|message|>", "<|end|>"), ("<|channel|>commentary<|message|>", "<|end|>"))


@dataclass(frozen=True, slots=True)
class ThoughtMarks:
    """How a model marks what it thinks."""

    pairs: Sequence[tuple[str, str]]
    """What begins a thought, and what ends it."""
    nothing: Sequence[str] = ()
    """What may stand around thoughts, and is no part of the reply either."""

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [*(text for pair in self.pairs for text in pair), *self.nothing]

    def begun(self, prompt: str) -> tuple[str, str] | None:
        """The thought that is open at the end of `prompt`."""
        return next((pair for pair in self.pairs if prompt.rstrip().endswith(pair[0])), None)

    @property
    def lead(self) -> str:
        """What a model writes before it speaks, where it may call a tool in its place; else empty."""
        return _FINAL if _FINAL in self.nothing else ""

    def ending(self, prompt: str, *, calls: bool) -> str:
        """What to add to `prompt`, whose end is the template's own, so that the model replies without thinking first.
        `calls`: whether it may call a tool, for which some need another beginning."""
        if (pair := self.begun(prompt)) is not None:
            return f"\n{pair[1]}\n\n" if prompt.endswith("\n") else pair[1]
        return self.lead if prompt.endswith(_ROLE) and not calls else ""

    def tokens(self, vocabulary: Vocabulary) -> set[int]:
        """The tokens that are shown as text for `Thoughts`, though they are no text."""
        return {
            token
            for spelling, token in vocabulary.special.items()
            if spelling.strip() and any(spelling in text for text in self.texts)
        }


def marks_of(template: str) -> ThoughtMarks:
    """The marks that a chat template shows; the usual tags in any case."""
    pairs = [pair for pair in _TAGS[1:] if pair[0] in template or pair[1] in template]
    if _FINAL not in template:
        return ThoughtMarks((_TAGS[0], *pairs))
    return ThoughtMarks((*_CHANNELS, _TAGS[0], *pairs), (_ROLE, _FINAL))


class Thoughts:
    """Takes a reply piece by piece and gives back what is said: what is thought at its beginning is left out."""

    def __init__(self, marks: ThoughtMarks, begun: tuple[str, str] | None = None) -> None:
        """`begun`: the thought that the prompt has begun."""
        self._marks = marks
        self._end = begun[1] if begun else ""
        self._held = ""
        self._thought = begun is not None
        self.over = False
        """Whether all that follows is said."""

    def feed(self, text: str) -> str:
        """What is certain to be said after `text`."""
        if self.over:
            return text
        self._held += text
        while True:
            if self._end:
                if not self._leave():
                    return ""
            elif (bare := self._held.lstrip()) and not self._enter(bare):
                return "" if _begins(bare, self._beginnings()) else self.finish()
            elif not bare:
                return ""

    def finish(self) -> str:
        """What was held back, and is said after all; the thoughts are over."""
        held, self._held, self.over = self._held, "", True
        if self._end:
            return ""
        return held.lstrip() if self._thought else held

    def _leave(self) -> bool:
        """Go on behind the thought, where its end is there."""
        before, end, after = self._held.partition(self._end)
        self._held = after if end else before[-len(self._end) + 1 :]
        if end:
            self._end = ""
        return bool(end)

    def _enter(self, bare: str) -> bool:
        """Go on behind the mark that `bare` begins with, if it does."""
        for text, end in self._beginnings():
            if bare.startswith(text):
                self._held, self._end, self._thought = bare[len(text) :], end, True
                return True
        return False

    def _beginnings(self) -> Iterable[tuple[str, str]]:
        """What may stand before the reply, and what ends it; nothing where it is over at once: an end that nothing
        began is no part of the reply either."""
        yield from self._marks.pairs
        for text in (*(end for _, end in self._marks.pairs), *self._marks.nothing):
            yield text, ""


def _begins(text: str, beginnings: Iterable[tuple[str, str]]) -> bool:
    return any(beginning.startswith(text) for beginning, _ in beginnings)
