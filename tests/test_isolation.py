"""Two tenants in one project: nothing of one is reachable from another's objects."""

from __future__ import annotations

import contextlib
import gc
import textwrap
import types

import pytest
import sartor
from sartor.errors import KnowledgeError, NamingError
from sartor.values import Outcome

SPECIAL = textwrap.dedent(
    '''
    from sartor import Edit, Passage, Plugin, PluginSettings, Policy, hookimpl, rewrite, tool

    class Settings(PluginSettings):
        mark: str

    class Mark(Policy):
        """Puts the tenant's mark at the end of the message."""
        def __init__(self, mark):
            self.mark = mark
        async def input(self, turn, text):
            return rewrite([Edit(len(text), len(text), " " + self.mark)])

    class Extra:
        def __init__(self, mark):
            self.mark = mark
        async def retrieve(self, turn, query, limit):
            return [Passage("extra-" + self.mark, turn.tenant, "extra", "Extra", "extra " + self.mark, 0.5)]

    class Special(Plugin):
        Settings = Settings
        @hookimpl
        def sartor_policies(self):
            return [Mark(self.settings.mark)]
        @hookimpl
        def sartor_retrievers(self):
            return [Extra(self.settings.mark)]
        @hookimpl
        def sartor_tools(self):
            mark = self.settings.mark
            def secret() -> str:
                return mark
            return [tool(name="secret", description="Tell the secret.")(secret)]
    '''
)


def tenant(name: str) -> dict[str, str]:
    mark = f"mark-of-{name}"
    return {
        f"tenants/{name}/tenant.yaml": f"name: Company {name}\n",
        f"tenants/{name}/support/bot.yaml": f"""
            values: {{company: value-of-{name}}}
            instructions: You work for ${{company}}.
            plugins: {{special: {{mark: {mark}}}}}
            """,
        f"tenants/{name}/support/knowledge/delivery.md": f"# Delivery\n\nParcels of secret-of-{name} leave at noon.\n",
    }


KEPT = """
from sartor import Plugin, hookimpl
from sartor.testing import ScriptedModel


class Keeps(ScriptedModel):
    forgotten: list[str] = []

    async def forget(self, tenant):
        self.forgotten.append(tenant)


class Kept(Plugin):
    @hookimpl
    def sartor_model(self):
        return Keeps(script=["Hello."] * 9)
"""


@pytest.fixture
async def bots(make_project):
    files = {"plugins/special.py": SPECIAL, **tenant("acme"), **tenant("globex")}
    script = [{"call": "secret"}, "Done [1]."] * 3
    async with sartor.open(make_project(files, script=script)) as opened:
        for bot_id in opened:
            await opened.knowledge(bot_id).ingest()
        yield opened


async def test_passages_history_tools_policies_and_values_are_each_tenants_own(bots):
    for name, other in (("acme", "globex"), ("globex", "acme")):
        reply = await bots[f"{name}/support"].reply("When do parcels leave?", user="u1", conversation="c1")
        assert reply.outcome is Outcome.ANSWERED, reply.error
        assert reply.tools[0].result.text == f"mark-of-{name}"
        assert {p.text for p in reply.passages} == {
            f"Parcels of secret-of-{name} leave at noon.",
            f"extra mark-of-{name}",
        }
        assert f"of-{other}" not in repr(reply)
    for prompt in bots.model().prompts:
        told = repr(prompt)
        assert ("of-acme" in told) != ("of-globex" in told)
    assert {options["cache_scope"] for options in bots.model().options[:2]} == {"acme"}
    assert {options["cache_scope"] for options in bots.model().options[2:]} == {"globex"}


async def test_the_model_is_told_the_share_of_the_tenants_plan(make_project):
    files = {
        **tenant("acme"),
        **tenant("globex"),
        "plugins/special.py": SPECIAL,
        "tenants/acme/tenant.yaml": "plan: gold\n",
        "plugins/kept.py": KEPT,
        "sartor.yaml": """
            model: kept
            models: {kept: {plugin: kept}}
            plans: {gold: {share: 4}}
            """,
    }
    async with sartor.open(make_project(files)) as bots:
        for name in ("acme", "globex"):
            await bots[f"{name}/support"].reply("Hi", user="u1")
        assert [options["share"] for options in bots.model().options] == [4.0, 1.0]
        await bots.erase("acme")
        assert bots.model().forgotten == ["acme"]


async def test_the_same_conversation_of_the_same_user_stays_apart(bots):
    first = await bots["acme/support"].reply("What is mine?", user="u1", conversation="c1")
    second = await bots["globex/support"].reply("And what is this?", user="u1", conversation="c1")
    assert first.turn.conversation == second.turn.conversation == "c1"
    assert [m.type for m in bots.model().prompts[2]] == ["system", "human"], "no history of the other tenant"
    acme = await bots.store.tenant("acme").history("support", "u1", "c1", 9)
    globex = await bots.store.tenant("globex").history("support", "u1", "c1", 9)
    assert [e.question for e in acme] == ["What is mine? mark-of-acme"]
    assert [e.question for e in globex] == ["And what is this? mark-of-globex"]
    assert await bots.store.tenant("acme").reply(second.turn.id) is None
    assert await bots.store.tenant("globex").reply(first.turn.id) is None


