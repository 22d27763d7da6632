"""The orders of the shop, for the customer who is signed in."""

from typing import Annotated

from hazel import database
from pydantic import Field
from sartor import Plugin, Tool, Turn, hookimpl, tool

Number = Annotated[str, Field(pattern=r"(?i)^HC-\d{1,9}$", description="The order's number.")]


@tool(audiences=frozenset({"customer"}), from_user=frozenset({"order"}))
def orders(turn: Turn, order: Number = "") -> dict[str, str] | str:
    "List my latest orders, or look up one of them by its number."
    own = database.orders(turn.user)
    if not order:
        return "\n".join(", ".join(found.values()) for found in own[:5]) or "You have no orders yet."
    return next((found for found in own if found["order"] == order.upper()), f"You have no order {order}.")


class Orders(Plugin):
    """Tells customers of their own orders, and of nobody else's: `turn.user` is whom the shop signed."""

    @hookimpl
    def sartor_tools(self) -> list[Tool]:
        return [orders]
