"""A project that is open while somebody works on its files: what changes counts in the next turn."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from pathlib import Path

import pytest
import sartor
from sartor.values import Outcome

BOT = "acme/support"
HOME = "tenants/acme/support"

POLICY = '''
"""Signs replies."""
import os
from pathlib import Path
from sartor import Plugin, Policy, block, hookimpl

class Signature(Plugin):
    def __init__(self, settings, directory):
        super().__init__(settings, directory)
        note("made")

    @hookimpl
    def sartor_policies(self, bot):
        return [Signed()]

    def close(self):
        note("closed")

class Signed(Policy):
    async def output(self, turn, draft):
        return block("no", "VERSION")

def note(what):
    with Path("LOG").open("a") as file:
        file.write(what + " VERSION\\n")
'''
TOOL = '''
"""Tells a number."""
from sartor import Plugin, hookimpl, tool

class Numbers(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def number(of: str) -> str:
            """The number of a thing."""
            return "VERSION"
        return [number]
'''


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class Files:
    """The files of a test's project, and what its plugin of policies noted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log.txt"
        self.sign("one")

    def sign(self, version: str) -> None:
        write(self.root, "plugins/signature.py", POLICY.replace("VERSION", version).replace("LOG", str(self.log)))

    def bot(self, text: str, bot: str = BOT) -> None:
        write(self.root, f"tenants/{bot}/bot.yaml", text)

    def noted(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


DESK = "name: desk\nversion: 1.0.0\ntitle: Desk\ndescription: A desk.\n"
SIGNED = "grounding: free\nretrieval: {passages: 0}\nplugins: {signature: {}}\n"


@pytest.fixture
def files(make_project) -> Files:
    made = Files(make_project({f"{HOME}/bot.yaml": SIGNED}, script=["Hello."] * 500))
    made.bot(SIGNED, "zeta/help")
    return made


@pytest.fixture
def told(caplog):
    """What was logged of reloading."""
    caplog.set_level(logging.INFO, "sartor.reload")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "sartor.reload"]


async def said(bots: sartor.Bots, bot_id: str = BOT) -> str:
    reply = await bots[bot_id].reply("Hi")
    assert reply.outcome is Outcome.BLOCKED, reply.error
    return reply.text


