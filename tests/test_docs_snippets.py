"""What the docs say in other languages than Python, YAML and the shell's is checked by who reads that language."""

from __future__ import annotations

import asyncio
import configparser
import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from sartor.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
ELSEWHERE = {
    "python", "yaml", "console",  # test_docs
    "nginx",  # server/test_nginx
    "text", "markdown",  # to be read by people
    "mermaid",  # drawn by the site
}  # fmt: skip
BLOCKS = [
    pytest.param(language, text, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, (language, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
    if language not in ELSEWHERE
]


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_a_snippet_is_what_it_says(language, text, tmp_path, request):
    CHECKS[language](text, tmp_path, request)


def check_json(text: str, _folder: Path, _request: pytest.FixtureRequest) -> None:
    assert json.loads(text)


def check_toml(text: str, _folder: Path, _request: pytest.FixtureRequest) -> None:
    import tomllib

    assert tomllib.loads(text)


def check_js(text: str, folder: Path, _request: pytest.FixtureRequest) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    (folder / "snippet.mjs").write_text(text)
    subprocess.run([node, "--check", str(folder / "snippet.mjs")], check=True, capture_output=True)


WIDGET = (ROOT / "docs/how-to/put-on-a-page.md").read_text(encoding="utf-8")


def check_html(text: str, _folder: Path, _request: pytest.FixtureRequest) -> None:
    """Every element is closed, and every attribute of the chat is one that its page tells of."""
    opened: list[str] = []
    wrong: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            opened.append(tag)
            wrong.extend(name for name, _ in attributes if name.startswith("data-") and f"`{name}`" not in WIDGET)

        def handle_endtag(self, tag: str) -> None:
            if opened.pop() != tag:
                wrong.append(tag)

    reader = Reader()
    reader.feed(text)
    reader.close()
    assert (opened, wrong) == ([], [])


def check_css(text: str, _folder: Path, _request: pytest.FixtureRequest) -> None:
    """Every variable is one that the chat reads."""
    read = "".join(path.read_text() for path in (ROOT / "framework/sartor/server").rglob("*.[jc]*s*") if path.is_file())
    names = re.findall(r"(--[\w-]+):", text)
    assert names and not [name for name in names if f"var({name}" not in read]


def check_ini(text: str, _folder: Path, _request: pytest.FixtureRequest) -> None:
    """A unit of systemd, whose command is one of ours, with options that there are."""
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    program, name, *options = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "sartor"
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    command.make_context(name, options, parent=context)


def check_sql(text: str, _folder: Path, request: pytest.FixtureRequest) -> None:
    """Run on a server, where the superuser has our name already."""
    asyncpg = pytest.importorskip("asyncpg")
    url = request.getfixturevalue("postgres_url")

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in filter(str.strip, text.replace("sartor", "vendor").split(";")):
                await connection.execute(statement)
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'vendor'"
            assert await connection.fetchval(owner) == "vendor"
        finally:
            await connection.execute("DROP DATABASE IF EXISTS vendor")
            await connection.execute("DROP ROLE IF EXISTS vendor")
            await connection.close()

    asyncio.run(run())


CHECKS = {
    "json": check_json,
    "toml": check_toml,
    "js": check_js,
    "html": check_html,
    "css": check_css,
    "ini": check_ini,
    "sql": check_sql,
}


def test_every_language_is_checked_by_somebody():
    found = {language for page in PAGES for language, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    assert found <= ELSEWHERE | CHECKS.keys()
