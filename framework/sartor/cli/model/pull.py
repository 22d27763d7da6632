"""`sartor model pull`: a model from a hub into the project's models folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import DiskError, ModelError, UsageError

if TYPE_CHECKING:
    from sartor.hub import HubFile, Offer, Repository
    from sartor.inventory import Inventory
    from sartor.modelfile import ModelFacts
    from sartor.values import JSONValue

__all__ = ["command"]


@click.command("pull")
@click.argument("model", metavar="REPO[:FILE|:QUANT]")
@click.option("--use", "name", default=None, metavar="NAME", help="Let bots speak with it, as NAME in sartor.yaml.")
@click.option("--revision", default=None, metavar="REV", help="A branch, tag or commit. Default: the main branch.")
@project_option
def command(model: str, name: str | None, revision: str | None, project: Path | None) -> None:
    """Pull a GGUF model from a Hugging Face hub, and print the lines for sartor.yaml with its SHA-256 pinned.

    REPO is OWNER/NAME; after a colon, a file of it or a quantization says which of several models is meant, such as
    `OWNER/NAME:Q4_K_M`. Models that are split into several files come whole. What was interrupted goes on where it
    stopped. HF_ENDPOINT and HF_TOKEN are respected.
    """
    from sartor import hub
    from sartor.cli.model.show import described, tried
    from sartor.cli.render import console
    from sartor.inventory import Inventory
    from sartor.project import Project

    inventory = Inventory(Project(find_project(project)))
    if name is not None:
        _check_free(inventory, name)
    inventory.look(inventory.folder)  # is the plugin there that will read the file?
    wanted, _, selector = model.partition(":")
    with console.status(f"[dim]looking at {wanted}…[/]"):
        repository = hub.look(wanted, revision)
    offer = hub.choose(repository, selector)
    path, sha256 = _bring(inventory, repository, offer)
    file = inventory.look(path)
    facts = file.look()
    console.print(described(facts, offer.size))
    console.print(f"[dim]sha256 {sha256}[/]", soft_wrap=True)
    tried(file)
    entry: dict[str, JSONValue] = {"path": inventory.shown(path), "sha256": sha256}
    _tell(inventory, facts, entry, name, repository)


def _bring(inventory: Inventory, repository: Repository, offer: Offer) -> tuple[Path, str]:
    """The model in the models folder, found there or pulled, and its SHA-256."""
    from rich.markup import escape

    from sartor.cli.model.show import hashed
    from sartor.cli.render import console
    from sartor.modelfile import Notes

    targets = [inventory.folder / file.base for file in offer.files]
    head = f"[bold]{escape(offer.name)}[/]  [dim]{escape(repository.name)} at {repository.commit[:8]}[/]"
    if _there(offer, targets):
        console.print(f"[green]✓[/] {head}  [dim]is there already[/]")
        return targets[0], hashed(targets[0])
    arrived = _download(inventory.folder, repository, offer)
    if len(arrived) > 1:  # a split model can be read only under its own names
        named = [part.with_name(target.name) for part, target in zip(arrived, targets, strict=True)]
        _move(arrived, named)
        arrived = named
    try:
        inventory.look(arrived[0]).look()
    except ModelError as error:
        for part in arrived:
            part.unlink(missing_ok=True)
        remedy = "It was deleted. The hub has it like that: choose another file or repository."
        raise ModelError(error.what, where=f"{repository.name}: {offer.name}", remedy=remedy) from error
    _move(arrived, targets)
    console.print(f"[green]✓[/] {head} → [cyan]{escape(inventory.shown(targets[0]))}[/]")
    known = offer.files[0].sha256 if len(targets) == 1 else None
    if known is None:
        return targets[0], hashed(targets[0])
    Notes(targets[0]).add(sha256=known)
    return targets[0], known


def _there(offer: Offer, targets: Sequence[Path]) -> bool:
    """Whether all files are in the folder. Raises `UsageError` when another file has the name of one."""
    from sartor.modelfile import digest

    for file, target in zip(offer.files, targets, strict=True):
        if not target.exists():
            continue
        same = target.is_file() and target.stat().st_size == file.size
        if not same or (file.sha256 is not None and digest([target]) != file.sha256):
            raise UsageError(
                "another file of this name is there",
                where=str(target),
                remedy=f"Rename it (and its `path` in sartor.yaml), or remove it: sartor model remove {target.name}",
            )
    return all(target.exists() for target in targets)


def _download(folder: Path, repository: Repository, offer: Offer) -> Sequence[Path]:
    from rich.markup import escape

    from sartor.cli.model.show import bytes_bar
    from sartor.hubfiles import download

    with bytes_bar() as progress:
        tasks = {
            file.name: progress.add_task(f"[bold]pulling[/] {escape(file.base)}", total=file.size or None, start=False)
            for file in offer.files
        }

        def watch(file: HubFile, doing: str, done: int) -> None:
            progress.start_task(tasks[file.name])
            progress.update(tasks[file.name], completed=done, description=f"[bold]{doing}[/] {escape(file.base)}")

        try:
            return download(repository, offer, folder, watch)
        except KeyboardInterrupt:
            progress.console.print("[yellow]Interrupted.[/] [dim]What has arrived is kept: pull again to go on.[/]")
            raise


def _move(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Move files to their places, the first one last: once it is there, all of them are."""
    try:
        for source, target in reversed(list(zip(sources, targets, strict=True))):
            os.replace(source, target)
    except OSError as error:
        raise DiskError(f"cannot be moved into its place: {error.strerror}", where=str(targets[0])) from error


