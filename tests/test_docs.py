"""The documentation: its blocks parse and validate, the tutorial runs, the reference is fresh, links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import click
import jsonschema
import pytest
import sartor
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from sartor import hookspecs
from sartor.cli import cli
from sartor.plugins import Catalog, PluginSet
from sartor.project import Project
from sartor.rehearsal.script import find_scripts
from sartor.templates import find_template
from sartor.yamlfile import parse_yaml, read_yaml
from sartor_plugins.builtin import MODEL

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
UNUSED_HOOKS = {"sartor_retrievers"}
"""Hooks that no first-party plugin implements: passages from elsewhere need a service that we do not know."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    note: str
    """The HTML comment right above it, without its marks."""
    text: str

    @property
    def file(self) -> str:
        """The file that the block's first line names in a comment."""
        match = re.match(r"# (\S+\.(?:ya?ml|py|toml))\b", self.text)
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"(?:<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(3))
        yield Block(page, line, match[2], match[1] or "", match[3])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[object]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("block", of("python"))
def test_python_compiles(block):
    if "reference" in block.page.parts:  # signatures without a body
        signature = re.sub(r"\A((?:async )?(?:def|class) .*[^:])\Z", r"\1: ...", block.text.strip())
        block = Block(block.page, block.line, block.language, "", signature)
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("block", [param for param in of("python") if param.values[0].file.startswith("plugins/")])
def test_a_plugin_of_the_docs_loads_and_implements_its_hooks(block, tmp_path):
    file = tmp_path / block.file
    file.parent.mkdir()
    file.write_text(block.text, encoding="utf-8")
    name = file.stem.replace("_", "-")
    plugin = Catalog(tmp_path).load(name)
    if not any(field.is_required() for field in plugin.Settings.model_fields.values()):
        made = Catalog(tmp_path).make(name, {}, tmp_path)
        assert PluginSet([made]).hooks(made)


TESTS = [page for page in PAGES if any(block.file.startswith("tests/") for block in blocks_of(page))]


