"""Conversations that people have, or had."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Boolean, Connection, RowMapping, bindparam, case, or_, select

from sartor.store.schema import handovers
from sartor.store.tenants import insert_or_skip
from sartor.values import HandOver

__all__ = ["find_handover", "open_handover", "open_handovers", "put_handover"]

_ALL = select(handovers).where(handovers.c.tenant == bindparam("of_tenant"))
_OPEN = _ALL.where(handovers.c.released.is_(None))
_OF_CONVERSATION = _OPEN.where(
    handovers.c.bot == bindparam("of_bot"),
    handovers.c.user_id == bindparam("of_user"),
    handovers.c.conversation == bindparam("of_conversation"),
)
_ONE = _ALL.where(handovers.c.id == bindparam("of_id"))
_CHANGE = (
    handovers.update()
    .where(
        handovers.c.tenant == bindparam("of_tenant"),
        handovers.c.id == bindparam("of_id"),
        handovers.c.released.is_(None),
    )
    .values(
        taken_by=case((handovers.c.taken_by == "", bindparam("new_taken_by")), else_=handovers.c.taken_by),
        waited=or_(handovers.c.waited, bindparam("new_waited", type_=Boolean)),
        released=bindparam("new_released"),
    )
    .returning(handovers)
)


def open_handover(connection: Connection, conversation: Mapping[str, str]) -> HandOver | None:
    """The one by which a person has the conversation."""
    row = connection.execute(_OF_CONVERSATION, conversation).mappings().one_or_none()
    return None if row is None else _read(row)


def open_handovers(connection: Connection, tenant: str) -> list[HandOver]:
    """Those of the tenant that are not released, the oldest first."""
    ordered = _OPEN.order_by(handovers.c.since, handovers.c.id)
    return [_read(row) for row in connection.execute(ordered, {"of_tenant": tenant}).mappings()]


def find_handover(connection: Connection, tenant: str, id_: str) -> HandOver | None:
    """One of the tenant's."""
    row = connection.execute(_ONE, {"of_tenant": tenant, "of_id": id_}).mappings().one_or_none()
    return None if row is None else _read(row)


def put_handover(connection: Connection, there: HandOver) -> HandOver | None:
    """Store it, or what changed of it; the one that the conversation has then. Who spoke first stays, and that the user
    was told to wait. An open one that the conversation has already stays, and one that was released stays as it was:
    where it is the only one, that is none."""
    row = {
        "tenant": there.tenant,
        "id": there.id,
        "bot": there.bot,
        "user_id": there.user,
        "conversation": there.conversation,
        "reason": there.reason,
        "summary": there.summary,
        "since": there.since,
        "taken_by": there.taken_by,
        "waited": there.waited,
        "released": there.released,
    }
    change = {
        "of_tenant": there.tenant,
        "of_id": there.id,
        "new_taken_by": there.taken_by,
        "new_waited": there.waited,
        "new_released": there.released,
    }
    if (changed := connection.execute(_CHANGE, change).mappings().one_or_none()) is not None:
        return _read(changed)
    connection.execute(insert_or_skip(connection, handovers), row)
    return open_handover(
        connection,
        {
            "of_tenant": there.tenant,
            "of_bot": there.bot,
            "of_user": there.user,
            "of_conversation": there.conversation,
        },
    )


def _read(row: RowMapping) -> HandOver:
    return HandOver(
        row["id"],
        row["tenant"],
        row["bot"],
        row["user_id"],
        row["conversation"],
        row["reason"],
        row["summary"],
        row["since"],
        row["taken_by"],
        row["waited"],
        row["released"],
    )
