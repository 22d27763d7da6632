"""A conversation that took place, held again with the present bot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sartor.errors import NamingError
from sartor.project import Project
from sartor.rehearsal.stage import open_stage
from sartor.store import Store, StoredTurn
from sartor.values import Reply

__all__ = ["Repeated", "repeat"]


@dataclass(frozen=True)
class Repeated:
    """One turn, as it was and as it would be now."""

    before: Reply
    now: Reply

    @property
    def same(self) -> bool:
        """Whether text, outcome, sources, tools and flow are what they were."""
        return _told(self.before) == _told(self.now)


async def repeat(directory: Path, tenant: str, conversation: str, *, turns: int = 100) -> tuple[str, list[Repeated]]:
    """The bot's id, and each turn of the conversation said again to the bot as it is now.

    Nothing of it is stored. What users are known by (attributes) is not stored with a conversation, so tools do
    without it, and a tool that acts is not approved. Raises `NamingError` for a conversation that the tenant has not.
    """
    project = Project(directory)
    async with await Store.open(project.state_url) as store:
        stored: Sequence[StoredTurn] = await store.tenant(tenant).turns(conversation, turns)
    if not stored:
        raise NamingError(f"{tenant} has no conversation {conversation!r}", remedy="Its id is shown by `ask --json`.")
    bot_id = f"{tenant}/{stored[0].reply.turn.bot}"
    repeated: list[Repeated] = []
    async with open_stage(directory, [bot_id]) as stage:
        bot = await stage.start(bot_id)
        for one in stored:
            turn = one.reply.turn
            now = await bot.reply(
                turn.text, user=turn.user, conversation="again", audience=turn.audience, language=turn.language
            )
            repeated.append(Repeated(one.reply, now))
    return bot_id, repeated


def _told(reply: Reply) -> tuple[object, ...]:
    return (
        reply.text,
        reply.outcome,
        [citation.source for citation in reply.citations],
        [(use.call.name, dict(use.call.arguments), use.result.text) for use in reply.tools],
        reply.flow and (reply.flow.name, reply.flow.stage, reply.flow.slot, dict(reply.flow.values)),
    )
