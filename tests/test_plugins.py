"""Plugins: found without being imported, checked when they are loaded, and named in every fault."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sartor
from sartor.errors import PluginError, UsageError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.plugins import Catalog, PluginSet
from sartor.values import Outcome

HEAD = "from sartor import Plugin, PluginSettings, hookimpl\n"


@pytest.fixture
def catalog(tmp_path):
    """`catalog("body")` writes the plugin `mine` of a project; gives the project's catalog."""

    def make(body: str = "class Mine(Plugin): pass\n", head: str = HEAD) -> Catalog:
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / "mine.py").write_text(head + textwrap.dedent(body))
        return Catalog(tmp_path)

    return make


def bot_with(body: str, settings: str = "{}") -> dict[str, str]:
    return {
        "plugins/mine.py": HEAD + textwrap.dedent(body),
        "tenants/acme/support/bot.yaml": f"title: x\nplugins:\n  mine: {settings}\n",
    }


# Finding and importing.


def test_discovery_imports_nothing(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text("raise RuntimeError('imported')\n")
    code = (
        "import sys; from pathlib import Path; from sartor.plugins import Catalog\n"
        f"known = Catalog(Path({str(tmp_path)!r})).known\n"
        "assert {'mine', 'llama', 'chroma', 'lookup', 'topics'} <= set(known), known\n"
        "assert known['llama'].source.startswith('sartor '), known['llama']\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in ('sartor_plugins', 'sartor_project_plugins', 'chromadb',"
        " 'llama_cpp', 'langchain_core', 'numpy')]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_only_what_a_bot_names_is_imported(make_project):
    """The other plugin of the project would raise."""
    files = bot_with("class Mine(Plugin): pass\n")
    files["plugins/other.py"] = "raise RuntimeError('imported')\n"
    with sartor.open_sync(make_project(files)) as bots:
        assert bots["acme/support"]


def test_the_name_of_a_file_has_hyphens_and_hidden_files_are_none(tmp_path):
    (tmp_path / "plugins").mkdir()
    for name in ("two_words.py", "_private.py", "notes.txt"):
        (tmp_path / "plugins" / name).write_text("")
    known = Catalog(tmp_path).known
    assert "two-words" in known and not {"private", "_private", "notes", "two_words"} & set(known)


def test_a_file_of_the_project_goes_before_an_installed_plugin(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "topics.py").write_text(HEAD + "class Ours(Plugin): pass\n")
    assert Catalog(tmp_path).load("topics").__name__ == "Ours"


def test_an_unknown_plugin_is_named_with_a_suggestion(make_project):
    root = make_project({"tenants/acme/support/bot.yaml": "title: x\nplugins:\n  personal-date: {}\n"})
    with (
        sartor.open_sync(root) as bots,
        pytest.raises(PluginError, match="there is no plugin 'personal-date'") as caught,
    ):
        bots["acme/support"]
    assert caught.value.where.endswith("tenants/acme/support/bot.yaml:3")
    assert "Did you mean 'personal-data'?" in caught.value.remedy and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')\n", r"raised while it was imported: RuntimeError: no luck \(mine.py:2\)"),
        ("def broken(:\n", "raised while it was imported: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "raised while it was imported: SystemExit: 3"),
        ("import no_such_package_x.y\n", "needs the package 'no_such_package_x', which is not installed"),
        ("from sartor import nothing_such\n", "raised while it was imported: ImportError"),
        ("", "has 0 classes that derive from Plugin"),
        ("class Mine: pass\n", "has 0 classes"),
        ("class A(Plugin): pass\nclass B(Plugin): pass\n", "has 2 classes that derive from Plugin"),
        ("x: int = 'é'\n1/0\n", r"ZeroDivisionError: division by zero \(mine.py:3\)"),
    ],
)
def test_a_file_that_cannot_be_loaded(catalog, body, message):
    with pytest.raises(PluginError, match=message) as caught:
        catalog(body).load("mine", where="bot.yaml:3")
    assert "mine" in str(caught.value)


def test_a_file_that_raises_leaves_no_module_behind(catalog):
    before = set(sys.modules)
    with pytest.raises(PluginError):
        catalog("1/0\n").load("mine")
    assert set(sys.modules) == before


def test_a_missing_package_has_a_remedy(catalog):
    with pytest.raises(PluginError) as caught:
        catalog("import no_such_package_x.y\n").load("mine", where="bot.yaml:3")
    assert caught.value.remedy.startswith("Install it: pip install no-such-package-x; or")
    assert "PYTHONPATH" in caught.value.remedy and caught.value.where == "bot.yaml:3"


def test_a_second_name_for_the_class_is_not_a_second_class(catalog):
    assert catalog("class Mine(Plugin): pass\nAlias = Mine\n").load("mine").__name__ == "Mine"


def test_an_entry_point_that_is_no_plugin(monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("odd", "pathlib:Path", "sartor.plugins")
    monkeypatch.setattr("sartor.plugins.entry_points", lambda group: [point])
    with pytest.raises(PluginError, match=r"is no class that derives from sartor\.Plugin"):
        Catalog().load("odd")


def test_two_packages_with_one_name(monkeypatch):
    from importlib.metadata import EntryPoint

    points = [EntryPoint("odd", value, "sartor.plugins") for value in ("a:A", "b:B")]
    monkeypatch.setattr("sartor.plugins.entry_points", lambda group: points)
    with pytest.raises(PluginError, match="two packages bring a plugin 'odd': a:A and b:B"):
        Catalog().known  # noqa: B018


# Settings.

SETTINGS = """
class Settings(PluginSettings):
    limit: int
    words: list[str] = []

class Mine(Plugin):
    Settings = Settings
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "limit: field required"),
        ({"limit": "many"}, "limit: input should be a valid integer"),
        ({"limit": 1, "wrods": []}, r"unknown key 'wrods' \(did you mean 'words'\?\)"),
        ({"limit": 1, "words": ["a", 2]}, "words.1: input should be a valid string"),
        ({"zzz": 1}, "limit: field required; unknown key 'zzz'\n"),
    ],
)
def test_faults_of_settings(catalog, given, message):
    with pytest.raises(PluginError, match=message) as caught:
        catalog(SETTINGS).make("mine", given, Path(), "bot.yaml:3")
    assert caught.value.what.startswith("settings of plugin 'mine': ") and caught.value.where == "bot.yaml:3"
    assert caught.value.remedy == "`sartor plugins mine` shows the settings that it takes."


def test_settings_and_directory_reach_the_plugin(catalog, tmp_path):
    plugin = catalog(SETTINGS).make("mine", {"limit": 3}, tmp_path)
    assert (plugin.settings.limit, plugin.directory, plugin.name) == (3, tmp_path, "mine")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "class Mine(Plugin):\n    def __init__(self, *given): raise OSError('gone')\n",
            "raised while it was made: OSError",
        ),
        ("class Mine(Plugin):\n    Settings = None\n", "raised while its settings were checked: AttributeError"),
        (
            """
            from pydantic import field_validator
            class Settings(PluginSettings):
                path: str = "x"
                @field_validator("path", mode="before")
                @classmethod
                def read(cls, path):
                    return open("/nowhere/at/all").read()
            class Mine(Plugin):
                Settings = Settings
            """,
            "raised while its settings were checked: FileNotFoundError",
        ),
    ],
)
def test_a_plugin_that_cannot_be_made(catalog, body, message):
    with pytest.raises(PluginError, match=f"plugin 'mine' {message}") as caught:
        catalog(body).make("mine", {"path": "y"} if "path" in body else {}, Path(), "bot.yaml:3")
    assert caught.value.where == "bot.yaml:3" and caught.value.__cause__ is not None


def test_an_error_of_ours_in_a_constructor_keeps_its_remedy(catalog):
    body = """
        from sartor.errors import UsageError
        class Mine(Plugin):
            def __init__(self, settings, directory):
                raise UsageError("no key", remedy="export KEY=…")
        """
    with pytest.raises(UsageError, match="no key") as caught:
        catalog(body).make("mine", {}, Path())
    assert caught.value.remedy == "export KEY=…"


# Hooks.


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("@hookimpl\n    def sartor_tool(self): return []", "sartor_tool is no hook"),
        ("def sartor_tool(self): return []", "sartor_tool is no hook"),
        ("@hookimpl\n    def satror_tools(self): return []", "satror_tools is no hook"),
        ("@hookimpl\n    def tools(self): return []", "tools is no hook"),
        ("def sartor_tools(self): return []", "sartor_tools is not marked as a hook"),
        ("sartor_tools = 3", "sartor_tools is not marked as a hook"),
        ("@hookimpl\n    def sartor_tools(self, bto): return []", "implements a hook wrongly: .*bto"),
        ("@hookimpl\n    async def sartor_tools(self): return []", "sartor_tools is async"),
        ("@hookimpl\n    async def sartor_policies(self, bot): return []", "sartor_policies is async"),
        (
            "@hookimpl\n    def sartor_tools(self): raise ValueError('oh')",
            r"raised in sartor_tools: ValueError: oh \(mine.py",
        ),
        (
            "@hookimpl\n    def sartor_tools(self):\n        yield 1\n        raise ValueError('oh')",
            "raised in sartor_tools",
        ),
        ("@hookimpl\n    def sartor_tools(self): return 3", "sartor_tools returned int, not a sequence"),
        ("@hookimpl\n    def sartor_tools(self): return 'abc'", "sartor_tools returned str, not a sequence"),
        ("@hookimpl\n    def sartor_tools(self): return {'a': 1}", "sartor_tools returned dict, not a sequence"),
        ("@hookimpl\n    def sartor_tools(self): return [print]", "sartor_tools gave a builtin_function.*, not a tool"),
        ("@hookimpl\n    def sartor_tools(self): return [None]", "sartor_tools gave a NoneType, not a tool"),
        ("@hookimpl\n    def sartor_policies(self): return [object()]", "sartor_policies gave a object, not a Policy"),
        (
            "@hookimpl\n    def sartor_policies(self):\n        import sartor\n        return [sartor.Policy]",
            "gave a type",
        ),
        ("@hookimpl\n    def sartor_retrievers(self): return [3]", "sartor_retrievers gave a int, not a retriever"),
    ],
)
def test_a_hook_that_is_implemented_wrongly(make_project, body, message):
    root = make_project(bot_with(f"class Mine(Plugin):\n    {body}\n"))
    with sartor.open_sync(root) as bots, pytest.raises(PluginError, match=message) as caught:
        bots["acme/support"]
    assert "plugin 'mine'" in caught.value.what and caught.value.exit_code == 2


async def test_a_hook_may_give_nothing_and_take_no_argument(make_project):
    body = "class Mine(Plugin):\n    @hookimpl\n    def sartor_tools(self): return []\n"
    async with sartor.open(make_project(bot_with(body))) as bots:
        assert bots["acme/support"].tools == ()


async def test_a_forgotten_return_is_an_error(make_project):
    body = "class Mine(Plugin):\n    @hookimpl\n    def sartor_policies(self): [1]\n"
    async with sartor.open(make_project(bot_with(body))) as bots:
        with pytest.raises(PluginError, match="sartor_policies returned None"):
            bots["acme/support"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("async def inputs(self, turn, text): return block('x')", "has a method 'inputs', which is never asked"),
        ("async def input(self, text): return block('x')", "input takes other arguments"),
        ("def input(self, turn, text): return block('x')", "input is not async"),
        ("async def decide(self, turn): return block('x')", "judges no stage"),
    ],
)
async def test_a_policy_that_would_never_be_asked_is_an_error(make_project, method, message):
    body = (
        "from sartor import Policy, block\nclass Rule(Policy):\n    " + method + "\n"
        "class Mine(Plugin):\n    @hookimpl\n    def sartor_policies(self): return [Rule()]\n"
    )
    async with sartor.open(make_project(bot_with(body))) as bots:
        with pytest.raises(PluginError, match=message):
            bots["acme/support"]


class One(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        return [f"{self.name} for {bot}"]


class Two(Plugin):
    @hookimpl
    def sartor_policies(self):
        return []


def named(kind: type[Plugin], name: str) -> Plugin:
    plugin = kind(PluginSettings(), Path())
    plugin.name = name
    return plugin


def test_results_come_with_their_plugins_in_the_order_of_the_set():
    plugins = PluginSet([named(One, "b"), named(Two, "x"), named(One, "a"), named(One, "c")])
    found = [(plugin.name, item) for plugin, item in plugins.collect("sartor_tools", bot="B")]
    assert found == [("b", "b for B"), ("a", "a for B"), ("c", "c for B")]
    assert plugins.hooks(plugins.plugins[1]) == ["sartor_policies"]


TOOLS = """
    from sartor import tool
    @tool
    def look_up(order: str) -> str:
        "Look up."
        return order
    class Mine(Plugin):
        @hookimpl
        def sartor_tools(self): return [look_up]
    """


def test_two_tools_of_one_name(make_project):
    files = bot_with(TOOLS)
    files["plugins/yours.py"] = files["plugins/mine.py"]
    files["tenants/acme/support/bot.yaml"] = "plugins: {mine: {}, yours: {}}"
    told = "plugins 'mine' and 'yours' both bring a tool 'look_up'"
    with sartor.open_sync(make_project(files)) as bots, pytest.raises(PluginError, match=told):
        bots["acme/support"]


@pytest.mark.parametrize(
    ("hook", "given", "message"),
    [
        ("sartor_model", "'gpt'", "sartor_model gave a str, which has no 'astream'"),
        ("sartor_index", "[]", "sartor_index gave a list, which has no 'search'"),
        ("sartor_embeddings", "3", "sartor_embeddings gave a int"),
        ("sartor_readers", "[1]", "sartor_readers gave a list, which has no 'items'"),
    ],
)
async def test_a_part_of_the_project_that_is_none(make_project, hook, given, message):
    kind = hook.removeprefix("sartor_")
    use = {
        "model": "models: {scripted: {plugin: mine}}",
        "index": "index: {plugin: mine}",
        "embeddings": "embeddings: {plugin: mine}",
        "readers": "readers: [mine]",
    }
    parts = {
        "models": "models: {scripted: {plugin: scripted}}",
        "index": "index: {plugin: memory-index}",
        "embeddings": "embeddings: null",
    }
    parts[use[kind].partition(":")[0]] = use[kind]
    files = {
        "sartor.yaml": "model: scripted\n" + "\n".join(parts.values()) + "\n",
        "plugins/mine.py": f"{HEAD}class Mine(Plugin):\n    @hookimpl\n    def {hook}(self): return {given}\n",
        "tenants/acme/support/bot.yaml": "title: x",
    }
    async with sartor.open(make_project(files)) as bots:
        with pytest.raises(PluginError, match=message) as caught:
            bots["acme/support"]
        assert "plugin 'mine'" in caught.value.what and "sartor.yaml:" in caught.value.where


# What plugins give, at work in a turn.

LANGCHAIN = """
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import StructuredTool

    def price(article: str, count: int = 1) -> str:
        "The price of an article."
        return f"{count} x {article}: {count * 9} euros"

    class Catalogue(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [
                Document("Lamps cost nine euros.", metadata={"source": "shop.example/lamps", "title": "Lamps"}),
                Document("asked: " + query),
            ]

    class Mine(Plugin):
        @hookimpl
        def sartor_tools(self): return [StructuredTool.from_function(price, metadata={"acts": False})]
        @hookimpl
        def sartor_retrievers(self): return [Catalogue()]
    """


async def test_a_langchain_tool_and_a_langchain_retriever_work_in_a_turn(make_project):
    call = {"call": "price", "arguments": {"article": "lamp", "count": 3}}
    root = make_project(bot_with(LANGCHAIN), script=[call, "27 euros [1]."])
    async with sartor.open(root) as bots:
        reply = await bots["acme/support"].reply("What do 3 lamps cost?")
        assert reply.outcome is Outcome.ANSWERED, reply.error
        assert [(p.tenant, p.source, p.title) for p in reply.passages] == [
            ("acme", "shop.example/lamps", "Lamps"),
            ("acme", "mine", ""),
        ]
        assert reply.passages[1].text == "asked: What do 3 lamps cost?"
        assert [c.source for c in reply.citations] == ["shop.example/lamps"]
        assert reply.tools[0].result.text == "3 x lamp: 27 euros" and not reply.tools[0].result.error
        bound = bots.model().options[0]["tools"][0]["function"]
        assert bound["name"] == "price" and bound["parameters"]["properties"]["count"]["type"] == "integer"


async def test_wrong_arguments_of_a_langchain_tool_are_an_error_that_the_model_sees(make_project):
    call = {"call": "price", "arguments": {"article": "lamp", "count": "many"}}
    async with sartor.open(make_project(bot_with(LANGCHAIN), script=[call, "Sorry."])) as bots:
        reply = await bots["acme/support"].reply("What do lamps cost?")
        assert reply.tools[0].result.error and "called wrongly: count" in reply.tools[0].result.text


@pytest.mark.parametrize("tenant", ["globex", ""])
async def test_a_passage_of_another_tenant_fails_the_turn(make_project, tenant):
    body = f"""
        from sartor import Passage
        class Leaky:
            async def retrieve(self, turn, query, limit):
                return [Passage("p", {tenant!r}, "s.md", "S", "the others' secret", 1.0)]
        class Mine(Plugin):
            @hookimpl
            def sartor_retrievers(self): return [Leaky()]
        """
    async with sartor.open(make_project(bot_with(body), script=[])) as bots:
        reply = await bots["acme/support"].reply("Hello?", user="u")
        assert reply.outcome is Outcome.FAILED and "another tenant" in reply.error
        assert reply.passages == () and "secret" not in reply.text
        assert bots.model().prompts == []
        stored = await bots.store.tenant("acme").reply(reply.turn.id)
        assert "secret" not in repr(stored)


async def test_policies_are_asked_in_the_order_in_which_the_bot_names_their_plugins(make_project):
    def policy(name: str) -> str:
        return HEAD + textwrap.dedent(f"""
            from sartor import Edit, Policy, rewrite
            class Mark(Policy):
                async def input(self, turn, text):
                    return rewrite([Edit(len(text), len(text), " {name}")], "{name}")
            class Mine(Plugin):
                @hookimpl
                def sartor_policies(self): return [Mark()]
            """)

    files = {f"plugins/{name}.py": policy(name) for name in ("a", "b", "c")}
    files["tenants/acme/support/bot.yaml"] = "plugins: {c: {}, a: {}, b: {}}"
    async with sartor.open(make_project(files, script=["Hi."])) as bots:
        reply = await bots["acme/support"].reply("hello")
        assert reply.turn.text == "hello c a b"
        assert [verdict.policy for verdict in reply.verdicts] == ["c", "a", "b"]
