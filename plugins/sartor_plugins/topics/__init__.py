"""Keeps a bot to its business: topics that it does not speak of, and the only ones that it does.

::

    topics:
      blocked: [politics, religion, legal-advice]
      message: {en: I only answer questions about our shop.}

    topics:
      blocked:
        medical-advice: {message: Please ask your vet.}
        competitors: [Rivalbikes, Cycle King]
      allowed: [bicycles, delivery, returns and refunds, warranty, my order]
      documents: 0.2

What it can do: it finds words and phrases, in any upper or lower case, with or without accents, singular or
plural, and it finds the words of `allowed` even when they are inflected or misspelt. What it cannot: understand. Who
speaks of a topic in other words gets through `blocked`; who asks about the business in words that no description
has is refused by `allowed`. It sees one message at a time, so a follow-up ("and how long does that take?") is
judged by itself: a message with fewer than two words of content is let through, a longer one may be refused. With
`documents` a question counts as the business's own when a passage fits it or a tool was used; the model has begun
to answer by then, but nothing of it is shown.

A blocked word ends a turn even in a harmless question: of 250 harmless prompts made to look harmful (XSTest) the
five ready-made lists refuse 10, all about politicians, parties or religions; of 18,000 everyday questions (clinc150)
46, most of them about vaccinations for a journey. With 28 descriptions for a bank, `allowed` let 96% of 3,600 banking
questions through, and 21% of 14,400 about something else; with 43 descriptions 99% and 22%.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.policy import ALLOW, Draft, Policy, Verdict, block
from sartor.texts import Text, in_language
from sartor.values import BotInfo, Passage, ToolCall, ToolResult, Turn

from sartor_plugins.topics.phrases import Phrases, Similar, content, words
from sartor_plugins.topics.settings import Topic, TopicsSettings, ready_made

__all__ = ["BlockedTopics", "Scope", "Topic", "TopicsPlugin", "TopicsSettings"]

_OUT_OF_SCOPE: Text = {
    "en": "I can only help with questions about our own products and services.",
    "fr": "Je ne réponds qu'aux questions sur nos propres produits et services.",
}
_MOST_TURNS = 1024


class TopicsPlugin(Plugin):
    """One policy for `blocked` and one for `allowed` and `documents`, as far as they are set."""

    Settings: ClassVar[type[PluginSettings]] = TopicsSettings
    hook_versions = "1"

    def __init__(self, settings: TopicsSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_policies(self, bot: BotInfo) -> Sequence[Policy]:
        policies: list[Policy] = []
        if self._settings.blocked:
            policies.append(BlockedTopics(self._settings))
        if self._settings.documents is not None:
            policies.append(Scope(self._settings, self._settings.documents))
        elif self._settings.allowed:
            policies.append(AllowedTopics(self._settings))
        return policies


class BlockedTopics(Policy):
    """Refuses messages in which a phrase of a blocked topic stands."""

    def __init__(self, settings: TopicsSettings) -> None:
        self._topics: list[tuple[str, Phrases, Text]] = []
        for name, topic in settings.blocked.items():
            ready = ready_made().get(name)
            phrases = [*topic.phrases, *(ready.phrases if ready else ())]
            message = topic.message or settings.message or (ready.message if ready else "") or _OUT_OF_SCOPE
            self._topics.append((name, Phrases(phrases, ready.exceptions if ready else ()), message))

    async def input(self, turn: Turn, text: str) -> Verdict:
        found = words(text)
        for name, phrases, message in self._topics:
            if phrases.among(found):
                return block(f"rule: blocked topic {name!r}", in_language(message, turn.language))
        return ALLOW


class AllowedTopics(Policy):
    """Refuses messages that fit none of the allowed descriptions."""

    def __init__(self, settings: TopicsSettings) -> None:
        self._message = settings.message or _OUT_OF_SCOPE
        self._allowed = Similar(settings.allowed, settings.similarity)

    def fits(self, text: str) -> bool:
        """Whether `text` is too short to tell, or fits a description."""
        said = content(text)
        return len(said) < 2 or self._allowed.fits(said)

    def refuse(self, turn: Turn) -> Verdict:
        return block("rule: none of the allowed topics", in_language(self._message, turn.language))

    async def input(self, turn: Turn, text: str) -> Verdict:
        return ALLOW if self.fits(text) else self.refuse(turn)


class Scope(AllowedTopics):
    """Refuses replies to messages that neither fit a description, nor a passage, nor made the model use a tool."""

    window = 0  # it withholds a whole reply or nothing

    def __init__(self, settings: TopicsSettings, least: float) -> None:
        super().__init__(settings)
        self._least = least
        # The turns under way that are in scope. Bounded: one that is pushed out is refused.
        self._inside: OrderedDict[str, None] = OrderedDict()

    async def input(self, turn: Turn, text: str) -> Verdict:
        if self.fits(text):
            self._enter(turn)
        return ALLOW

    async def passage(self, turn: Turn, passage: Passage) -> Verdict:
        if passage.score >= self._least:
            self._enter(turn)
        return ALLOW

    async def tool_result(self, turn: Turn, call: ToolCall, result: ToolResult) -> Verdict:
        if not result.error:
            self._enter(turn)
        return ALLOW

    async def output(self, turn: Turn, draft: Draft) -> Verdict:
        inside = turn.id in self._inside
        if draft.final:
            self._inside.pop(turn.id, None)
        return ALLOW if inside else self.refuse(turn)

    def _enter(self, turn: Turn) -> None:
        self._inside[turn.id] = None
        if len(self._inside) > _MOST_TURNS:
            self._inside.popitem(last=False)