async def quiet() -> None:
    """Let what is retired be closed."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_changed_policy_counts_in_the_next_turn_and_conversations_go_on(files, told):
    async with sartor.open(files.root, reload=True) as bots:
        first = await bots[BOT].reply("Hi")
        files.sign("two")  # as long as before, and in the same second
        second = await bots[BOT].reply("Hi", conversation=first.turn.conversation)
        assert (first.text, second.text) == ("one", "two")
        assert len(await bots.store.tenant("acme").history("support", "anonymous", first.turn.conversation, 5)) == 2
    assert told() == ["acme/support: reloaded (plugins/signature.py)"]
    assert files.noted() == ["made one", "made two", "closed one", "closed two"]


async def test_without_reload_nothing_is_looked_at(files, told):
    async with sartor.open(files.root) as bots:
        assert await said(bots) == "one"
        files.sign("two")
        assert await said(bots) == "one"
    assert told() == []


async def test_a_bot_that_is_held_is_renewed_as_well(files):
    async with sartor.open(files.root, reload=True) as bots:
        bot = bots[BOT]
        assert (await bot.reply("Hi")).text == "one"
        files.sign("two")
        assert (await bot.reply("Hi")).text == "two"
        assert bots[BOT] is bot


async def test_a_changed_tool(make_project):
    bot = "grounding: free\nretrieval: {passages: 0}\nplugins: {numbers: {}}\n"
    script = [{"call": "number", "arguments": {"of": "a"}}, "Done."] * 2
    root = make_project({f"{HOME}/bot.yaml": bot, "plugins/numbers.py": TOOL.replace("VERSION", "41")}, script=script)
    async with sartor.open(root, reload=True) as bots:
        assert [use.result.text for use in (await bots[BOT].reply("Which?")).tools] == ["41"]
        write(root, "plugins/numbers.py", TOOL.replace("VERSION", "42"))
        assert [use.result.text for use in (await bots[BOT].reply("Which?")).tools] == ["42"]


async def test_instructions_tenant_layer_and_settings_of_the_operator(files, told):
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        model = bots.model()
        files.bot(SIGNED + "instructions: Be brief.\n")
        await said(bots)
        assert bots[BOT].spec.instructions == ["Be brief."]
        write(files.root, "tenants/acme/tenant.yaml", "bots: {title: Acme}\n")
        await said(bots)
        assert bots[BOT].spec.title == "Acme"
        project = files.root / "sartor.yaml"
        project.write_text(project.read_text() + "bots: {languages: [fr]}\nstate: sqlite:///other.db\n")
        await said(bots)
        assert list(bots[BOT].spec.languages) == ["fr"]
        assert bots.model() is model
    assert told() == [
        "acme/support: reloaded (bot.yaml)",
        "acme/support: reloaded (tenants/acme/tenant.yaml)",
        "sartor.yaml: restart to take state",
        "acme/support: reloaded (sartor.yaml)",
    ]


async def test_a_model_that_is_loaded_stays_and_a_new_one_is_taken(files, told):
    project = files.root / "sartor.yaml"
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        model = bots.model()
        text = project.read_text().replace('"Hello."', '"Salut."', 1)
        other = "models:\n  other: {plugin: scripted, script: [A]}\n"
        project.write_text(text.replace("models:\n", other).replace("model: scripted", "model: other", 1))
        await said(bots)
        assert bots.model("scripted") is model and bots.model() is not model
    assert told()[0] == "sartor.yaml: restart to take models.scripted"


async def test_a_changed_plugin_of_the_project_itself_needs_a_restart(files, told):
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        plugin = files.root / "plugins/scripted.py"
        plugin.write_text(plugin.read_text() + "\n# changed\n")
        await said(bots)
        await said(bots)
    assert [line for line in told() if "restart" in line] == [
        "plugins/scripted.py: restart to take it for models, index, readers and observers, which are made once"
    ]


async def test_a_changed_template(files):
    write(
        files.root, "templates/desk@1/template.yaml", "name: desk\nversion: 1.0.0\ntitle: Desk\ndescription: A desk.\n"
    )
    write(files.root, "templates/desk@1/bot.yaml", SIGNED + "title: Old\n")
    files.bot("template: desk@1\n")
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        assert bots[BOT].spec.title == "Old"
        write(files.root, "templates/desk@1/bot.yaml", SIGNED + "title: New\n")
        await said(bots)
        assert bots[BOT].spec.title == "New"


@pytest.mark.parametrize(
    ("name", "text", "told_of"),
    [
        (f"{HOME}/bot.yaml", "grounding: [unclosed\n", "bot.yaml:"),
        (f"{HOME}/bot.yaml", "titel: Acme\n", "titel"),
        ("plugins/signature.py", "def broken(:\n", "signature.py, line 1"),
        ("plugins/signature.py", "import nothing_of_that_name\n", "nothing_of_that_name"),
        ("plugins/signature.py", "x = 1 / 0\n", "signature.py:1"),
    ],
)
async def test_what_is_broken_is_told_once_and_the_last_good_version_answers(files, told, name, text, told_of):
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        good = (files.root / name).read_text()
        write(files.root, name, text)
        assert [await said(bots), await said(bots)] == ["one", "one"]
        (fault,) = told()
        assert fault.startswith("acme/support: NOT reloaded") and told_of in fault
        write(files.root, name, good.replace("one", "two") + "\n")
        assert await said(bots) == ("two" if name.startswith("plugins") else "one")
        assert told()[1:] == [f"acme/support: reloaded ({name.removeprefix(HOME + '/')})"]
    made = [line.split()[1] for line in files.noted() if line.startswith("made")]
    assert sorted(made) == sorted(line.split()[1] for line in files.noted() if line.startswith("closed"))


async def test_what_mends_a_bot_may_be_a_file_that_it_did_not_have_before(files, told):
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        files.bot(SIGNED.replace("plugins: {", "plugins: {numbers: {}, "))
        await said(bots)
        assert "there is no plugin 'numbers'" in told()[-1]
        write(files.root, "plugins/numbers.py", TOOL)
        await said(bots)
        assert [tool.name for tool in bots[BOT].tools] == ["number"]
        write(files.root, "plugins/numbers.py", TOOL.replace("number(of", "figure(of").replace("[number]", "[figure]"))
        await said(bots)
        assert [tool.name for tool in bots[BOT].tools] == ["figure"]


async def test_a_broken_sartor_yaml_is_told_and_changes_nothing(files, told):
    project = files.root / "sartor.yaml"
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        good = project.read_text()
        project.write_text(good + "modle: x\n")
        assert [await said(bots), await said(bots)] == ["one", "one"]
        assert len(told()) == 1 and "sartor.yaml: NOT reloaded" in told()[0] and "modle" in told()[0]
        project.write_text(good + "bots: {title: Mended}\n")
        await said(bots)
        assert bots[BOT].spec.title == "Mended"


async def test_only_the_bot_that_changed_is_made_anew(files, told):
    async with sartor.open(files.root, reload=True) as bots:
        await said(bots)
        await said(bots, "zeta/help")
        plugins = bots["zeta/help"].plugins
        files.bot(SIGNED + "title: Changed\n")
        await said(bots, "zeta/help")
        await said(bots)
        assert bots["zeta/help"].plugins == plugins
        assert told() == ["acme/support: reloaded (bot.yaml)"]
        files.sign("two")  # which both have
        assert [await said(bots, "zeta/help"), await said(bots)] == ["two", "two"]
    assert len(told()) == 3


async def test_a_turn_that_runs_ends_on_the_old_parts_which_are_then_closed(files):
    project = files.root / "sartor.yaml"
    project.write_text(project.read_text().replace("script:", "delay: 0.3, script:"))
    async with sartor.open(files.root, reload=True) as bots:
        running = asyncio.create_task(said(bots))
        await asyncio.sleep(0.1)
        files.sign("two")
        bots[BOT]  # a request for the bot is enough to renew it
        await quiet()
        assert files.noted() == ["made one", "made two"]
        assert await running == "one"
        await quiet()
        assert files.noted() == ["made one", "made two", "closed one"]
        assert await said(bots) == "two"
    assert files.noted()[-1:] == ["closed two"]


async def test_an_editable_package_is_imported_anew_and_other_packages_are_not(files, tmp_path, monkeypatch, told):
    packages = tmp_path / "site"
    for name, editable in (("soft", True), ("hard", False)):
        info = f"sartor_{name}-1.0.dist-info"
        write(packages, f"{info}/METADATA", f"Metadata-Version: 2.1\nName: sartor-{name}\nVersion: 1.0\n")
        write(packages, f"{info}/entry_points.txt", f"[sartor.plugins]\n{name} = sartor_{name}.plugin:Own\n")
        write(packages, f"{info}/direct_url.json", json.dumps({"url": "file:///x", "dir_info": {"editable": editable}}))
        write(packages, f"sartor_{name}/__init__.py", "")
        write(packages, f"sartor_{name}/words.py", f"NAME = '{name}_one'\n")
        code = (
            "from sartor import Plugin, Tool, hookimpl\nfrom sartor_X.words import NAME\n\n\nclass Own(Plugin):\n"
            "    @hookimpl\n    def sartor_tools(self, bot):\n        return [made()]\n\n\n"
            "def made():\n    from sartor import tool\n\n    async def work(of: str) -> str:\n"
            '        """Works."""\n        return of\n\n    work.__name__ = NAME\n    return tool(work)\n'
        )
        write(packages, f"sartor_{name}/plugin.py", code.replace("sartor_X", f"sartor_{name}"))
    monkeypatch.syspath_prepend(str(packages))
    files.bot(SIGNED.replace("plugins: {", "plugins: {soft: {}, hard: {}, "))
    try:
        async with sartor.open(files.root, reload=True) as bots:
            await said(bots)
            kept = sys.modules["sartor_hard.words"]
            write(packages, "sartor_hard/words.py", "NAME = 'hard_two'\n")
            write(packages, "sartor_soft/words.py", "NAME = 'soft_two'\n")
            await said(bots)
            assert [tool.name for tool in bots[BOT].tools] == ["soft_two", "hard_one"]
            assert sys.modules["sartor_hard.words"] is kept
            words = sys.modules["sartor_soft.words"]
            write(packages, "sartor_soft/plugin.py", "import nothing_of_that_name\n")
            await said(bots)
            assert sys.modules["sartor_soft.words"] is words  # what runs may import it still
    finally:
        for name in [name for name in sys.modules if name.startswith(("sartor_soft", "sartor_hard"))]:
            del sys.modules[name]
    assert told()[0] == "acme/support: reloaded (sartor_soft/words.py)"
    assert "NOT reloaded (sartor_soft/plugin.py)" in told()[1]


KNOWS = "grounding: free\n"


async def test_documents_that_come_change_and_go_count_in_the_next_turn(make_project, told):
    old = {f"{HOME}/knowledge/returns.md": "# Returns\n\nReturns are free.\n"}
    root = make_project({f"{HOME}/bot.yaml": KNOWS, **old}, script=["Hm."] * 9)

    async def sources(question: str) -> list[str]:
        return [passage.source for passage in (await bots[BOT].reply(question)).passages]

    async with sartor.open(root, reload=True) as bots:
        assert await sources("returns") == []  # what was there before is for `sartor ingest`
        await bots.knowledge(BOT).ingest()
        write(root, f"{HOME}/knowledge/parcels.md", "# Parcels\n\nParcels leave daily.\n")
        assert await sources("parcels") == ["parcels.md"]
        write(root, f"{HOME}/knowledge/parcels.md", "# Parcels\n\nParcels leave weekly.\n")
        assert await sources("weekly") == ["parcels.md"]
        (root / HOME / "knowledge/parcels.md").unlink()
        assert await sources("parcels") == []
        assert await sources("returns") == ["returns.md"]
        write(root, f"{HOME}/knowledge/.returns.md.swp", "x")
        write(root, f"{HOME}/knowledge/broken.md", "")
        assert await sources("returns") == ["returns.md"]
        assert await sources("returns") == ["returns.md"]
    assert told()[:3] == [
        "acme/support: knowledge: added parcels.md",
        "acme/support: knowledge: changed parcels.md",
        "acme/support: knowledge: removed parcels.md",
    ]
    assert len(told()) == 4 and "knowledge/broken.md cannot be read" in told()[3]


async def test_a_knowledge_folder_that_is_not_there_makes_nothing_forgotten(make_project):
    root = make_project({f"{HOME}/bot.yaml": KNOWS, f"{HOME}/knowledge/a.md": "# Returns\n\nFree.\n"}, script=["Hm."])
    async with sartor.open(root) as bots:
        await bots.knowledge(BOT).ingest()
    (root / HOME / "knowledge/a.md").unlink()
    async with sartor.open(root, reload=True) as bots:
        await bots[BOT].reply("returns")
        assert list(await bots.store.tenant("acme").documents("support")) == ["a.md"]


async def test_another_length_of_chunks_cuts_the_documents_anew(make_project):
    text = "# Returns\n\n" + "Returns are free for everybody who asks. " * 40
    root = make_project({f"{HOME}/bot.yaml": KNOWS, f"{HOME}/knowledge/a.md": text}, script=["Hm."] * 3)
    async with sartor.open(root, reload=True) as bots:
        await bots.knowledge(BOT).ingest()
        await bots[BOT].reply("returns")
        store = bots.store.tenant("acme")
        before = len(await store.all_chunks("support"))
        write(root, f"{HOME}/bot.yaml", KNOWS + "retrieval: {words: 30}\n")
        await bots[BOT].reply("returns")
        assert len(await store.all_chunks("support")) > before


async def test_two_hundred_reloads_leave_nothing_behind(files):
    def count() -> tuple[int, int, int]:
        gc.collect()
        plugins = [thing for thing in gc.get_objects() if type(thing).__name__ == "Signature"]
        return len(sys.modules), len(os.listdir("/proc/self/fd")), len(plugins)

    async with sartor.open(files.root, reload=True) as bots:
        for version in range(5):
            files.sign(f"v{version}")
            assert await said(bots) == f"v{version}"
        await quiet()
        before = count()
        for version in range(200):
            files.sign('broken"""(' if version % 10 == 9 else f"w{version}")
            if version % 20 == 19:
                files.bot(f"{SIGNED}title: T{version}\nplugins_: {{}}\n")
            elif version % 20 == 0:
                files.bot(f"{SIGNED}title: T{version}\n")
            await said(bots)
        files.bot(SIGNED)
        files.sign("end")
        assert await said(bots) == "end"
        await quiet()
        assert count() == before
    made = sorted(line.split()[1] for line in files.noted() if line.startswith("made"))
    assert made == sorted(line.split()[1] for line in files.noted() if line.startswith("closed"))
    assert len(made) > 150
