"""A project whose state is thrown away: what its bots are told in a rehearsal is stored nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from sartor.bot import Bot
from sartor.bots import Bots
from sartor.parts import BotParts
from sartor.project import Project
from sartor.rehearsal.script import FIRST_MOMENT
from sartor.store import Store

__all__ = ["FIRST_MOMENT", "open_stage", "steady"]


@asynccontextmanager
async def open_stage(directory: Path, bots: list[str]) -> AsyncIterator[Bots]:
    """The project with the documents of `bots` read anew, and everything that it stores in a temporary folder.

    Raises what `Project`, `Store.open` and `Knowledge.ingest` raise.
    """
    with tempfile.TemporaryDirectory(prefix="sartor-rehearsal-") as scratch:
        project = Project(directory, scratch=Path(scratch))
        async with await Store.open(project.state_url) as store:
            opened = Bots(project, store)
            try:
                for bot_id in bots:
                    if project.bot(bot_id).spec.retrieval.passages:
                        await opened.knowledge(bot_id).ingest()
                yield opened
            finally:
                await opened.close()


def steady(parts: BotParts, name: str, first: datetime = FIRST_MOMENT) -> Bot:
    """A bot of `parts` whose clock, which begins at `first`, and whose ids are the same in every run of the
    conversation `name`."""
    numbers, moments = count(1), count()
    return Bot(
        replace(
            parts,
            new_id=lambda: f"{name}-{next(numbers)}",
            now=lambda: first + timedelta(minutes=next(moments)),
        )
    )
