"""The documentation's blocks in languages that are not our own: each is read by what it is written for."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import click
import pytest
import sartor
from sartor.cli import cli
from sartor.server import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "templates").rglob("*.md"))]
WIDGET = "".join(
    file.read_text("utf-8")
    for file in sorted((ROOT / "framework/sartor/server/static/widget").iterdir())
    if file.suffix in (".js", ".css")
)
CHECKED = {
    "python": "test_docs.py: test_python_compiles",
    "yaml": "test_docs.py: test_yaml_validates",
    "console": "test_docs.py: test_commands_are_known_to_the_command_line",
    "markdown": "test_docs.py: test_the_tutorial_runs",
    "nginx": "server/test_nginx.py: test_nginx_reads_the_settings",
    "sql": "test_docs_snippets.py: test_sql_makes_a_database_that_sartor_uses",
    "json": "test_docs_snippets.py: test_json_is_read",
    "toml": "test_docs_snippets.py: test_toml_is_read",
    "ini": "test_docs_snippets.py: test_systemd_knows_the_unit",
    "caddy": "test_docs_snippets.py: test_caddy_reads_the_settings",
    "sh": "test_docs_snippets.py: test_shell_asks_routes_that_exist",
    "html": "test_docs_snippets.py: test_html_names_what_the_widget_reads",
    "css": "test_docs_snippets.py: test_css_sets_what_the_widget_reads",
    "js": "test_docs_snippets.py: test_node_reads_the_script",
    "mermaid": "test_docs_snippets.py: test_a_chart_has_arrows_between_named_boxes",
    "text": "test_docs_snippets.py: test_text_is_no_language",
}
"""The test that reads the blocks of a language."""


def blocks(language: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            name = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            found.append(pytest.param(match[1], id=name))
    return found


def languages(text: str) -> set[str]:
    """What the fences of a page say, at the start of each block."""
    return set(re.findall(r"^ *(?:```|~~~)([^\n]*)$", text, re.MULTILINE)[::2])


def test_a_test_reads_every_language():
    unknown = {
        f"{page.relative_to(ROOT)}: {language or 'no language'}"
        for page in PAGES
        for language in languages(page.read_text(encoding="utf-8")) - set(CHECKED)
    }
    assert unknown == set()
    for test in CHECKED.values():
        file, name = test.split(": ")
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE), test
    assert languages("```cobol\nMOVE\n```\n~~~\na\n~~~\n") == {"cobol", ""}


@pytest.mark.parametrize("text", blocks("text"))
def test_text_is_no_language(text):
    """Settings, code and commands are in their own language, so that a test reads them."""
    assert not re.search(r"^(?:curl|import|SELECT|CREATE|<\w|\[\w+\]$|\$ )|[;{]$", text, re.MULTILINE)


async def test_sql_makes_a_database_that_sartor_uses(postgres_server, make_project):
    import asyncpg

    (param,) = blocks("sql")
    name = f"s{uuid4().hex}"
    sql = re.sub(r"\bsartor\b", name, str(param.values[0])).replace("…", "secret")
    connection = await asyncpg.connect(f"{postgres_server}/postgres")
    for statement in filter(str.strip, sql.split(";")):
        await connection.execute(statement)
    await connection.close()
    root = make_project({"tenants/acme/support/bot.yaml": "title: Acme\n"}, script=["Two days."])
    place = postgres_server.partition("@")[2]
    with (root / "sartor.yaml").open("a", encoding="utf-8") as file:
        file.write(f"state: postgresql://{name}:secret@{place}/{name}\n")
    async with sartor.open(root) as bots:
        assert (await bots["acme/support"].reply("How long?", user="u-1")).text == "Two days."


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_read(text):
    assert json.loads(text)


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_is_read(text):
    assert tomllib.loads(text)["project"]["entry-points"]["sartor.plugins"]


@pytest.mark.parametrize("text", blocks("ini"))
def test_systemd_knows_the_unit(text, tmp_path):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    program, command, *arguments = unit["Service"]["ExecStart"].split()
    assert Path(program).name == "sartor" and Path(unit["Service"]["WorkingDirectory"]).is_absolute()
    made = cli.get_command(click.Context(cli), command)
    assert made is not None and made.make_context(command, arguments, resilient_parsing=False)
    assert int(unit["Service"]["TimeoutStopSec"]) > 30 + 10, "it stops no later than turns may go on"
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    file = tmp_path / "sartor.service"
    file.write_text(text.replace(program, sys.executable), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(file) in line or file.name in line] == []


@pytest.mark.parametrize("text", blocks("caddy"))
def test_caddy_reads_the_settings(text, tmp_path):
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not on this machine")
    file = tmp_path / "Caddyfile"
    file.write_text(text, encoding="utf-8")
    subprocess.run(["caddy", "validate", "--adapter", "caddyfile", "--config", file], check=True)


@pytest.mark.parametrize("text", blocks("sh"))
def test_shell_asks_routes_that_exist(text):
    subprocess.run(["bash", "-n", "-c", text], check=True)
    asked = re.findall(r"http://127\.0\.0\.1:8000(/[\w/]+)", text)
    routes = {route.path for router in app._ROUTERS for route in router.routes}
    assert asked and set(asked) <= routes
    for body in re.findall(r"-d '(.*?)'", text, re.DOTALL):
        json.loads(body)


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.mark.parametrize("text", blocks("html"))
def test_html_names_what_the_widget_reads(text):
    tags = Tags(text)
    assert tags.open == []
    assert any((attributes.get("src") or "").endswith("/widget.js") for _, attributes in tags.found)
    for tag, attributes in tags.found:
        assert "-" not in tag or f'define("{tag}"' in WIDGET, tag
        for name in attributes:
            told = name.removeprefix("data-")
            assert not name.startswith("data-") or re.search(rf"""["'.]{told}\b|data-{told}\b""", WIDGET), name


@pytest.mark.parametrize("text", blocks("css"))
def test_css_sets_what_the_widget_reads(text):
    names = re.findall(r"(--[\w-]+):", text)
    assert names and [name for name in names if f"var({name}" not in WIDGET] == []


@pytest.mark.parametrize("text", blocks("js"))
def test_node_reads_the_script(text, tmp_path):
    for event in re.findall(r'"sartor:(\w+)"', text):
        assert f"sartor:{event}" in WIDGET or f'"{event}"' in WIDGET, event
    for method in re.findall(r"\bchat\.(\w+)(?:\(| =)", text):
        assert method == "addEventListener" or re.search(rf"\b{method}\b", WIDGET), method
    if shutil.which("node") is None:
        pytest.skip("node is not on this machine")
    file = tmp_path / "script.mjs"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("mermaid"))
def test_a_chart_has_arrows_between_named_boxes(text):
    first, *lines = text.strip().splitlines()
    assert re.fullmatch(r"flowchart (LR|TD)", first)
    box = r"\w+(?:\(\[[^\]]+\]\)|\[[^\]]+\]|\{[^}]+\})?"
    assert lines and [line for line in lines if not re.fullmatch(rf" *{box} -->(?:\|[^|]+\|)? {box}", line)] == []
