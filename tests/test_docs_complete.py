"""Nothing is left out of the documentation: each hook has its section, a page that implements it, and a test; each
command has a page that shows it; each route of the service and each policy is listed."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
import textwrap
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from sartor import hookspecs
from sartor.cli import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HOOKS = [name for name in vars(hookspecs) if name.startswith("sartor_")]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return list(found)


def implemented(code: str) -> set[str]:
    """The hooks that Python code implements, also in texts inside it that are Python."""
    try:
        tree = ast.parse(textwrap.dedent(code))
    except SyntaxError:
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("hookimpl" in ast.unparse(mark) for mark in node.decorator_list):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "def sartor_" in node.value:
            found |= implemented(node.value)
    return found


def first_party_hooks() -> dict[str, set[str]]:
    """The hooks of each first-party plugin that has tests."""
    found = {}
    for point in entry_points(group="sartor.plugins"):
        module = point.value.partition(":")[0]
        name = module.removeprefix("sartor_plugins.").partition(".")[0]
        if module.startswith("sartor_plugins.") and list((ROOT / "tests/plugins").glob(f"test_{name}*")):
            plugin = point.load()
            found[point.name] = {hook for hook in HOOKS if hasattr(getattr(plugin, hook, None), "sartor_impl")}
    return found


IN_TESTS = {hook for file in (ROOT / "tests").rglob("test_*.py") for hook in implemented(file.read_text("utf-8"))}
IN_PLUGINS = {hook for hooks in first_party_hooks().values() for hook in hooks}
ON_PAGES = {
    hook for page in DOCS.glob("how-to/*.md") for block in blocks(page, "python") for hook in implemented(block)
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_section_a_page_and_a_test(hook):
    assert f"\n### {hook}\n" in (DOCS / "reference/hooks.md").read_text("utf-8"), "run: python docs/generate.py"
    assert hook in ON_PAGES, f"no page of docs/how-to implements {hook} in a ```python block"
    assert hook in IN_TESTS | IN_PLUGINS, f"no test implements {hook}, and no plugin with a test does"


def test_what_counts_as_implementing_a_hook():
    assert implemented("class A:\n    @hookimpl\n    def sartor_a(self): ...\n") == {"sartor_a"}
    assert implemented("class A:\n    @sartor.hookimpl(tryfirst=True)\n    def sartor_a(self): ...\n") == {"sartor_a"}
    assert implemented('TEXT = """\n    class A:\n        @hookimpl\n        def sartor_b(self): ...\n"""') == {
        "sartor_b"
    }
    assert implemented("# @hookimpl def sartor_a\nclass A:\n    def sartor_a(self): ...\nB = 'def sartor_b('") == set()


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    """The full names of all commands below a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def shown(pages: list[Path]) -> set[str]:
    """The commands of `sartor` that console blocks show: with one word, and with two."""
    found = set()
    for page in pages:
        for block in blocks(page, "console"):
            for line in re.findall(r"^\$ sartor (.+)$", block, re.MULTILINE):
                words = shlex.split(line, comments=True)
                found |= {words[0], " ".join(words[:2])}
    return found


SHOWN = shown([ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if "reference" not in page.parts)])


@pytest.mark.parametrize("command", list(commands(cli)))
def test_a_command_is_on_a_page(command):
    assert command in SHOWN, f"no page shows `sartor {command}` in a ```console block"


def script(name: str):
    """A script of `docs/`."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_route_is_on_the_page_with_who_may_ask():
    script("generate")  # so that its neighbours are found
    from sartor.server import app

    page = (DOCS / "reference/http.md").read_text(encoding="utf-8")
    routes = [(method, route.path) for router in app._ROUTERS for route in router.routes for method in route.methods]
    assert len(routes) > 30
    for method, written in routes:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", written)
        (section,) = re.findall(rf"^### [A-Z or]*\b{method}\b[A-Z or]* {re.escape(path)}\n(.*?)^#", page, re.M | re.S)
        assert re.search(r"^Needs (no key|an API key with the scope `\w+`|a session, or an API key)", section, re.M), (
            path
        )
    for path, needed in {
        "POST /v1/documents": "an API key with the scope `documents`",
        "POST /v1/turns": "a session, or an API key with the scope `chat`",
        "GET /v1/turns/{turn}": "a session, or an API key",
        "POST /v1/sessions": "no key",
    }.items():
        assert re.search(rf"^### {re.escape(path)}\n\n[^#]*^Needs {needed}\.$", page, re.M), path


def test_every_first_party_policy_is_on_the_page():
    page = (DOCS / "reference/policies.md").read_text(encoding="utf-8")
    names = [
        point.name
        for point in entry_points(group="sartor.plugins")
        if point.value.startswith("sartor_plugins.") and inspect.getattr_static(point.load(), "sartor_policies", None)
    ]
    assert {"personal-data", "topics"} <= set(names) and all(f"\n### {name}\n" in page for name in names)
