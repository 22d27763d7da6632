"""What users think of a reply."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from sartor.store.rows import FeedbackRow
from sartor.store.schema import feedback, turns
from sartor.store.tenants import insert_or_update

__all__ = ["feedback_on", "put_feedback"]

_USER = select(turns.c.user_id).where(turns.c.tenant == bindparam("of_tenant"), turns.c.id == bindparam("of_turn"))
_FIND = select(feedback.c.score, feedback.c.comment, feedback.c.given).where(
    feedback.c.tenant == bindparam("of_tenant"), feedback.c.turn == bindparam("of_turn")
)


def put_feedback(connection: Connection, tenant: str, turn: str, score: int, comment: str, now: datetime) -> bool:
    """Whether there is such a turn; what was said of it before is replaced."""
    user = connection.scalar(_USER, {"of_tenant": tenant, "of_turn": turn})
    if user is None:
        return False
    row = {"tenant": tenant, "user_id": user, "turn": turn, "score": score, "comment": comment, "given": now}
    connection.execute(insert_or_update(connection, feedback, ("score", "comment", "given")), row)
    return True


def feedback_on(connection: Connection, tenant: str, turn: str) -> FeedbackRow | None:
    """What was said of the turn, if anything was."""
    row = connection.execute(_FIND, {"of_tenant": tenant, "of_turn": turn}).one_or_none()
    return None if row is None else FeedbackRow(*row)
