"""What the tests of the store put into it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sartor.store import KeyRow, TenantStore
from sartor.values import (
    Chunk,
    Citation,
    FlowNote,
    HandOver,
    Outcome,
    Passage,
    Reply,
    ToolCall,
    ToolResult,
    ToolUse,
    Turn,
    Usage,
    VerdictRecord,
)

__all__ = ["BEGAN", "SPENT", "fill", "sample_chunks", "sample_handover", "sample_key", "sample_reply", "tenant_chunks"]

BEGAN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SPENT = Usage(100, 40, 10, 1)
"""What each sample of a turn cost."""


def sample_reply(question: str = "How long?", text: str = "Two days.", **turn: str) -> Reply:
    """A reply of ``acme/support`` to ann in conversation c1, unless told otherwise."""
    of_turn = {"id": uuid4().hex, "conversation": "c1", "tenant": "acme", "bot": "support", "user": "ann"} | turn
    return Reply(
        Turn(text=question, **of_turn),  # type: ignore[arg-type]
        text,
        Outcome.ANSWERED,
        citations=(Citation(1, "p1", "delivery.md", "Delivery", "Two days."),),
        passages=(Passage("p1", of_turn["tenant"], "delivery.md", "Delivery", "It takes two days.", 0.5),),
        usage=SPENT,
    )


def sample_chunks(number: int, source: str = "delivery.md", *, tenant: str = "acme", text: str = "Text") -> list[Chunk]:
    """`number` chunks of a document of ``acme/support``, unless told otherwise."""
    return [
        Chunk(f"{tenant}-{source}-{text}-{at}", tenant, "support", source, "Title", f"{text} {at}", at)
        for at in range(number)
    ]


def tenant_chunks(tenant: str) -> list[Chunk]:
    """The chunks that `fill` stores."""
    return sample_chunks(3, tenant=tenant, text=f"Text of {tenant}")


def sample_key(id_: str = "k1", tenant: str = "acme", *, created: datetime = BEGAN, days: int = 0) -> KeyRow:
    """An API key; with `days`, one that ends."""
    ends = BEGAN + timedelta(days=days) if days else None
    return KeyRow(id_, tenant, "for the shop", f"digest of {id_}", frozenset({"read", "chat"}), created, ends)


def sample_handover(tenant: str = "acme", id_: str = "h1", conversation: str = "c1") -> HandOver:
    """A hand-over of ann's conversation."""
    return HandOver(id_, tenant, "support", "ann", conversation, "asked", f"User of {tenant}: Hi", BEGAN)


async def fill(store: TenantStore) -> None:
    """Put something of the tenant into every table, with the ids that every tenant has here."""
    tenant = store.tenant
    use = ToolUse(ToolCall("call-1", "refund", {"of": tenant}), ToolResult("call-1", "refund", f"done for {tenant}"))
    reply = replace(
        sample_reply(f"Question of {tenant}", f"Reply of {tenant}", tenant=tenant, id="t1"),
        tools=(use,),
        verdicts=(VerdictRecord(f"policy of {tenant}", "input", "rewrite", "rule"),),
        flow=FlowNote("booking", "asking", "day", {"of": tenant}),
        standing={"of": tenant},
        handover=sample_handover(tenant),
    )
    await store.commit(reply)
    await store.put_document("support", "delivery.md", "aa", f"Delivery of {tenant}", tenant_chunks(tenant))
    await store.put_feedback("t1", 1, f"Good, {tenant}.")
    await store.put_response("t1", "", {"of": tenant})
    await store.claim("ann", "request-1", f"fingerprint of {tenant}", "t1")
    await store.add_key(sample_key(f"key-{tenant}", tenant))
