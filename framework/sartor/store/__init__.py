"""The state database: conversations, audit, usage and the text of record of documents.

Importing it imports SQLAlchemy, which takes a fifth of a second, so the core does so only where it is needed.
"""

from __future__ import annotations

from sartor.store.rows import (
    ConversationRow,
    DocumentRow,
    FeedbackRow,
    KeyRow,
    RequestRow,
    StoredResponse,
    StoredTurn,
)
from sartor.store.store import Store
from sartor.store.tenant import TenantStore

__all__ = [
    "ConversationRow",
    "DocumentRow",
    "FeedbackRow",
    "KeyRow",
    "RequestRow",
    "Store",
    "StoredResponse",
    "StoredTurn",
    "TenantStore",
]
