"""How model files look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from sartor.cli.render import console

if TYPE_CHECKING:
    from rich.progress import Progress

    from sartor.modelfile import ModelFacts, ModelFile

__all__ = ["bytes_bar", "count", "described", "hashed", "tokens", "tried", "yaml_lines"]


def count(number: int | None) -> str:
    """Weights as people say them: 494M, 7.2B."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number is not None and number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number or "")


def tokens(number: int | None) -> str:
    """A context length: 4096 as 4k."""
    return "" if number is None else f"{number // 1024}k" if number >= 1024 and number % 1024 == 0 else str(number)


def described(facts: ModelFacts, size: int) -> Text:
    """A model file on one line."""
    kinds = {"chat": "chat model", "embeddings": "embedding model", "adapter": "LoRA adapter", "ranking": "reranker"}
    weights = f"{count(facts.parameters)} parameters" if facts.parameters else ""
    reads = f"reads {tokens(facts.context)} tokens" if facts.context else ""
    told = [kinds.get(facts.kind, facts.kind), facts.architecture, weights, facts.quantization, reads, decimal(size)]
    return Text(" · ".join(filter(None, told)), "dim")


@contextmanager
def bytes_bar() -> Iterator[Progress]:
    """A progress bar for bytes: how much, how fast, how long still."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def hashed(path: Path, told: str = "checking") -> str:
    """The SHA-256 of the model at `path`, with a progress bar; remembered beside the file."""
    from rich.markup import escape

    from sartor.modelfile import Notes, digest, parts, size_of

    notes = Notes(path)
    with bytes_bar() as progress:
        task = progress.add_task(f"[bold]{told}[/] {escape(path.name)}", total=size_of(path))
        step: Callable[[int], None] = lambda size: progress.advance(task, size)  # noqa: E731
        found = digest(parts(path), step)
    notes.add(sha256=found)
    return found


def yaml_lines(lines: list[str]) -> None:
    """Lines for a YAML file, coloured, such that they can be copied."""
    for line in lines:
        name, colon, value = line.partition(":")
        console.print(Text.assemble("  ", (name + colon, "cyan"), value), soft_wrap=True)


def tried(file: ModelFile) -> None:
    """Let the plugin load the file away from this process. Raises `ModelError` when it does not load."""
    if file.trial is not None:
        with console.status("[dim]trying it out in another process…[/]"):
            file.trial()
