"""What a channel is: a place such as Slack, from which messages come and to which replies go.

Nothing here knows a web framework: a server turns what came in by HTTP into a `Request`, and an `Answer` into what
goes out. `sartor.intake` runs the messages.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sartor.errors import DeliveryError
from sartor.values import HandOver, JSONValue, Reply

__all__ = ["Answer", "Channel", "Message", "Notice", "Received", "Request", "Said", "json_answer"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a platform sent by HTTP."""

    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""
    body: bytes = b""
    """As it came, since signatures are made over bytes."""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform is told at once."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """What a person wrote somewhere else."""

    text: str
    user: str
    """Who wrote it, unique among all users of the bot: ``slack:T1:U1``."""
    event: str
    """What identifies the message at the platform: the same again is a retry, and no second turn."""
    conversation: str = ""
    """The conversation that it continues or begins, derived from where it was written. A conversation is one user's,
    so where several people write, derive one for each of them. Empty: a conversation of its own."""
    language: str = ""
    audience: str = ""
    attributes: Mapping[str, JSONValue] = field(default_factory=dict)
    """What the platform says of the user, for tools and policies."""
    to: Mapping[str, JSONValue] = field(default_factory=dict)
    """Where the reply goes: for the channel alone."""
    only_known: bool = False
    """Whether it is for the bot only if the conversation exists already."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person who has a conversation wrote where people are told of hand-overs."""

    handover: str
    """The hand-over's id."""
    by: str
    """The name that the user is shown."""
    event: str
    """What identifies it at the platform: the same again is a retry, and said once."""
    text: str = ""
    """What the user is told; empty: the bot is given the conversation back."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a request comes to."""

    answer: Answer | None = field(default_factory=Answer)
    """What the platform is told before anything is done. None: it waits for the reply to the one message, which
    `Channel.answer` turns into the answer."""
    messages: tuple[Message, ...] = ()
    said: tuple[Said, ...] = ()
    """What people say in the bot's place."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told of a hand-over."""

    kind: Literal["started", "message", "said", "released"]
    """``message``: the user wrote on. ``said``: a person answered, here or elsewhere."""
    handover: HandOver
    text: str = ""
    """What was written, for ``message`` and ``said``."""
    id: str = ""
    """Its own: the same again is a retry. It is that of the turn that led to it."""
    author: str = ""
    """Who said it, for ``said``."""


class Channel(ABC):
    """A way in and out of one bot. Several requests may be received and several replies sent at once."""

    name: str = ""
    """The part of its address; set when the bot is built, to the plugin's name, unless it is given."""
    patience: float | None = None
    """Seconds after which `working` is called for a message whose reply is not there yet. None: never."""

    async def start(self) -> None:  # noqa: B027
        """Get ready. Called once, before the first request."""

    async def close(self) -> None:  # noqa: B027
        """Give back what it holds. Called once, with the bot."""

    @abstractmethod
    async def receive(self, request: Request) -> Received:
        """Check who sent the request, and tell what is in it. It has no other check, so a request that is not proved
        to be the platform's must be answered with 401, and no message.

        What it raises is logged and answered with 503, so that the platform tries again.
        """

    async def working(self, message: Message) -> Message:
        """Tell the user that the reply will take a while. What is returned stands for the message from then on, so
        that its `to` can name what was posted. What it raises is logged, and nothing else happens."""
        return message

    @abstractmethod
    def write(self, message: Message, reply: Reply) -> Sequence[JSONValue]:
        """The reply as it is sent, in as many parts as that takes. Each part is sent, and tried again, by itself."""

    @abstractmethod
    async def send(self, message: Message, part: JSONValue) -> None:
        """Send one part. Raises `DeliveryError`, which tells whether trying again may help."""

    alerts: bool = False
    """Whether it can tell people of hand-overs."""

    async def alert(self, notice: Notice) -> None:
        """Tell people of a hand-over, where the bot's `hand_over.channel` names this channel. What the user wrote is
        untrusted text. Raises `DeliveryError`, which tells whether trying again may help."""
        raise DeliveryError(f"channel {self.name} cannot tell people of hand-overs")

    def address(self, conversation: str, user: str) -> Message | None:
        """Where to write to the user of a conversation when a person answers: a message without a text, for `write` and
        `send`. None: the conversation is not of this channel, or the user comes to ask."""
        return None

    def answer(self, message: Message, reply: Reply) -> Answer:
        """The reply as the answer to a request that waited for it: by default its first part as JSON."""
        return json_answer(200, self.write(message, reply)[0])


def json_answer(status: int, value: JSONValue, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that says `value` as JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Answer(status, body, {"content-type": "application/json", **(headers or {})})