async def test_erasing_one_leaves_the_other_whole(bots):
    for name in ("acme", "globex"):
        await bots[f"{name}/support"].reply("When do parcels leave?", user="u1", conversation="c1")
    for name in ("acme", "globex"):
        bots.project.data(name).mkdir(parents=True, exist_ok=True)
        (bots.project.data(name) / "index.bin").write_text(name)
    gone = await bots.erase("acme")
    assert gone["turns"] == 1 and gone["conversations"] == 1
    assert not bots.project.data("acme").exists() and (bots.project.data("globex") / "index.bin").exists()
    assert await bots.store.tenants() == ["globex"]
    assert await bots.store.tenant("acme").documents("support") == {}
    assert await bots.store.tenant("acme").history("support", "u1", "c1", 9) == []
    assert len(await bots.store.tenant("globex").history("support", "u1", "c1", 9)) == 1
    reply = await bots["globex/support"].reply("When do parcels leave?", user="u1", conversation="c1")
    assert "secret-of-globex" in repr(reply.passages)
    assert bots.project.tenants() == ["acme", "globex"], "the files stay"


async def test_a_bot_that_cannot_be_built_does_not_keep_its_tenant_from_being_erased(bots):
    await bots["acme/support"].reply("When do parcels leave?")
    path = bots.project.directory / "tenants/acme/broken/bot.yaml"
    path.parent.mkdir()
    path.write_text("titel: x\n")
    with pytest.raises(sartor.SartorError, match="unknown key 'titel'"):
        await bots.erase("acme")
    assert await bots.store.tenants() == ["globex"]


@pytest.mark.parametrize("name", ["../globex", "", "..", "globex/../acme", "*"])
async def test_what_is_no_name_erases_nothing(bots, name):
    with pytest.raises(NamingError):
        await bots.erase(name)
    assert await bots.store.tenants() == ["acme", "globex"]


async def test_the_knowledge_of_one_cannot_be_searched_by_a_turn_of_another(bots):
    reply = await bots["acme/support"].reply("Hello?")
    with pytest.raises(KnowledgeError, match="cannot search the documents of globex/support"):
        await bots.knowledge("globex/support").retrieve(reply.turn, "parcels", 4)


async def test_the_store_of_one_takes_no_turn_of_another(bots):
    reply = await bots["acme/support"].reply("Hello?")
    with pytest.raises(NamingError, match="is of tenant 'acme'"):
        await bots.store.tenant("globex").commit(reply)


def reach(start: object) -> dict[int, object]:
    """Everything that can be reached from `start` by following references, less what a process shares: modules,
    classes, functions' globals, the model, the database's connection and the event loop."""
    seen: dict[int, object] = {}
    pending = [start]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or _shared(thing):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, types.FunctionType):
            for cell in thing.__closure__ or ():
                with contextlib.suppress(ValueError):
                    pending.append(cell.cell_contents)
            pending += [thing.__defaults__, thing.__kwdefaults__]
        elif isinstance(thing, types.MethodType):
            pending += [thing.__self__, thing.__func__]
        else:
            pending += gc.get_referents(thing)
    return seen


def _shared(thing: object) -> bool:
    if isinstance(thing, type | types.ModuleType | types.CodeType | types.BuiltinFunctionType | types.FrameType):
        return True
    kind = type(thing)
    return kind.__name__ == "ScriptedModel" or kind.__module__.startswith(
        ("asyncio", "_asyncio", "sqlalchemy", "aiosqlite")
    )


def told(things: dict[int, object]) -> set[str]:
    return {thing for thing in things.values() if isinstance(thing, str)}


@pytest.mark.parametrize("part", ["bot", "knowledge", "store"])
async def test_no_reference_leads_from_one_tenant_to_another(bots, part):
    """The object graph of the one holds its own secrets (so the walk sees something) and none of the other's."""
    for bot_id in bots:
        await bots[bot_id].reply("When do parcels leave?", user="u1")
    pick = {
        "bot": lambda name: bots[f"{name}/support"],
        "knowledge": lambda name: bots.knowledge(f"{name}/support"),
        "store": bots.store.tenant,
    }[part]
    acme, globex = reach(pick("acme")), reach(pick("globex"))
    assert "acme" in told(acme) and "globex" in told(globex)
    assert not [text for text in told(acme) if "globex" in text]
    assert not [text for text in told(globex) if "acme" in text]
    if part == "bot":
        assert any("mark-of-acme" in text for text in told(acme))
    if part != "store":
        assert any("secret-of-acme" in text for text in told(acme))
    ours = {
        type(thing).__name__
        for thing in (acme[key] for key in acme.keys() & globex.keys())
        if type(thing).__module__.startswith(("sartor", "langchain")) and hasattr(thing, "__dict__")
    }
    constants = {"Origin", "Outcome", "Limits", "Grounding", "Retrieval", "Replies"}
    assert ours <= {"SQLiteDatabase", *constants}, "nothing else is shared"
