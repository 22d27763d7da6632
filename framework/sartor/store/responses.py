"""Turns that were asked for as responses (`/v1/responses`), and which response each goes on from."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select

from sartor.store.encoding import stored_turn
from sartor.store.rows import StoredResponse
from sartor.store.schema import responses, turns
from sartor.store.tenants import insert_or_update
from sartor.values import JSONValue

__all__ = ["forget_response", "put_response", "responses_up_to"]

_USER = select(turns.c.user_id).where(turns.c.tenant == bindparam("of_tenant"), turns.c.id == bindparam("of_turn"))
_THE_RESPONSE = responses.c.tenant == bindparam("of_tenant"), responses.c.turn == bindparam("of_turn")
_FIND = select(responses.c.previous, responses.c.told).where(*_THE_RESPONSE)


def put_response(connection: Connection, tenant: str, turn: str, previous: str, told: dict[str, JSONValue]) -> bool:
    """Whether there is such a turn."""
    user = connection.scalar(_USER, {"of_tenant": tenant, "of_turn": turn})
    if user is None:
        return False
    row = {"tenant": tenant, "user_id": user, "turn": turn, "previous": previous, "told": told}
    connection.execute(insert_or_update(connection, responses, ("previous", "told")), row)
    return True


def responses_up_to(connection: Connection, tenant: str, turn: str, limit: int) -> list[StoredResponse]:
    """The response and those that led to it, the latest first, at most `limit`."""
    found: list[StoredResponse] = []
    while turn and len(found) < limit:
        row = connection.execute(_FIND, {"of_tenant": tenant, "of_turn": turn}).one_or_none()
        stored = stored_turn(connection, tenant, turn)
        if row is None or stored is None:
            break
        found.append(StoredResponse(stored, row.previous, row.told))
        turn = row.previous
    return found


def forget_response(connection: Connection, tenant: str, turn: str) -> bool:
    """Whether there was such a response. Its turn stays."""
    gone = connection.execute(delete(responses).where(*_THE_RESPONSE), {"of_tenant": tenant, "of_turn": turn})
    return gone.rowcount > 0
