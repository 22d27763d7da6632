"""`sartor new`: a tenant's bot from a template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import TemplateError, UsageError

if TYPE_CHECKING:
    from sartor.spec import ValueSpec
    from sartor.templates import Template
    from sartor.values import JSONValue

__all__ = ["command"]


@click.command("new")
@click.argument("tenant")
@click.option("-t", "--template", "reference", default="support", show_default=True, help="See `sartor templates`.")
@click.option("-b", "--bot", default=None, help="The bot's name. Default: the template's.")
@click.option("-s", "--set", "given", multiple=True, metavar="KEY=VALUE", help="A value that the template asks for.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take the defaults for what --set does not give.")
@project_option
def command(
    tenant: str, reference: str, bot: str | None, given: tuple[str, ...], yes: bool, project: Path | None
) -> None:
    """Make a bot for TENANT from a template. In a folder that is no project yet, a project is made."""
    from sartor.names import check_name
    from sartor.scaffold import make_bot, make_project
    from sartor.templates import check_values, find_template

    root = find_project(project)
    check_name("tenant", tenant)
    template = find_template(reference, root)
    name = check_name("bot", bot or template.spec.name)
    if (root / "tenants" / tenant / name).exists():
        raise UsageError(f"the bot {tenant}/{name} exists", remedy="Choose another name with --bot.")
    values = _values(template, given, ask=not yes)
    check_values(template, values)
    if make_project(root):
        click.echo(f"made the project {root / 'sartor.yaml'}")
    made = make_bot(root, tenant, name, template, values)
    click.secho(f"made {made.bot_id} from {template.reference}", fg="green", bold=True)
    for path in made.files:
        click.echo(f"  {path}")
    click.echo(
        "\nNext:\n"
        f"  put documents into {(made.directory / 'knowledge').relative_to(root)}/ "
        "(Markdown, HTML, PDF, DOCX, CSV, text)\n"
        f"  sartor ingest {made.bot_id}\n"
        f"  sartor chat {made.bot_id}"
    )


def _values(template: Template, given: tuple[str, ...], *, ask: bool) -> dict[str, JSONValue]:
    values: dict[str, JSONValue] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} has no value", remedy="Write --set KEY=VALUE.")
        values[name.strip()] = value
    for name, question in template.spec.values.items():
        if ask and name not in values:
            values[name] = _ask(name, question)
    return values


def _ask(name: str, question: ValueSpec) -> JSONValue:
    from sartor.templates import parse_value

    hint = f" (such as {question.example})" if question.example and question.default is None else ""
    choices = f" [{'/'.join(question.choices)}]" if question.choices else ""
    while True:
        answer = click.prompt(f"{question.ask}{hint}{choices}", default=question.default, type=str)
        try:
            return parse_value(name, question, str(answer))
        except TemplateError as error:
            click.secho(f"  {error.what}", fg="red", err=True)
