"""The page on flows is true: its bot is built, and its conversations are held."""

from __future__ import annotations

import re
from pathlib import Path

from sartor.flows.spec import FlowSpec, SlotSpec
from sartor.rehearsal.run import rehearse
from sartor.rehearsal.stage import open_stage

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-flow.md"
BOT = "acme/support"


def blocks() -> dict[str, str]:
    found = re.findall(r"^```(?:yaml|python)\n(# (\S+)\n.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return {file: text for text, file in found}


async def test_the_conversations_of_the_page_are_held(make_project):
    files = blocks()
    assert set(files) == {
        "tenants/acme/support/bot.yaml",
        "plugins/desk.py",
        "tenants/acme/support/tests/flows.yaml",
    }
    root = make_project(files)
    async with open_stage(root, [BOT]) as bots:
        results = await rehearse(bots, BOT)
    assert len(results) == 2
    for result in results:
        wrong = [(turn.say, turn.faults, turn.reply.text) for turn in result.turns if turn.faults]
        assert result.passed, (result.error, wrong)


def test_the_page_names_every_key():
    text = PAGE.read_text("utf-8")
    for spec in (FlowSpec, SlotSpec):
        assert [name for name in spec.model_fields if f"`{name}`" not in text] == []