def _check_free(inventory: Inventory, name: str) -> None:
    """Raises `UsageError` when `name` cannot be that of a new model."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UsageError(f"{name!r} cannot be the name of a model", remedy="Use letters, digits, hyphens and dots.")
    if name in inventory.project.spec.models:
        raise UsageError(
            f"there is a model {name!r} already",
            where=inventory.project.file.place(("models", name)),
            remedy="Choose another name for --use, or take that entry out.",
        )


def _tell(
    inventory: Inventory, facts: ModelFacts, entry: dict[str, JSONValue], name: str | None, repository: Repository
) -> None:
    """Print the lines for `sartor.yaml`, or write them."""
    from sartor.cli.model.show import yaml_lines
    from sartor.cli.render import console
    from sartor.inventory import FILE_PLUGIN, VECTORS_PLUGIN
    from sartor.yamledit import change_file, lines_of

    lines: JSONValue
    file = inventory.project.file
    if facts.kind == "embeddings":
        lines, why = {"embeddings": {"plugin": VECTORS_PLUGIN, **entry}}, "an embedding model: indexes are made anew"
    elif facts.kind == "chat":
        shown = name or _slug(repository.name)
        lines, why = {"model": shown, "models": {shown: {"plugin": FILE_PLUGIN, **entry}}}, ""
    else:
        lines, why = entry, f"of the kind {facts.kind!r}, and no model to speak with"
    if name is None or why:
        console.print(f"\n[dim]For[/] {file.path.name}[dim]:[/]\n")
        yaml_lines(lines_of(lines))
        if name is not None:
            raise UsageError(f"--use cannot write it: it is {why}", remedy="Put the lines above where they belong.")
        return
    new: dict[tuple[str, ...], JSONValue] = {("models", name): {"plugin": FILE_PLUGIN, **entry}}
    if "models" not in file.data:  # then the default entries are meant, and stay
        for known, use in inventory.project.spec.models.items():
            new["models", known] = {"plugin": use.plugin, **use.settings}
    change_file(file.path, {**new, ("model",): name})
    console.print(f"\n[dim]Written to[/] {file.path.name}[dim]; bots now speak with[/] [bold]{name}[/][dim]:[/]\n")
    yaml_lines(lines_of(lines))
    console.print("\n[dim]Try it:[/] sartor doctor --load")


def _slug(repository: str) -> str:
    """A name for the model of a repository."""
    name = re.sub(r"[-_.]?gguf$", "", repository.partition("/")[2], flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "local"
