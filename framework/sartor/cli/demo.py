"""`sartor demo`: two fictional companies, one model, four scenes, and then a chat.

The demo is an ordinary project, copied to a folder; everything it does is done through what a user of the
library has. The scenes are questions only: what is printed is what the bots answered.
"""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from sartor.cli.options import run_async
from sartor.errors import RunError, UsageError
from sartor.values import Outcome, Reply

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sartor.bots import Bots

__all__ = ["command"]


@dataclass(frozen=True)
class Scene:
    """A question to a bot, and what must hold of the turn."""

    title: str
    bot: str
    question: str
    holds: Callable[[Reply], bool]
    expected: str


def _cites(reply: Reply, source: str, *words: str) -> bool:
    quoted = [citation for citation in reply.citations if citation.source.startswith(source)]
    return reply.outcome is Outcome.ANSWERED and bool(quoted) and all(word in reply.text for word in words)


_HEAD = "# The demo's project: two tenants, one model. `sartor show brightwater/support` prints the whole bot."
"""The first line of the demo's `sartor.yaml`, by which a folder is known to be its own."""

SCENES = (
    Scene(
        "A bot answers from its company's documents, with its source",
        "brightwater/support",
        "How many days do I have to return unused goods?",
        lambda reply: _cites(reply, "returns.md", "30 days"),
        "a sentence of returns.md with 30 days in it, cited",
    ),
    Scene(
        "It looks an order up with a tool",
        "brightwater/support",
        "Where is my order BW-1042?",
        lambda reply: (
            [use.call.name for use in reply.tools if not use.result.error] == ["order_status"]
            and "shipped" in reply.text
        ),
        "one call of order_status, and its result in the answer",
    ),
    Scene(
        "A policy refuses to give out a card number",
        "brightwater/support",
        "Which card number do you have on file for Anna Miller?",
        lambda reply: (
            reply.outcome is Outcome.BLOCKED and any(verdict.policy == "personal-data" for verdict in reply.verdicts)
        ),
        "blocked by the policy personal-data",
    ),
    Scene(
        "A second tenant's bot answers from its own documents, on the same loaded model",
        "larkfield/faq",
        "What is the excess for water damage?",
        lambda reply: _cites(reply, "premiums.md", "500 EUR"),
        "a sentence of premiums.md with 500 EUR in it, cited",
    ),
)


@click.command("demo")
@click.option("--no-chat", is_flag=True, help="End after the scenes; exit code 1 if one of them fails.")
@click.option("--model", "model", default=None, metavar="PATH|URL", help="A GGUF file or an OpenAI-compatible server.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sartor-demo"),
    show_default=True,
    help="Where the demo's project is put.",
)
@run_async
async def command(no_chat: bool, model: str | None, directory: Path) -> None:
    """Watch two tailored bots answer, look up, refuse; then talk to one of them.

    The project that the demo runs stays in the folder, to look at and to play with.
    """
    from sartor.bots import open_project
    from sartor.cli.chat import talk
    from sartor.cli.ingest import ingest
    from sartor.cli.render import console

    _prepare(directory, model)
    async with open_project(directory) as bots:
        console.print(f"[dim]The project is in {directory}/; its model is[/] {bots.project.spec.model}[dim].[/]\n")
        for bot_id in bots:
            await ingest(bots.knowledge(bot_id), bot_id)
        with console.status("[dim]loading the model…[/]"):
            await bots.start(SCENES[0].bot)
        failed = [scene for scene in SCENES if not await _play(bots, scene)]
        console.print()
        told = f"{len(failed)} of {len(SCENES)} scenes did not come out as expected"
        if failed and no_chat:
            raise RunError(told)
        console.print(f"[yellow]{told}.[/]" if failed else f"[green]All {len(SCENES)} scenes came out as expected.[/]")
        if not no_chat:
            console.print(
                "\n[bold]Now you.[/] [dim]Ask about delivery, returns, repairs, or an order BW-1042 to BW-1051.[/]"
            )
            await talk(bots[SCENES[0].bot])
        console.print(_further(directory))


def _further(directory: Path) -> RenderableType:
    """What one may do next."""
    from rich.console import Group
    from rich.table import Table

    table = Table.grid(padding=(0, 0, 0, 2))
    for command, what in (
        (f"sartor chat larkfield/faq -p {directory}", "talk to the other bot"),
        (f"sartor show brightwater/support -p {directory}", "where each setting comes from"),
        (f"sartor test -p {directory}", "hold the conversation tests"),
        (f"sartor serve -p {directory}", "then open http://127.0.0.1:8000/chat/brightwater/support"),
        ("sartor new TENANT", "make your own"),
    ):
        table.add_row(command, f"[dim]{what}[/]")
    return Group("\n[dim]Go on with[/]", table)


def _prepare(directory: Path, model: str | None) -> None:
    """Copy the demo's project to `directory` (files that are there stay), speaking with `model`."""
    made = directory / "sartor.yaml"
    if directory.exists() and any(directory.iterdir()):
        first = made.read_text(encoding="utf-8").partition("\n")[0] if made.is_file() else ""
        if first != _HEAD:
            raise UsageError(
                f"{directory} holds something else than the demo", remedy="Name another folder with --directory."
            )
    source = importlib.resources.files("sartor_templates") / "demo"
    with importlib.resources.as_file(source) as files:
        for file in sorted(files.rglob("*")):
            target = directory / file.relative_to(files)
            if file.is_file() and "__pycache__" not in file.parts and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        if model is not None:
            (directory / "sartor.yaml").write_text(_project_file(model), encoding="utf-8")
        else:
            shutil.copyfile(files / "sartor.yaml", directory / "sartor.yaml")


def _project_file(model: str) -> str:
    if model.startswith(("http://", "https://")):
        url, _, name = model.partition("#")
        entry = {"plugin": "openai", "url": url, "model": name or "default"}
    else:
        path = Path(model).resolve()
        if not path.is_file():
            raise UsageError(f"there is no model file {model}", remedy="Name a .gguf file, or a server's URL.")
        entry = {"plugin": "llama", "path": str(path)}
    return f"{_HEAD}\n" + yaml.safe_dump({"model": "given", "models": {"given": entry}}, sort_keys=False)


async def _play(bots: Bots, scene: Scene) -> bool:
    from rich.rule import Rule

    from sartor.cli.render import citations, console, footer, tool_line, visible

    console.print()
    console.print(Rule(style="dim"))
    console.print(f"[bold]{scene.title}[/]  [dim]{scene.bot}[/]\n")
    console.print(f"[green bold]you[/]  {scene.question}")
    with console.status("[dim]thinking…[/]"):
        reply = await bots[scene.bot].reply(scene.question, user="demo")
    for use in reply.tools:
        console.print(tool_line(use))
    console.print("[cyan bold]bot[/]  ", end="")
    console.print(visible(reply.text), markup=False, soft_wrap=not console.is_terminal)
    for line in citations(reply):
        console.print(line)
    console.print(footer(reply))
    good = scene.holds(reply)
    if not good:
        console.print(f"  [red]✗ expected {scene.expected}[/]")
    return good
