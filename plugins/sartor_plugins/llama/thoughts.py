"""What a model thinks before it replies: it is not part of the reply, and nobody is told.

Models mark it in a few ways, which their chat templates show. Some templates begin a thought for the model; where it
is not to think, that thought is ended at once, as the templates that can be told not to do themselves. What a model
thinks all the same, or is allowed to, is left out of the reply while it streams.

gpt-oss speaks in channels, each message with a header: https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sartor_plugins.llama.toolcalls import held_back
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["ThoughtMarks", "Thoughts", "marks_of"]

_TAGS = (
    ("<think>", "</think>"),  # DeepSeek, GLM, MiniMax, Nemotron, Qwen, SmolLM
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),  # MiniMax M3
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Cohere
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel
)
_ROLE, _CHANNEL, _MESSAGE, _END = "<|start|>assistant", "<|channel|>", "<|message|>", "<|end|>"
_FINAL = f"{_CHANNEL}final{_MESSAGE}"
_TO_TOOL = "to=functions."
_LONGEST_HEADER = 200
"""Characters."""
_LONGEST_SPACE = 64
"""Characters of whitespace that are held back before a reply."""


@dataclass(frozen=True, slots=True)
class ThoughtMarks:
    """How a model marks what it thinks."""

    pairs: Sequence[tuple[str, str]] = ()
    """What begins a thought, and what ends it."""
    channels: bool = False
    """Whether it speaks in channels, as gpt-oss does."""

    def begun(self, prompt: str) -> tuple[str, str] | None:
        """The thought that is open at the end of `prompt`."""
        return next((pair for pair in self.pairs if prompt.rstrip().endswith(pair[0])), None)

    @property
    def lead(self) -> str:
        """What a model writes before it speaks, where it may call a tool in its place; else empty."""
        return _FINAL if self.channels else ""

    def ending(self, prompt: str, *, calls: bool) -> str:
        """What to add to `prompt`, whose end is the template's own, so that the model replies without thinking first.
        `calls`: whether it may call a tool, for which some need another beginning."""
        if (pair := self.begun(prompt)) is not None:
            return f"\n{pair[1]}\n\n" if prompt.endswith("\n") else pair[1]
        return self.lead if prompt.endswith(_ROLE) and not calls else ""

    def tokens(self, vocabulary: Vocabulary) -> set[int]:
        """The tokens that are shown as text for `Thoughts`, though they are no text."""
        texts = [text for pair in self.pairs for text in pair]
        texts += [_ROLE, _CHANNEL, _MESSAGE, _END] if self.channels else []
        spelled = vocabulary.special.items()
        return {token for spelling, token in spelled if spelling.strip() and any(spelling in text for text in texts)}

    def last(self, vocabulary: Vocabulary) -> set[int]:
        """Tokens behind which nothing more is said, though the model could go on."""
        end = vocabulary.special.get(_END)
        return {end} if self.channels and end is not None else set()


def marks_of(template: str) -> ThoughtMarks:
    """The marks that a chat template shows."""
    pairs = tuple(pair for pair in _TAGS if pair[0] in template or pair[1] in template)
    return ThoughtMarks(pairs, channels=_FINAL in template)


class Thoughts:
    """Takes a reply piece by piece and gives back what is said: what is thought at its beginning is left out."""

    def __init__(self, marks: ThoughtMarks, prompt: str = "", *, calls: bool = False) -> None:
        """`prompt`: the end of it, which the template made; `calls`: whether the reply may call tools."""
        begun = marks.begun(prompt)
        self._marks = marks
        self._calls = calls
        self._held = ""
        self._thought = begun is not None
        self._hidden = begun[1] if begun else ""
        self._said = ""
        """What ends the thought, or the message that is said; empty: neither has begun."""
        self.over = not (marks.pairs or marks.channels)
        """Whether all that follows is said as it comes."""
        self.final = False
        """Whether what follows is for the user alone, and no call."""
        if marks.channels and prompt.endswith(_FINAL):
            self._begin_message(_FINAL)

    def feed(self, text: str) -> str:
        """What is certain to be said after `text`."""
        if self.over:
            return text
        self._held += text
        out = ""
        while self._held and not self.over:
            before = self._held
            out += self._go_on()
            if self._held == before:
                break
        return out

    def finish(self) -> str:
        """What was held back, and is said after all; the thoughts are over."""
        held, self._held, self.over = self._held, "", True
        if self._hidden:
            return ""
        return held.lstrip() if self._thought and not self._said else held

    def _go_on(self) -> str:
        """Go on by one mark, or as far as is certain; returns what is said of it."""
        if self._hidden:
            _, end, after = self._held.partition(self._hidden)
            self._held = after if end else self._held[-len(self._hidden) + 1 :]
            self._hidden = "" if end else self._hidden
            return ""
        if self._said:
            return self._say()
        bare = self._held.lstrip()
        if not bare:
            return self.finish() if len(self._held) > _LONGEST_SPACE and not self._thought else ""
        for begin, end in self._beginnings():
            if bare.startswith(begin):
                self._held, self._hidden, self._thought = bare[len(begin) :], end, True
                return ""
        if self._marks.channels and bare.startswith(_CHANNEL):
            return self._read_header(bare)
        waits = any(begin.startswith(bare) for begin, _ in self._beginnings())
        return "" if waits or (self._marks.channels and _CHANNEL.startswith(bare)) else self.finish()

    def _say(self) -> str:
        """What is certain of a message."""
        said, end, after = self._held.partition(self._said)
        if end:
            self._held, self._said, self.final = after, "", False
            return said
        keep = held_back(self._held, [self._said])
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said

    def _read_header(self, bare: str) -> str:
        header, mark, after = bare.partition(_MESSAGE)
        if self._calls and _TO_TOOL in header:
            return self.finish()
        if mark:
            self._held = after
            self._begin_message(header + mark)
            return ""
        return self.finish() if len(bare) > _LONGEST_HEADER else ""

    def _begin_message(self, header: str) -> None:
        """Behind a header: what is for the user is said. A commentary without a recipient is."""
        name = header.removeprefix(_CHANNEL).removesuffix(_MESSAGE)
        self.final = name.startswith("final")
        self._thought = True
        if self.final or (name.startswith("commentary") and "to=" not in name):
            self._said = _END
        else:
            self._hidden = _END

    def _beginnings(self) -> list[tuple[str, str]]:
        """What may stand before the reply, and what ends it; nothing where it is over at once: an end that nothing
        began is no part of the reply either."""
        alone = [_ROLE, _END] if self._marks.channels else []
        return [*self._marks.pairs, *((text, "") for text in (*(end for _, end in self._marks.pairs), *alone))]
