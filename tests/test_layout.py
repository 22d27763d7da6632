"""The shape of the core: what it imports and when, and the names that it promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import sartor

ROOT = Path(sartor.__file__).parent
FILES = {
    ".".join(["sartor", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
MODULES = {name: path for name, path in FILES.items() if ".migrations" not in name}

HEAVY = ("chromadb", "llama_cpp", "langchain", "langchain_core", "langsmith", "numpy", "torch", "httpx", "jinja2",
         "huggingface_hub", "mcp", "mcp_types")  # fmt: skip
ADAPTERS = ("sartor.langchain", "sartor.runnable", "sartor.testing.rules", "sartor.testing.scripted",
            "sartor.mcpserver", "sartor.mcptools", "sartor.rehearsal.tape")  # fmt: skip
"""The modules whose job is the types of LangChain or of MCP's SDK; nobody imports them at module level but each
other."""


def imports(path: Path, *, nested: bool = False) -> Iterator[str]:
    """The modules that a file imports when it is imported; with `nested`, those in functions too."""
    name = next(name for name, file in FILES.items() if file == path)
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not nested:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)
        pending += ast.iter_child_nodes(node)


def own(name: str) -> set[str]:
    return {found for found in imports(MODULES[name]) if found in FILES} - {name}


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(ADAPTERS)))
def test_no_module_of_the_core_imports_a_plugin_or_anything_heavy(name):
    found = {module for module in imports(MODULES[name]) if module.partition(".")[0] in (*HEAVY, "sartor_plugins")}
    assert not found
    assert not own(name) & set(ADAPTERS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_core_knows_no_plugin_even_in_a_function(name):
    bad = ("sartor_plugins", "chromadb", "llama_cpp")
    assert not [module for module in imports(MODULES[name], nested=True) if module.partition(".")[0] in bad]


def test_imports_between_modules_have_no_cycle():
    graph = {name: own(name) for name in MODULES}
    graph = {name: {found for found in needs if not name.startswith(f"{found}.")} for name, needs in graph.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("sartor", set()),
        ("sartor.errors", set()),
        ("sartor.values", set()),
        ("sartor.hookspecs", set()),
        ("sartor.policy", {"sartor.values"}),
        ("sartor.retrieval", {"sartor.values"}),
        ("sartor.prompt", {"sartor.values"}),
        ("sartor.origins", {"sartor.values"}),
        ("sartor.timely", set()),
        ("sartor.judge", {"sartor.policy", "sartor.timely", "sartor.values"}),
        ("sartor.yamlfile", {"sartor.errors", "sartor.values"}),
        ("sartor.plugin", {"sartor.hookspecs"}),
        ("sartor.modelfile", {"sartor.errors", "sartor.values"}),
        ("sartor.huberrors", {"sartor.errors"}),
        ("sartor.hub", {"sartor.errors", "sartor.huberrors", "sartor.modelfile"}),
        ("sartor.hubfiles", {"sartor.errors", "sartor.hub", "sartor.huberrors", "sartor.modelfile"}),
        ("sartor.yamledit", {"sartor.errors", "sartor.values", "sartor.yamlfile"}),
        ("sartor.cli.lazy", set()),
        ("sartor.cli", {"sartor.cli.lazy", "sartor.errors"}),
    ],
)
def test_the_lowest_modules_import_only_downward(name, allowed):
    assert own(name) <= allowed


@pytest.mark.parametrize("name", ["sartor.errors", "sartor.values"])
def test_the_lowest_of_all_import_the_standard_library_only(name):
    assert {module.partition(".")[0] for module in imports(MODULES[name])} <= sys.stdlib_module_names


def test_nothing_but_the_command_line_imports_the_command_line():
    for name, path in MODULES.items():
        if not name.startswith("sartor.cli"):
            assert not [found for found in imports(path, nested=True) if found.startswith("sartor.cli")], name


def test_only_the_store_knows_the_database():
    for name, path in MODULES.items():
        if not name.startswith("sartor.store"):
            assert not [found for found in imports(path, nested=True) if found.startswith(("sqlalchemy", "alembic"))]


def test_only_the_test_kit_imports_pytest():
    for name, path in MODULES.items():
        if not name.startswith("sartor.testing."):
            assert "pytest" not in imports(path, nested=True), name


@pytest.mark.parametrize("name", sorted(name for name in MODULES if not name.endswith("__main__")))
def test_every_module_has_a_docstring_and_names_what_is_public(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(listed) == 1, "no __all__"
    assert list(listed[0]) == sorted(listed[0], key=lambda word: (not word.isupper(), not word[:1].isupper(), word))


PUBLIC = [
    "ALLOW",
    "Bot",
    "BotInfo",
    "Bots",
    "CallerTool",
    "Citation",
    "Delta",
    "Draft",
    "Edit",
    "Event",
    "Finished",
    "Observer",
    "Origin",
    "Outcome",
    "Passage",
    "Plugin",
    "PluginSettings",
    "Policy",
    "Reply",
    "SartorError",
    "Started",
    "Step",
    "Tool",
    "ToolCall",
    "ToolFinished",
    "ToolResult",
    "ToolStarted",
    "ToolWanted",
    "Turn",
    "TurnOptions",
    "Usage",
    "Verdict",
    "__version__",
    "ask",
    "block",
    "hookimpl",
    "open",
    "open_sync",
    "rewrite",
    "tool",
]


def test_the_public_names_are_these():
    assert sartor.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_can_be_imported(name):
    scope: dict[str, object] = {}
    exec(f"from sartor import {name}", scope)
    assert scope[name] is getattr(sartor, name) is not None


def test_there_are_no_other_names():
    assert dir(sartor) == sorted(PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'Agent'"):
        sartor.Agent  # noqa: B018


def loaded(code: str, *arguments: str) -> set[str]:
    """The top-level modules in memory after `code` ran in a fresh interpreter."""
    tail = "\nimport sys\nprint('\\n!' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.rpartition("\n!")[2].split())


LATE = {*HEAVY, "pydantic", "rich", "sqlalchemy", "alembic", "yaml", "pluggy", "sartor_plugins"}


def test_importing_sartor_loads_nothing_heavy():
    assert not loaded("import sartor") & (LATE | {"asyncio", "click"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_loads_nothing_heavy(arguments):
    code = "import sys; sys.argv[0] = 'sartor'\nfrom sartor.cli import main\ntry: main()\nexcept SystemExit: pass"
    found = loaded(code, *arguments)
    assert "click" in found and not found & (LATE | {"asyncio"})


def test_the_help_of_a_command_loads_no_model_and_no_database():
    code = "import sys; sys.argv[0] = 'sartor'\nfrom sartor.cli import main\ntry: main()\nexcept SystemExit: pass"
    for arguments in (["ask", "--help"], ["model", "--help"], ["model", "pull", "--help"]):
        assert not loaded(code, *arguments) & {*HEAVY, "pydantic", "rich", "sqlalchemy", "alembic"}


def test_a_built_bot_needs_no_langchain_before_its_first_message(make_project):
    files = {
        "plugins/light.py": """
            from sartor import Plugin, hookimpl

            class Light(Plugin):
                @hookimpl
                def sartor_model(self):
                    return type("Model", (), {"astream": None})()
            """,
        "sartor.yaml": """
            model: light
            models: {light: {plugin: light}}
            embeddings: null
            index: {plugin: memory-index}
            """,
        "tenants/acme/support/bot.yaml": "title: x",
    }
    code = f"""
import sartor
with sartor.open_sync({str(make_project(files))!r}) as bots:
    bots["acme/support"]
"""
    assert not loaded(code) & {"langchain_core", "chromadb", "llama_cpp", "numpy"}
