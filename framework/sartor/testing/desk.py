"""A plugin whose parts do what a message says, so that turns end in every way there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sartor.errors import OverloadedError
from sartor.plugin import Plugin, hookimpl
from sartor.policy import ALLOW, Draft, Policy, Verdict, block
from sartor.retrieval import Retriever
from sartor.tools import Tool, tool
from sartor.values import Passage, Turn

__all__ = ["DeskPlugin"]


class DeskPlugin(Plugin):
    """Blocks what is ``forbidden``, finds a passage, and looks things up, unless it is to break, to wait or to be
    ``overloaded``."""

    @hookimpl
    def sartor_tools(self) -> Sequence[Tool]:
        return [look_up]

    @hookimpl
    def sartor_policies(self) -> Sequence[Policy]:
        return [_Forbidding()]

    @hookimpl
    def sartor_retrievers(self) -> Sequence[Retriever]:
        return [_Shelf()]


@tool
async def look_up(what: str) -> str:
    """Look something up."""
    if "broken" in what:
        raise RuntimeError(f"cannot look up {what}")
    if "forever" in what:
        await asyncio.Event().wait()
    return f"found {what}"


class _Forbidding(Policy):
    window = 10

    async def input(self, turn: Turn, text: str) -> Verdict:
        return block("rule: forbidden") if "forbidden" in text else ALLOW

    async def output(self, turn: Turn, draft: Draft) -> Verdict:
        return block("rule: forbidden") if "forbidden" in draft.text else ALLOW


class _Shelf:
    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        if "overloaded" in query:
            raise OverloadedError("there is too much to do", retry_after=1)
        return [Passage("p1", turn.tenant, "shelf.md", "Shelf", f"On the shelf: {query}", 0.5)][:limit]
