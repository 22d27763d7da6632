"""What a bot is made of."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sartor.channels import Channel
from sartor.flows.doing import Doing
from sartor.grounding import Readings
from sartor.handover.alerts import Alerts
from sartor.observing import Observers
from sartor.plugin import Plugin
from sartor.policy import Policy
from sartor.prompt import Persona
from sartor.spec import BotSpec
from sartor.texts import in_language
from sartor.tools import Tool
from sartor.values import BotInfo, Origin, Part, Turn, TurnOptions

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from sartor.retrieval import Retriever
    from sartor.store import TenantStore

__all__ = ["BotParts", "persona_of"]


@dataclass(frozen=True)
class BotParts:
    """Everything that a bot is made of. All of it belongs to one tenant, but for the model."""

    info: BotInfo
    spec: BotSpec
    instructions: Sequence[Part]
    model: BaseChatModel
    model_name: str
    retrievers: Sequence[Retriever]
    tools: Mapping[str, Tool]
    policies: Sequence[Policy]
    store: TenantStore
    channels: Sequence[Channel] = ()
    plugins: Sequence[Plugin] = ()
    """Those that made all this; they are closed with the bot."""
    alerts: Alerts | None = None
    """How people are told of hand-overs."""
    share: float = 1.0
    """The tenant's, of a model that many want at once."""
    doing: Doing = field(default_factory=Doing)
    """What flows do at this moment."""
    observers: Observers = field(default_factory=Observers)
    readings: Readings = field(default_factory=Readings)
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def persona_of(parts: BotParts, turn: Turn, options: TurnOptions) -> Persona:
    """What the bot is told about itself in this turn."""
    spec = parts.spec
    told = list(parts.instructions)
    if turn.audience:
        extra = spec.audiences[turn.audience].instructions
        told += [Part(text, Origin.TENANT) for text in ([extra] if isinstance(extra, str) else extra)]
    told += [Part(text, Origin.TENANT) for text in options.instructions]
    return Persona(
        instructions=tuple(told),
        greeting=in_language(spec.replies.greeting, turn.language),
        unknown=in_language(spec.replies.unknown, turn.language),
        quotes=spec.grounding.max_quotes if spec.grounding.mode == "quote" else 0,
    )
