"""What the state database gives back, where `sartor.values` has no word for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sartor.values import JSONValue, Reply

__all__ = [
    "ConversationRow",
    "DocumentRow",
    "FeedbackRow",
    "KeyRow",
    "RequestRow",
    "StoredResponse",
    "StoredTurn",
]


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation without its text."""

    id: str
    bot: str
    user: str
    turns: int
    """How many turns were committed."""
    started: datetime
    """When the first turn was committed, in UTC."""
    updated: datetime
    """When the last turn was committed, in UTC."""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document without its text."""

    source: str
    sha256: str
    """The fingerprint that `TenantStore.put_document` was given."""
    title: str
    chunks: int
    """How many chunks it has."""
    ingested: datetime
    """When it was stored last, in UTC."""


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A committed turn with everything that explains it."""

    reply: Reply
    """As it was committed, save that its passages have no text: their documents may have changed since."""
    number: int
    """Which turn of its conversation it is, from 1."""
    committed: datetime
    """In UTC."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A turn that was asked for as a response."""

    turn: StoredTurn
    previous: str
    """The turn that it goes on from; empty: none."""
    told: Mapping[str, JSONValue]
    """What the request said beside the message."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key, without the key."""

    id: str
    tenant: str
    name: str
    """What it is for, for people."""
    digest: str
    """The keyed hash of the key, in hexadecimal."""
    scopes: frozenset[str]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request that may be sent again, and the turn that it began."""

    fingerprint: str
    """Of what was asked."""
    turn: str
    created: datetime


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What a user thinks of a reply."""

    score: int
    """1: good; -1: bad."""
    comment: str
    given: datetime