def test_the_tests_of_the_docs_pass(tmp_path):
    """All of them in one run, each beside the plugins of its page, which are in a folder of their own."""
    for page in TESTS:
        for block in blocks_of(page):
            if block.language == "python" and block.file.startswith(("plugins/", "tests/")):
                write(tmp_path / page.stem / block.file, block.text)
    (tmp_path / "conftest.py").write_text(BESIDE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", str(tmp_path)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > len(TESTS) > 5


BESIDE = """
import sys
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    if collector.path.suffix == ".py":
        beside(collector.path)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    beside(item.path)
    return (yield)


def beside(test):
    root = str(test.parent.parent)
    if root not in sys.path:
        sys.path[:] = [root, *(path for path in sys.path if "pytest-of" not in path)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "plugins"]:
            del sys.modules[name]
"""
"""The conftest of that run: `plugins` are those beside the test."""


async def test_the_examples_of_embedding_run(make_project, tmp_path, monkeypatch, capsys):
    files = {"tenants/acme/support/bot.yaml": "title: Acme Lamps\n"}
    make_project(files, script=["Delivery costs 6.50 EUR."] * 20).rename(tmp_path / "lamps")
    monkeypatch.chdir(tmp_path)
    given: dict[str, object] = {}
    for block in blocks_of(DOCS / "how-to/embed.md"):
        if block.language == "python":
            code = compile(block.text, str(block), "exec")
            await asyncio.to_thread(exec, code, given)
    await given["main"]()
    await given["with_langchain"]()
    async with sartor.open("lamps") as bots:
        bot = bots["acme/support"]
        await given["answer"](bot, "What does delivery cost?")
        await given["two_messages"](bot)
        await given["look_up"](bots, await given["ask_with_approval"](bot))
    assert capsys.readouterr().out.count("Delivery costs 6.50 EUR.") >= 5


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_validates(block, tmp_path):
    """A block that names its file is put into a project and read as that file; others are at least parsed."""
    data = parse_yaml(block.text, Path(block.file or "block.yaml")).data
    name = Path(block.file).name
    if name in ("sartor.yaml", "tenant.yaml", "bot.yaml", "template.yaml"):
        schema = json.loads((DOCS / f"reference/schema/{name.removesuffix('.yaml')}.json").read_text(encoding="utf-8"))
        if name == "bot.yaml":
            jsonschema.validate(data, schema)
    elif "tests" in Path(block.file).parts:
        jsonschema.validate(data, json.loads((DOCS / "reference/schema/tests.json").read_text(encoding="utf-8")))
        write(tmp_path / "tenants/acme/support/tests/a.yaml", block.text)
    elif name == "prometheus.yml":
        (job,) = data["scrape_configs"]
        assert set(job) == {"job_name", "static_configs"}  # so it asks for /metrics, over HTTP
        assert job["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]  # where `sartor serve` listens
        return
    elif "reference" not in block.page.parts:
        pytest.fail("the first line must name the file, as # tenants/acme/support/bot.yaml")
    if block.page.name == "roll-out-a-template.md":
        return  # its files need each other: they are read when the page is run
    model = data.get("model") or (data.get("bots") or {}).get("model") or "builtin"
    own = f"model: {model}\nmodels: {{{model}: {{plugin: llama}}}}\n"
    write(tmp_path / "sartor.yaml", block.text if name == "sartor.yaml" else own)
    write(tmp_path / "tenants/acme/tenant.yaml", block.text if name == "tenant.yaml" else "name: Acme\n")
    write(tmp_path / "tenants/acme/support/bot.yaml", block.text if name == "bot.yaml" else "title: Support\n")
    if given := data.get("given"):  # tests that are about values: the bot has them
        asked = find_template("booking@1").spec.values.items()
        values = {value: question.example for value, question in asked if question.example} | given
        told = json.dumps({"template": "booking@1", "values": values})
        write(tmp_path / "tenants/acme/support/bot.yaml", told)
    if name == "template.yaml":
        folder = tmp_path / "templates" / f"{data['name']}@{str(data['version']).partition('.')[0]}"
        write(folder / "template.yaml", block.text)
        write(folder / "bot.yaml", "title: ${company}\n")
        write(tmp_path / "tenants/acme/support/bot.yaml", f"template: {folder.name}\nvalues: {{company: Acme}}\n")
    project = Project(tmp_path)
    bot = project.bot("acme/support")
    list(find_scripts(bot))
    catalog = Catalog()
    parts = [project.spec.embeddings, project.spec.index, *project.spec.models.values()]
    uses = [(part.plugin, part.settings) for part in parts if part] + list(bot.spec.plugins.items())
    for plugin, settings in uses:
        if plugin in catalog.known:
            catalog.load(plugin).Settings.model_validate(settings)


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that are shown after it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line:
            assert found, f"{block}: output before the first command"
            found[-1][1].append(line)
    yield from found


@pytest.mark.parametrize("block", of("console"))
def test_commands_are_known_to_the_command_line(block, tmp_path, monkeypatch):
    write(tmp_path / "tenants/acme/support/knowledge/delivery.md", "A document for the commands that name one.")
    monkeypatch.chdir(tmp_path)
    for command, _ in commands(block):
        words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)]
        if words[:1] != ["sartor"] or len(words) < 2 or words[1].startswith("-"):
            continue
        made = cli.get_command(click.Context(cli), words[1])
        assert made is not None, f"{block}: there is no command {words[1]!r}"
        arguments = words[2 : min([words.index(mark) for mark in ("|", ">") if mark in words], default=None)]
        while isinstance(made, click.Group):
            made, name, arguments = made.get_command(click.Context(made), arguments[0]), arguments[0], arguments[1:]
            assert made is not None, f"{block}: there is no command {words[1]} {name}"
        made.make_context(words[1], arguments, resilient_parsing=False)


def shown(lines: list[str]) -> re.Pattern[str]:
    """What the output must look like: blanks do not count, and … stands for anything."""
    parts = " ".join(" ".join(lines).split()).split("…")
    return re.compile(".*".join(re.escape(part.strip()).replace(r"\ ", r"\s+") for part in parts))


