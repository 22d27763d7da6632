"""Templates: where they are found, what they ask, and how a bot's values answer.

A template is a folder ``NAME@MAJOR`` with `template.yaml` (name, version, the values it asks for) and
`bot.yaml` (the lowest layer of every bot made from it). It stays where it is: a bot names it and holds only
what differs. Folders are looked for in the project's `templates/`, then in the packages behind the
entry-point group ``sartor.templates``; nothing of a package is imported for that.
"""

from __future__ import annotations

import difflib
import importlib.util
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from sartor.errors import SpecError, TemplateError
from sartor.layers import Layer, merge
from sartor.spec import TemplateSpec, ValueSpec, check
from sartor.specbase import known_timezone
from sartor.values import JSONValue, Origin
from sartor.yamlfile import YamlFile, read_yaml

__all__ = ["Template", "check_values", "find_template", "list_templates", "parse_value"]

GROUP = "sartor.templates"


@dataclass(frozen=True)
class Template:
    """A template on disk."""

    reference: str
    """``NAME@MAJOR``, as `bot.yaml` names it."""
    directory: Path

    @cached_property
    def spec(self) -> TemplateSpec:
        """Its `template.yaml`. Raises `SpecError` or `TemplateError`."""
        file = read_yaml(self.directory / "template.yaml")
        spec = check(TemplateSpec, merge([Layer(file, Origin.OPERATOR, file.data)]), str(file.path))
        if self.reference != f"{spec.name}@{spec.version.partition('.')[0]}":
            raise TemplateError(
                f"is version {spec.version} of {spec.name!r}, but its folder is called {self.reference!r}",
                where=str(file.path),
                remedy=f"Call the folder {spec.name}@{spec.version.partition('.')[0]}.",
            )
        return spec

    @cached_property
    def bot(self) -> YamlFile:
        """Its `bot.yaml`."""
        return read_yaml(self.directory / "bot.yaml")

    @cached_property
    def public(self) -> tuple[str, ...]:
        """The first paragraphs of its instructions, as far as they are the same for every tenant, where it says that
        these are public. Raises `TemplateError` where it says so of none."""
        if not self.spec.public_instructions:
            return ()
        told = self.bot.data.get("instructions", [])
        texts = [text for text in (told if isinstance(told, list) else [told]) if isinstance(text, str)]
        paragraphs = tuple(itertools.takewhile(lambda text: "${" not in text, texts))
        if not any(text.strip() for text in paragraphs):
            raise TemplateError(
                f"{self.reference} says `public_instructions`, but "
                + ("its instructions begin with a value" if texts else "has no instructions"),
                where=self.bot.place(("instructions",)),
                remedy="Put what is the same for every tenant into paragraphs before those with a ${value}.",
            )
        return paragraphs


def list_templates(project: Path | None = None) -> list[Template]:
    """All templates in reach, by name; the project's own hide those of the same reference in packages."""
    found: dict[str, Template] = {}
    for root in _roots(project):
        for file in sorted(root.glob("*@*/template.yaml")):
            found.setdefault(file.parent.name, Template(file.parent.name, file.parent))
    return [found[reference] for reference in sorted(found)]


def find_template(reference: str, project: Path | None = None, *, where: str | None = None) -> Template:
    """The template ``NAME@MAJOR``, or the newest of ``NAME``. Raises `TemplateError` naming what there is."""
    known = {template.reference: template for template in list_templates(project)}
    if reference in known:
        return known[reference]
    majors = [name for name in known if name.partition("@")[0] == reference and name.partition("@")[2].isdigit()]
    if majors:
        return known[max(majors, key=lambda name: int(name.partition("@")[2]))]
    close = difflib.get_close_matches(reference, [*known, *(name.partition("@")[0] for name in known)], n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise TemplateError(
        f"there is no template {reference!r}",
        where=where,
        remedy=f"{hint}Templates: {', '.join(known) or 'none'} (see `sartor templates`).",
    )


def check_values(
    template: Template, given: Mapping[str, JSONValue], *, place: Callable[[str], str | None] = lambda name: None
) -> dict[str, JSONValue]:
    """`given` with the template's defaults filled in, each of the type that the template asks for.

    `place` tells where a value stands. Raises `TemplateError` for an unknown value, a missing one, or one of the
    wrong type, naming all of them.
    """
    asked = template.spec.values
    faults = {
        name: f"{name!r} is no value of {template.reference}"
        + (f" (did you mean {close[0]!r}?)" if (close := difflib.get_close_matches(name, asked, n=1)) else "")
        for name in given
        if name not in asked
    }
    values: dict[str, JSONValue] = {}
    for name, question in asked.items():
        if name in given:
            try:
                values[name] = parse_value(name, question, given[name])
            except TemplateError as error:
                faults[name] = error.what
        elif question.default is None:
            faults[name] = f"{name!r} is missing: {question.ask}"
        else:
            values[name] = parse_value(name, question, question.default)
    if faults:
        raise TemplateError(
            "; ".join(faults.values()),
            where=place(next(iter(faults))),
            remedy=f"{template.reference} takes: {', '.join(asked) or 'none'}.",
        )
    return values


def parse_value(name: str, question: ValueSpec, given: JSONValue) -> JSONValue:
    """`given` (typed, or text from a command line) as the type of `question`. Raises `TemplateError`."""

    def wrong(what: str) -> TemplateError:
        example = f", such as {question.example}" if question.example else ""
        return TemplateError(f"{name!r} must be {what}{example}, not {given!r}")

    text = str(given).strip()
    if not text or isinstance(given, dict | list):
        raise wrong("a text")
    match question.type:
        case "boolean":
            words = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}
            if text.lower() not in words:
                raise wrong("yes or no")
            return words[text.lower()]
        case "integer" | "number":
            pattern = r"[-+]?[0-9]{1,18}" if question.type == "integer" else r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?"
            if not re.fullmatch(pattern, text):
                raise wrong("a whole number" if question.type == "integer" else "a number")
            return int(text) if question.type == "integer" else float(text)
        case "choice":
            if text not in question.choices:
                raise wrong(f"one of {', '.join(question.choices)}")
        case "email" | "url" | "timezone":
            holds, what = _KINDS[question.type]
            if not holds(text):
                raise wrong(what)
    return text


def _is_email(text: str) -> bool:
    local, at, host = text.rpartition("@")
    return bool(local and at and "." in host) and not any(c.isspace() for c in text)


def _is_timezone(text: str) -> bool:
    try:
        return bool(known_timezone(text))
    except ValueError:
        return False


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # such as "http://["
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c.isspace() for c in text)


_KINDS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "email": (_is_email, "an e-mail address"),
    "url": (_is_web_address, "a web address"),
    "timezone": (_is_timezone, "a time zone"),
}
"""Kinds of texts: what a text must be, and how that is called."""


def _roots(project: Path | None) -> Iterator[Path]:
    if project is not None and (project / "templates").is_dir():
        yield project / "templates"
    yield from _package_roots()


@cache
def _package_roots() -> tuple[Path, ...]:
    """The folders of the template packages. What is installed does not change while a process runs."""
    roots: list[Path] = []
    for point in entry_points(group=GROUP):
        try:
            found = importlib.util.find_spec(point.value)
        except (ImportError, ValueError) as error:
            raise SpecError(f"the template package {point.value!r} cannot be found", where=point.name) from error
        if found is not None:
            roots += map(Path, found.submodule_search_locations or ())
    return tuple(roots)
