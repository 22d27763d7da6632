"""`sartor ask`: one question, one answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from sartor.cli.options import find_project, project_option, run_async
from sartor.errors import RunError
from sartor.values import Outcome, Reply

__all__ = ["command", "reply_json"]


@click.command("ask")
@click.argument("bot")
@click.argument("question")
@click.option("--json", "as_json", is_flag=True, help="Print the whole turn as JSON.")
@click.option("--user", default="anonymous", show_default=True, help="The user's id.")
@click.option("--audience", default="", help="The kind of user, where the bot tells several apart.")
@click.option("--language", default="", help="The user's language, one of the bot's.")
@project_option
@run_async
async def command(
    bot: str, question: str, as_json: bool, project: Path | None, user: str, audience: str, language: str
) -> None:
    """Ask BOT (TENANT/BOT) one QUESTION. Exit code 1 when the turn failed; a refusal is an answer."""
    from sartor.bots import open_project

    async with open_project(find_project(project)) as bots:
        ready = await bots.start(bot)
        reply = await ready.reply(question, user=user, audience=audience, language=language)
    if as_json:
        click.echo(json.dumps(reply_json(reply), ensure_ascii=False, indent=2))
    else:
        from sartor.cli.render import citations, console, footer, tool_line, visible

        for use in reply.tools:
            console.print(tool_line(use))
        console.print(visible(reply.text), markup=False, soft_wrap=not console.is_terminal)
        for line in citations(reply):
            console.print(line)
        console.print(footer(reply))
    if reply.outcome is Outcome.FAILED:
        raise RunError("the turn failed" + (f": {reply.error}" if as_json else ""))


def reply_json(reply: Reply) -> dict[str, object]:
    """A turn as plain data: what was asked, answered, cited, used and judged."""
    told = dataclasses.asdict(reply)
    turn, _ = told.pop("turn"), told.pop("standing")
    turn["started"] = reply.turn.started.isoformat() if reply.turn.started else None
    if reply.handover:
        for name in ("since", "released"):
            moment = told["handover"][name]
            told["handover"][name] = moment.isoformat() if moment else None
    for use in told["tools"]:
        origins = use["call"]["origins"]
        use["call"]["origins"] = {name: sorted(where) for name, where in origins.items()}
    return {
        "bot": f"{turn.pop('tenant')}/{turn.pop('bot')}",
        "question": turn.pop("text"),
        "answer": told.pop("text"),
        **told,
        "turn": turn,
    }
