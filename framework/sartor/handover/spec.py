"""What `hand_over` in `bot.yaml` may say."""

from __future__ import annotations

from pydantic import Field

from sartor.specbase import Spec
from sartor.texts import Phrases, Text, phrases_in

__all__ = ["HandOverSpec", "HandOverWhen"]


class HandOverWhen(Spec):
    """After how many such outcomes in a row a person is called; left out: never."""

    unknown: int | None = Field(default=None, ge=1, le=100)
    """Replies that the documents do not tell."""
    failed: int | None = Field(default=None, ge=1, le=100)
    """Turns that failed."""
    blocked: int | None = Field(default=None, ge=1, le=100)
    """Turns that a policy ended."""


class HandOverSpec(Spec):
    """How and when a person takes a conversation over."""

    channel: str = ""
    """The bot's channel by which people are told, such as ``webhook``. Empty: they look with `sartor handovers`, or by
    the API."""
    ask: Phrases = {
        "en": [
            "talk to a human",
            "speak to a person",
            "talk to somebody real",
            "speak to an agent",
            "human agent",
            "real person",
            "call a colleague",
            "speak to someone",
            "talk to someone",
        ],
        "fr": [
            "parler à un humain",
            "parler à une personne",
            "parler à quelqu'un",
            "parler à un conseiller",
            "parler à un agent",
            "vraie personne",
        ],
    }
    """What users say who want a person. A message that has all informative words of a phrase, and is no longer than
    twelve words, asks for one."""
    when: HandOverWhen = HandOverWhen()
    """When a person is called though nobody asked for one."""
    reply: Text = {
        "en": "I am passing you on to a colleague, who will answer here.",
        "fr": "Je vous mets en relation avec un collègue, qui vous répondra ici.",
    }
    """What the bot says then, before it is silent."""
    waiting: Text = {
        "en": "Your message has been passed on. A colleague will answer here.",
        "fr": "Votre message a été transmis. Un collègue vous répondra ici.",
    }
    """What it says once, when the user writes on and nobody has answered yet."""
    back: Text = {
        "en": "I am the assistant again. How else can I help?",
        "fr": "C'est de nouveau l'assistant. Que puis-je encore faire pour vous ?",
    }
    """What it says when it was released."""

    @property
    def phrases(self) -> list[str]:
        """What users say who want a person, in all languages."""
        return phrases_in(self.ask)
