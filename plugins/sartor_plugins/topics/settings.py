"""What can be set about topics, and the ready-made ones."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from sartor.plugin import PluginSettings
from sartor.texts import Text

__all__ = ["ReadyMade", "Topic", "TopicsSettings", "ready_made"]

Phrase = Annotated[str, Field(min_length=2, max_length=200, pattern=r"\w")]


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A topic that comes with Sartor: its phrases in all languages."""

    phrases: tuple[str, ...]
    exceptions: tuple[str, ...]
    message: dict[str, str]


@cache
def ready_made() -> Mapping[str, ReadyMade]:
    """The topics that come with Sartor, by name; read from `lists.toml` on first use."""
    lists = tomllib.loads(files(__package__).joinpath("lists.toml").read_text(encoding="utf-8"))
    return {
        name: ReadyMade((*topic["en"], *topic["fr"]), tuple(topic.get("except", ())), topic["message"])
        for name, topic in lists.items()
    }


class Topic(PluginSettings):
    """One blocked topic. A mere list stands for its `phrases`."""

    phrases: tuple[Phrase, ...] = ()
    """Words and phrases that give it away, beside those of the ready-made topic of that name, if there is one. A
    star stands for any ending: ``election*``."""
    message: Text = ""
    """What the user is told; empty: the topic's ready-made text, or the plugin's `message`."""


def _as_topics(given: object) -> object:
    """`blocked` in its long form: a list names ready-made topics, a list in a topic's place is its phrases."""
    if isinstance(given, list | tuple):
        return {name: {} for name in given}
    if isinstance(given, dict):
        return {
            name: {"phrases": topic} if isinstance(topic, list | tuple) else {} if topic is None else topic
            for name, topic in given.items()
        }
    return given


class TopicsSettings(PluginSettings):
    """Settings of the plugin `topics`."""

    blocked: Annotated[dict[str, Topic], BeforeValidator(_as_topics)] = Field(default={})
    """Topics that the bot does not speak of: names of ready-made ones, or names of your own with phrases. Ready
    are politics, religion, medical-advice, legal-advice and investment-advice, in English and French."""
    allowed: tuple[Phrase, ...] = ()
    """The only topics that the bot speaks of, each described in a few words: ``returns and refunds``."""
    similarity: float = Field(default=0.5, gt=0, le=1)
    """Which share of a description's words a question must have."""
    documents: float | None = Field(default=None, ge=0, le=1)
    """When set, a question is in scope as well if a passage scores at least so much, or a tool was used."""
    message: Text = ""
    """What the user is told; empty: a text in English or French."""

    @model_validator(mode="after")
    def _check_names(self) -> TopicsSettings:
        known = ready_made()
        for name, topic in self.blocked.items():
            if not topic.phrases and name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"ready-made are {', '.join(known)}"
                raise ValueError(f"topic {name!r} has no phrases, and is not ready-made: {hint}")
        return self
