"""`sartor show`: the effective bot, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import SpecError

if TYPE_CHECKING:
    from rich.text import Text

    from sartor.project import EffectiveBot
    from sartor.values import JSONValue
    from sartor.yamlfile import KeyPath

__all__ = ["command"]

_COLOURS = {"operator": "blue", "tenant": "green"}


@click.command("show")
@click.argument("bot")
@click.option("--json", "as_json", is_flag=True, help="Print the effective bot as JSON, without origins.")
@click.option("--all", "everything", is_flag=True, help="Print defaults, too.")
@project_option
def command(bot: str, as_json: bool, everything: bool, project: Path | None) -> None:
    """Show BOT (TENANT/BOT) as it is after all layers: each value with the file and line that it comes from.

    Blue is the operator's word (template, sartor.yaml), green the tenant's.
    """
    from sartor.project import Project

    found = Project(find_project(project))
    effective = found.bot(bot)
    data = effective.spec.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return

    from sartor.cli.render import console

    shown = data if everything else {key: value for key, value in data.items() if key in effective.merged.data}
    for line in _lines(effective, shown, (), str(found.directory), everything=everything):
        console.print(line, soft_wrap=True)


def _lines(
    effective: EffectiveBot, data: dict[str, JSONValue], key: KeyPath, root: str, *, everything: bool
) -> Iterator[Text]:
    for name, value in data.items():
        yield from _entry(effective, f"{_scalar(name)}: ", value, (*key, name), root, everything=everything)


def _entry(
    effective: EffectiveBot, head: str, value: JSONValue, key: KeyPath, root: str, *, everything: bool
) -> Iterator[Text]:
    """A value as lines of YAML, with its origin as a comment where a file says it."""
    from rich.text import Text

    written = key in effective.merged.sources
    if not written and not everything and not _below(effective, key):
        return
    indent = "  " * (len(key) - 1)
    if isinstance(value, dict) and value:
        yield Text.assemble(indent, (head.rstrip(), "cyan"))
        yield from _lines(effective, value, key, root, everything=everything)
    elif isinstance(value, list) and value:
        yield Text.assemble(indent, (head.rstrip(), "cyan"))
        for at, item in enumerate(value):
            yield from _entry(effective, "- ", item, (*key, at), root, everything=everything)
    else:
        yield Text.assemble(indent, (head, "cyan"), _scalar(value), "  ", _origin(effective, key, root))


def _scalar(value: JSONValue) -> str:
    """A value on one line of YAML: a text as it is where that reads the same, in quotes elsewhere."""
    from sartor.yamlfile import parse_yaml

    if isinstance(value, str):
        try:
            if parse_yaml(f"k: {value}", Path()).data == {"k": value}:
                return value
        except SpecError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _below(effective: EffectiveBot, key: KeyPath) -> bool:
    return any(known[: len(key)] == key for known in effective.merged.sources)


def _origin(effective: EffectiveBot, key: KeyPath, root: str) -> tuple[str, str]:
    source = effective.source(key)
    place = source.place.replace(f"{root}/", "")
    if effective.template:
        place = place.replace(str(effective.template.directory), effective.template.reference)
    if key[:1] == ("instructions",) and key[1:] and int(key[1]) < effective.public:
        place += ", public"
    return f"# {place}", "dim" if place == "default" else f"dim {_COLOURS[source.origin.value]}"
