"""`sartor doctor`: what is installed, and whether the project would start."""

from __future__ import annotations

import platform
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async
from sartor.errors import SartorError

if TYPE_CHECKING:
    from sartor.bots import Bots
    from sartor.project import Project

__all__ = ["command"]

Finding = tuple[str, str, str]
"""``ok``, ``warn`` or ``bad``; what was looked at; what was found."""

_PACKAGES = {
    "llama-cpp-python": "models in this process: pip install 'sartor[local]'",
    "huggingface-hub": "sartor model pull: pip install 'sartor[local]'",
    "chromadb": "the embedded index: pip install 'sartor[local]'",
    "httpx": "models behind an API: pip install 'sartor[openai]'",
}


@click.command("doctor")
@click.option("--load", is_flag=True, help="Load the model, too.")
@project_option
@run_async
async def command(load: bool, project: Path | None) -> None:
    """Check the installation, and the project if there is one. Exit code 1 when something is wrong."""
    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}
    wrong = False
    root = find_project(project)
    findings = list(_installation(root))
    if (root / "sartor.yaml").is_file() or project is not None:
        findings += [finding async for finding in _project(root, load=load)]
    else:
        findings.append(("warn", "project", "none here; make one: sartor new TENANT --template support"))
    for state, what, found in findings:
        mark, colour = marks[state]
        first, *rest = found.splitlines() or [""]
        click.echo(f"{click.style(mark, fg=colour)} {what:<24} {first}")
        for line in rest:
            click.echo(f"  {'':<24} {line.strip()}")
        wrong = wrong or state == "bad"
    if wrong:
        raise SystemExit(1)


def _installation(root: Path) -> Iterator[Finding]:
    yield "ok", "sartor", f"{version('sartor')} on Python {platform.python_version()}"
    for package, remedy in _PACKAGES.items():
        try:
            yield "ok", package, version(package)
        except PackageNotFoundError:
            yield "warn", package, f"not installed ({remedy})"
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1024**3
    yield ("ok" if free > 1 else "warn"), "disk", f"{free:.1f} GiB free"


async def _project(root: Path, *, load: bool) -> AsyncIterator[Finding]:
    from sartor.bots import open_project

    try:
        async with open_project(root) as bots:
            yield "ok", "sartor.yaml", str(root)
            yield "ok", "state", bots.project.spec.state
            for bot_id in bots:
                yield _try(bot_id, partial(_bot, bots, bot_id))
                for finding in await _plugins(bots, bot_id):
                    yield finding
            yield _try(
                f"model {bots.project.spec.model}", lambda: f"{type(bots.model()).__name__}, not loaded (--load does)"
            )
            for finding in _files(bots.project):
                yield finding
            if load and len(bots):
                await bots.start(next(iter(bots)))
                yield "ok", "model loads", bots.project.spec.model
    except SartorError as error:
        yield "bad", "project", str(error)


async def _plugins(bots: Bots, bot_id: str) -> Sequence[Finding]:
    """What the plugins of a bot say is wrong, though it could be built."""
    try:
        plugins = bots[bot_id].plugins
    except SartorError:
        return ()  # told already
    found: list[Finding] = []
    for plugin in plugins:
        try:
            told = await plugin.check()
        except Exception as error:
            told = [
                str(error) if isinstance(error, SartorError) else f"its check raised {type(error).__name__}: {error}"
            ]
        found += [("warn", f"{plugin.name} of {bot_id}", fault) for fault in told]
    return found


def _files(project: Project) -> Iterator[Finding]:
    """Each model file that `sartor.yaml` names: is it there, and pinned?"""
    from sartor.inventory import Inventory
    from sartor.modelfile import Notes

    inventory = Inventory(project)
    for item in inventory.named():
        what = f"file of {item.name}"
        if item.fault is not None:
            yield "bad", what, str(item.fault)
        if item.file is None or item.file.bundled:
            continue
        shown = inventory.shown(item.file.path)
        try:
            item.file.look()
        except SartorError as error:
            yield "bad", what, f"{shown}\n{error.what}\n{error.remedy or ''}".rstrip()
        else:
            pinned, found = item.file.sha256, Notes(item.file.path).read().get("sha256")
            if pinned is None:
                yield "warn", what, f"{shown}, not pinned: sartor model pin {item.name}"
            elif found is not None and found != pinned.lower():
                yield "bad", what, f"{shown} is not the file that was pinned\nsartor model verify {item.name}"
            else:
                yield "ok", what, f"{shown}, pinned"


def _bot(bots: Bots, bot_id: str) -> str:
    bot = bots[bot_id]
    bots.knowledge(bot_id)
    told = [bot.spec.template or "no template", f"{len(bot.tools)} tools", f"{len(bot.policies)} policies"]
    return ", ".join(told)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return "ok", what, look()
    except SartorError as error:
        return "bad", what, str(error)