@dataclass
class Terminal:
    """Runs the console blocks of a page, in a folder, with ports that are free."""

    where: Path
    ports: dict[str, str]
    """The ports of the page, and those that are taken in their place."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ran: int = 0

    def text(self, text: str) -> str:
        return re.sub(r"\b(8000|8080)\b", lambda match: self.ports[match[1]], text)

    def follow(self, block: Block) -> None:
        if file := re.fullmatch(r"file: (\S+)", block.note):
            write(self.where / file[1], self.text(block.text))
        elif block.language == "console" and "pip install" not in block.text and not block.note.startswith("not run"):
            for command, expected in commands(block):
                if command.startswith("cd "):
                    self.where /= command.removeprefix("cd ")
                elif block.note == "stays running":
                    self.start(self.text(command))
                else:
                    self.run(block, self.text(command), expected)
                    self.ran += 1

    def run(self, block: Block, command: str, expected: list[str]) -> None:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.where, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == int(block.note == "fails"), f"{block}: {command}\n{done.stdout}{done.stderr}"
        if expected and block.note != "depends on the model":
            output = " ".join(done.stdout.split())
            assert shown(expected).fullmatch(output), f"{block}: {command}\n{done.stdout}{done.stderr}"

    def start(self, command: str) -> None:
        """Start what stays running, once more where it runs, and wait until its port answers."""
        port = int(re.search(r"\b(\d{4,5})\b", command)[1])
        self.stop(command)
        log = self.where / f"log-{port}"
        with log.open("wb") as told:
            self.running[command] = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.where, env=self.environment, stdout=told, stderr=told
            )
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            assert self.running[command].poll() is None, log.read_text()
            time.sleep(0.1)
        pytest.fail(f"{command}: nothing answers at port {port}\n{log.read_text()}")

    def stop(self, command: str) -> None:
        if (process := self.running.pop(command, None)) is not None:
            process.terminate()
            assert process.wait(60) in (0, -15)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "COLUMNS": "120", "PYTHONWARNINGS": ""}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = {"8000": str(one.getsockname()[1]), "8080": str(other.getsockname()[1])}
    made = Terminal(tmp_path, ports)
    yield made
    for command in [*made.running]:
        made.stop(command)


NEEDS_MODEL = pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not there")


@NEEDS_MODEL
def test_the_tutorial_runs(terminal):
    """Everything in it, from top to bottom, with the built-in model; what depends on its skill only runs."""
    for block in blocks_of(DOCS / "tutorial.md"):
        terminal.follow(block)
    assert terminal.ran > 15 and len(terminal.running) == 2
    service, page = (f"http://127.0.0.1:{terminal.ports[port]}" for port in ("8000", "8080"))
    html = urllib.request.urlopen(page).read().decode()
    assert urllib.request.urlopen(re.search(r'src="(.*?)"', html)[1]).read().startswith(b"/* Sartor")
    asked = {"content-type": "application/json", "origin": page}
    request = urllib.request.Request(f"{service}/v1/sessions", b'{"bot": "acme/support"}', asked)
    assert json.load(urllib.request.urlopen(request))["user_kind"] == "visitor"


@NEEDS_MODEL
def test_the_roll_out_of_a_template_runs(terminal):
    write(terminal.where / "sartor.yaml", "model: builtin\nmodels: {builtin: {plugin: llama}}\n")
    for block in blocks_of(DOCS / "how-to/roll-out-a-template.md"):
        terminal.follow(block)
    assert terminal.ran > 8


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_fresh(capsys):
    assert generator().main(["--check"]) == 0, f"run: python docs/generate.py\n{capsys.readouterr().out}"


def test_every_hook_is_described_and_used():
    page = (DOCS / "reference/hooks.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("sartor_")]
    assert hooks and all(f"\n### {hook}\n" in page for hook in hooks)
    loaded = [point.load() for point in entry_points(group="sartor.plugins") if "sartor_plugins" in point.value]
    used = {hook for hook in hooks for plugin in loaded if hasattr(getattr(plugin, hook, None), "sartor_impl")}
    assert set(hooks) - used == UNUSED_HOOKS


def test_every_command_is_described():
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    names = cli.list_commands(click.Context(cli))
    for name in names:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            names += [f"{name} {inner}" for inner in command.list_commands(click.Context(command))]
    assert "model pull" in names and all(f"\n## {name}\n" in page for name in names)


@pytest.mark.parametrize("name", ["sartor", "tenant", "bot", "template"])
def test_the_json_schemas_accept_what_we_ship(name):
    schema = json.loads((DOCS / f"reference/schema/{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    others = DOCS.glob("reference/schema/*.json")
    known = [(other.name, DRAFT202012.create_resource(json.loads(other.read_text("utf-8")))) for other in others]
    validator = jsonschema.Draft202012Validator(schema, registry=Registry().with_resources(known))
    files = list((ROOT / "templates").rglob(f"{name}.yaml"))
    assert files
    for file in files:
        validator.validate(read_yaml(file).data)


def test_the_json_schema_of_a_bot_refuses_what_the_spec_refuses():
    schema = json.loads((DOCS / "reference/schema/bot.json").read_text(encoding="utf-8"))
    for good in ({"grounding": "quote"}, {"plugins": {"topics": None}}, {"limits": {"tool_steps": "${steps}"}}):
        jsonschema.validate(good, schema)
    for bad in ({"grounding": "quotes"}, {"plugin": {}}, {"limits": {"tool_steps": 99}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_relative_links_resolve(page):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(linked), f"{target} leads to no heading"


def test_the_index_names_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [str(page.relative_to(DOCS)) for page in PAGES[1:] if f"({page.relative_to(DOCS)}" not in index]
    assert missing == ["index.md"]
