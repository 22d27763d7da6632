"""What a conversation test may say: the YAML files in a bot's, or its template's, folder `tests`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator

from sartor.errors import SpecError
from sartor.layers import Layer, fill_values, merge
from sartor.project import EffectiveBot
from sartor.spec import check
from sartor.specbase import Settings, Spec
from sartor.values import Origin, Outcome
from sartor.yamlfile import YamlFile, read_yaml

__all__ = [
    "FIRST_MOMENT",
    "Conversation",
    "Expect",
    "FlowExpect",
    "Meaning",
    "Said",
    "Script",
    "ScriptFile",
    "ToolExpect",
    "VerdictExpect",
    "find_scripts",
]


def _written(value: object) -> object:
    """Numbers as the text that they are written as: ``text: 39``."""
    if isinstance(value, list):
        return [_written(one) for one in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


FIRST_MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When a rehearsed conversation begins that says nothing else."""


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error


Texts = Annotated[list[str] | str, BeforeValidator(_written)]
"""One text, or several."""


class ToolExpect(Spec):
    """A tool that must have been used."""

    name: str
    arguments: Settings = {}
    """Those that must have had these values; others may have had any."""
    error: bool | None = None


class VerdictExpect(Spec):
    """What a policy must have said."""

    policy: str
    kind: str = ""
    stage: str = ""


class FlowExpect(Spec):
    """Where a flow must stand after the turn. What is left out may be anything."""

    name: str = ""
    stage: Literal[
        "", "asking", "confirming", "changing", "refused", "doing", "done", "left", "stuck", "unsure", "blocked"
    ] = ""
    """What it waits for, or how it ended; see `sartor.values.FlowNote`."""
    slot: str = ""
    """The slot that was asked for."""
    values: Settings = {}
    """Slots that must be known, with these values: a date as ``2026-12-14``, a choice as its key."""


class Meaning(Spec):
    """A text that the reply must mean about the same as, by the project's `embeddings`."""

    like: str
    at_least: float = Field(default=0.5, ge=-1, le=1)
    """The cosine between the two."""


class Expect(Spec):
    """What is expected of one reply. Everything that is said must hold."""

    outcome: Outcome | None = None
    text: Texts = []
    """The reply holds each of these, letter case and spacing aside."""
    never: Texts = []
    """The reply holds none of these."""
    matches: Texts = []
    """Regular expressions that are found in the reply."""
    cites: Texts = []
    """Documents that the reply cites: ``delivery.md``, or with the place in it, ``prices.pdf#page=3``."""
    tools: list[ToolExpect] = []
    """Tools that were used, in this order; others may have been used in between."""
    no_tools: bool = False
    """No tool was used."""
    verdicts: list[VerdictExpect] = []
    """What policies said."""
    flow: FlowExpect | Literal["none"] | None = None
    """The flow that the turn was for; ``none``: it was for none."""
    language: str = ""
    """The language of the reply, such as ``fr``; needs the extra ``test``."""
    meaning: Meaning | None = None
    seconds: float | None = Field(default=None, gt=0)
    """The turn took no longer. Not judged when a recording is played."""
    tokens: int | None = Field(default=None, gt=0)
    """Prompt and reply, over all calls of the model, had no more."""
    cost: float | None = Field(default=None, gt=0)
    """The turn cost no more, by `prices` in `sartor.yaml`."""

    @field_validator("matches")
    @classmethod
    def _patterns(cls, value: list[str] | str) -> list[str] | str:
        for pattern in [value] if isinstance(value, str) else value:
            _compiled(pattern)
        return value


class Said(Spec):
    """One message of the user, and what is expected of the reply."""

    say: str = Field(min_length=1)
    expect: Expect = Expect()
    keep: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = {}
    """What to keep of the reply, by name, as regular expressions: a later `say` or `expect.text` that holds ``{name}``
    has what was found in its place."""

    @field_validator("keep")
    @classmethod
    def _patterns(cls, value: dict[str, str]) -> dict[str, str]:
        for pattern in value.values():
            _compiled(pattern)
        return value


class Conversation(Spec):
    """A conversation of one user with the bot."""

    name: str = Field(min_length=1)
    user: str = "rehearsal"
    audience: str = ""
    language: str = ""
    now: AwareDatetime | None = None
    """When it begins, with a time zone: ``2026-12-01T09:00+01:00``; by default on 1 January 2026 at noon in UTC. Each
    turn is a minute later."""
    attributes: Settings = {}
    """What the host application says of the user."""
    approve: bool = False
    """What a person answers when a tool call needs one."""
    turns: list[Said] = Field(min_length=1)


class ScriptFile(Spec):
    """A file of conversation tests."""

    given: Settings = {}
    """Values of the bot that the file is about: for a bot with others its conversations are not held."""
    conversations: list[Conversation] = Field(min_length=1)


@dataclass(frozen=True)
class Script:
    """A file of conversation tests, with its place, and the bot's values filled in."""

    path: Path
    file: YamlFile
    conversations: Sequence[Conversation]
    unfit: str = ""
    """Why they are not held: the bot has other values than they are about."""

    def place(self, conversation: int, turn: int) -> str:
        """``FILE:LINE`` of a turn."""
        return self.file.place(("conversations", conversation, "turns", turn))


def find_scripts(bot: EffectiveBot) -> Iterator[Script]:
    """The tests of a bot: those of its template, then its own, each in the order of their names.

    Raises `SpecError` for one that cannot be read, or says what it may not, or two conversations of one name.
    """
    folders = [bot.template.directory / "tests"] if bot.template else []
    names: dict[str, str] = {}
    for folder in [*folders, bot.info.directory / "tests"]:
        for path in sorted(folder.glob("*.yaml")):
            script = _read(path, bot)
            for at, conversation in enumerate(script.conversations):
                place = script.file.place(("conversations", at))
                if conversation.name in names:
                    raise SpecError(
                        f"a conversation {conversation.name!r} is in {names[conversation.name]} already", where=place
                    )
                names[conversation.name] = place
            yield script


def _read(path: Path, bot: EffectiveBot) -> Script:
    file = read_yaml(path)
    merged = merge([Layer(file, Origin.TENANT, file.data)])
    fill_values(merged, bot.info.values)
    told = check(ScriptFile, merged, str(path))
    return Script(path, file, told.conversations, _unfit(told.given, bot, file))


def _unfit(given: Settings, bot: EffectiveBot, file: YamlFile) -> str:
    """Why conversations that are about the values `given` are not held with `bot`; empty where they are.

    Raises `SpecError` for a value that the bot's template does not ask for.
    """
    values = bot.info.values
    for name in given:
        if name not in values:
            raise SpecError(
                f"{name!r} is no value of {bot.info.id}",
                where=file.place(("given", name)),
                remedy=f"Its values are: {', '.join(sorted(values)) or 'none'}.",
            )
    others = [f"{name}: {value}" for name, value in given.items() if values[name] != value]
    return f"for bots with {', '.join(others)}" if others else ""
