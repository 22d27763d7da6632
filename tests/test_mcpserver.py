"""A bot as an MCP server, asked by the official SDK's client: in process, over stdio, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest
import sartor
import uvicorn
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from sartor.mcpserver import loopback_app, mcp_server

BOT = "acme/support"
MODES = ("2026-07-28", "legacy")
RULES = """
    import re
    from sartor import ALLOW, Edit, Plugin, Policy, block, hookimpl, rewrite

    class Rules(Policy):
        name = "rules"
        window = None

        async def input(self, turn, text):
            return block("rule: weapon", "We do not talk about that.") if "weapon" in text else ALLOW

        async def passage(self, turn, passage):
            return block("rule: internal") if "INTERNAL" in passage.text else ALLOW

        async def output(self, turn, draft):
            return rewrite([Edit(*m.span(), "a project") for m in re.finditer("Project Falcon", draft.text)], "rule")

    class RulesPlugin(Plugin):
        @hookimpl
        def sartor_policies(self, bot):
            return [Rules()]
    """
FILES = {
    "plugins/rules.py": RULES,
    "tenants/acme/support/bot.yaml": """
        title: Acme Help
        audiences: {business: {}}
        plugins: {rules: {}}
        """,
    "tenants/acme/support/knowledge/delivery.md": """
        # Delivery

        Parcels leave within one day. Express parcels cost nine euros.

        ## Abroad

        Parcels abroad take four days, or two with Project Falcon.

        ## Staff

        INTERNAL: parcels of staff cost nothing.
        """,
    "tenants/acme/support/knowledge/audience=business/terms.md": """
        # Terms

        Business parcels are paid within thirty days.
        """,
    "tenants/globex/desk/bot.yaml": "title: Globex Desk\n",
    "tenants/globex/desk/knowledge/secrets of globex.md": "# Secrets\n\nGlobex parcels are blue.\n",
}
ASKED = {"question": "When do parcels leave?"}


@pytest.fixture
def opened(make_project):
    """Open a project whose bots have read their documents."""

    @contextlib.asynccontextmanager
    async def open_(script=(), files=None) -> AsyncIterator[sartor.Bots]:
        async with sartor.open(make_project({**FILES, **(files or {})}, script=script)) as bots:
            for bot_id in bots:
                await bots.knowledge(bot_id).ingest()
            yield bots

    return open_


def slow(script: list[str], delay: float = 0.02) -> dict[str, str]:
    """A project whose model takes its time."""
    told = json.dumps({"plugin": "scripted", "script": script, "delay": delay})
    yaml = f"model: slow\nmodels: {{slow: {told}}}\nembeddings: null\nindex: {{plugin: memory-index}}\n"
    return {"sartor.yaml": yaml}


def served(bots: sartor.Bots, bot: str = BOT, user: str = "mcp", **options) -> Client:
    return Client(mcp_server(bots, bot, user=user, **options))


def text_of(result) -> str:
    return "\n".join(block.text for block in result.content)


async def test_the_tools_are_called_after_the_bot(opened):
    async with opened() as bots, served(bots) as client:
        assert (client.server_info.name, client.server_info.title) == (BOT, "Acme Help")
        ask, search = (await client.list_tools()).tools
        assert (ask.name, ask.title, search.name) == ("ask", "Acme Help", "search")
        assert "Acme Help" in ask.description
        assert ask.input_schema["required"] == ["question"]
        assert set(ask.output_schema["required"]) == {"answer", "outcome", "citations", "conversation", "turn"}
        assert ask.annotations.read_only_hint and search.annotations.read_only_hint


async def test_an_answer_has_its_sources_and_is_stored(opened):
    async with opened(["They leave within one day [1]."]) as bots, served(bots, user="ada") as client:
        result = await client.call_tool("ask", ASKED)
        told = result.structured_content
        assert not result.is_error
        assert (told["answer"], told["outcome"]) == ("They leave within one day [1].", "answered")
        assert [(c["number"], c["source"]) for c in told["citations"]] == [(1, "delivery.md")]
        assert text_of(result) == (
            f"They leave within one day [1].\n[1] delivery.md (Delivery)\nconversation: {told['conversation']}"
        )
        stored = await bots.store.tenant("acme").reply(told["turn"])
        assert stored.reply.turn.user == "ada" and stored.reply.turn.conversation == told["conversation"]


async def test_a_conversation_goes_on(opened):
    async with opened(["One.", "Two."]) as bots, served(bots) as client:
        first = (await client.call_tool("ask", ASKED)).structured_content
        asked = {"question": "And express parcels?", "conversation": first["conversation"]}
        second = (await client.call_tool("ask", asked)).structured_content
        assert second["conversation"] == first["conversation"] and second["turn"] != first["turn"]
        said = [message.content for message in bots.model().prompts[1]]
        assert said[1:3] == ["When do parcels leave?", "One."]


async def test_a_flow_goes_on_with_its_conversation(opened):
    flow = """
        title: Acme Help
        plugins: {rules: {}}
        hand_over: {}
        flows:
          visit:
            title: your visit
            start: [plan a visit]
            slots: {place: {ask: Which shop?, type: choice, choices: [North, South]}}
            confirm: "Shall I call the shop {place}?"
            hand_over: true
        """
    async with opened(files={"tenants/acme/support/bot.yaml": flow}) as bots, served(bots) as client:
        first = (await client.call_tool("ask", {"question": "I want to plan a visit"})).structured_content
        assert first["answer"] == "Which shop?\n- North\n- South"
        asked = {"question": "the second", "conversation": first["conversation"]}
        second = (await client.call_tool("ask", asked)).structured_content
        assert second["answer"] == "Shall I call the shop South?"


async def test_a_conversation_that_nobody_had_or_another_user_had_is_not_found(opened):
    async with opened(["One."]) as bots, served(bots, user="ada") as ada, served(bots, user="bob") as bob:
        hers = (await ada.call_tool("ask", ASKED)).structured_content["conversation"]
        for conversation in (hers, "1", "x" * 200, "\ud800", "a\0b"):
            result = await bob.call_tool("ask", {**ASKED, "conversation": conversation})
            assert result.is_error and "conversation" in text_of(result)
        assert len(bots.model().prompts) == 1


async def test_a_refusal_is_an_answer(opened):
    async with opened() as bots, served(bots) as client:
        result = await client.call_tool("ask", {"question": "Where do I buy a weapon?"})
        assert not result.is_error
        assert result.structured_content["outcome"] == "blocked"
        assert result.structured_content["answer"] == "We do not talk about that."


async def test_no_policy_is_passed_by_streaming(opened):
    seen: list[str] = []

    async def note(progress, total, message):
        seen.append(message)

    said = "It goes with Project Falcon, every day of the week."
    async with opened(files=slow([said])) as bots, served(bots) as client:
        result = await client.call_tool("ask", ASKED, progress_callback=note)
        assert result.structured_content["answer"] == "It goes with a project, every day of the week."
        assert seen and not any("Falcon" in text for text in seen)


async def test_progress_is_the_text_so_far(opened):
    seen: list[tuple[float, str]] = []

    async def note(progress, total, message):
        seen.append((progress, message))

    said = "Parcels leave within one day, and express parcels leave at once. " * 3
    files = {**slow([said]), "tenants/acme/support/bot.yaml": "title: Acme Help"}
    async with opened(files=files) as bots, served(bots) as client:
        answer = (await client.call_tool("ask", ASKED, progress_callback=note)).structured_content["answer"]
    numbers, texts = zip(*seen, strict=True)
    assert len(seen) > 1 and list(numbers) == sorted(set(numbers))
    assert all(answer.startswith(text) for text in texts) and list(texts) == sorted(texts, key=len)


async def test_a_turn_that_fails_is_an_error_in_the_bot_s_own_words(opened):
    async with opened(["FAIL"]) as bots, served(bots) as client:
        result = await client.call_tool("ask", ASKED)
        assert result.is_error and result.structured_content["outcome"] == "failed"
        assert "broke" not in text_of(result) and result.structured_content["answer"]


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("ask", {}, "question"),
        ("ask", {"question": 7}, "question"),
        ("ask", {"question": "x", "user": "eve"}, "user"),
        ("ask", {"question": " "}, "empty"),
        ("ask", {"question": "x" * 100_000}, "characters"),
        ("ask", {"question": "\ud800"}, "question"),
        ("search", {"query": "parcels", "limit": 0}, "limit"),
        ("search", {"query": "x" * 100_000}, "characters"),
    ],
)
async def test_wrong_arguments_are_named(opened, tool, arguments, named):
    async with opened() as bots, served(bots) as client:
        result = await client.call_tool(tool, arguments)
        assert result.is_error and named in text_of(result)


async def test_an_unknown_tool_is_a_protocol_error(opened):
    async with opened() as bots, served(bots) as client:
        with pytest.raises(MCPError, match="no tool 'erase'"):
            await client.call_tool("erase", {})


async def test_a_fault_of_ours_tells_no_detail(opened, monkeypatch, caplog):
    async with opened() as bots, served(bots) as client:
        await bots.store.close()
        for tool, arguments in (("ask", ASKED), ("search", {"query": "parcels"})):
            result = await client.call_tool(tool, arguments)
            assert result.is_error and text_of(result) in ("acme/support cannot answer now.",)
        with pytest.raises(MCPError, match=r"^acme/support cannot answer now\.$"):
            await client.list_resources()


async def test_search_gives_what_the_policies_let_the_user_see(opened):
    async with opened() as bots, served(bots) as client, served(bots, audience="business") as business:
        result = await client.call_tool("search", {"query": "parcels abroad of staff or business paid", "limit": 10})
        texts = {one["source"]: [] for one in result.structured_content["passages"]}
        for one in result.structured_content["passages"]:
            texts[one["source"]].append(one["text"])
        assert set(texts) == {"delivery.md"}
        assert "Parcels abroad take four days, or two with a project." in texts["delivery.md"]
        assert not any("INTERNAL" in text or "thirty" in text for text in texts["delivery.md"])
        assert "delivery.md (Delivery › Abroad)" in text_of(result)
        found = await business.call_tool("search", {"query": "business parcels paid", "limit": 1})
        assert [one["source"] for one in found.structured_content["passages"]] == ["audience=business/terms.md"]


async def test_a_search_may_find_nothing_or_be_refused(opened):
    async with opened() as bots, served(bots) as client:
        nothing = await client.call_tool("search", {"query": "zebra"})
        assert not nothing.is_error and nothing.structured_content == {"passages": []}
        refused = await client.call_tool("search", {"query": "weapon parcels"})
        assert refused.is_error and text_of(refused) == "We do not talk about that."


async def test_documents_are_resources(opened):
    async with opened() as bots, served(bots) as client, served(bots, audience="business") as business:
        [listed] = (await client.list_resources()).resources
        assert (listed.uri, listed.name, listed.title) == (
            "sartor://acme/support/delivery.md",
            "delivery.md",
            "Delivery",
        )
        [content] = (await client.read_resource(listed.uri)).contents
        assert content.text == (
            "Delivery\n\nParcels leave within one day. Express parcels cost nine euros.\n\n"
            "Delivery › Abroad\n\nParcels abroad take four days, or two with a project."
        )
        uris = [resource.uri for resource in (await business.list_resources()).resources]
        assert uris == ["sartor://acme/support/audience%3Dbusiness/terms.md", listed.uri]
        assert "thirty days" in (await business.read_resource(uris[0])).contents[0].text
        with pytest.raises(MCPError, match="not found"):
            await client.read_resource(uris[0])


@pytest.mark.parametrize(
    "uri",
    [
        "sartor://acme/support/nothing.md",
        "sartor://acme/support/",
        "sartor://globex/desk/secrets%20of%20globex.md",
        "sartor://acme/support/../../globex/desk/secrets%20of%20globex.md",
        "sartor://acme/support/%00",
        "file:///etc/passwd",
    ],
)
async def test_no_other_resource_can_be_read(opened, uri):
    async with opened() as bots, served(bots) as client:
        with pytest.raises(MCPError, match="not found"):
            await client.read_resource(uri)


async def test_many_documents_are_listed_page_by_page(opened):
    files = {f"tenants/acme/support/knowledge/{n:03} é.md": f"# Page {n}\n\nText {n}." for n in range(250)}
    async with opened(files=files) as bots, served(bots) as client:
        names, cursor = [], None
        while True:
            page = await client.list_resources(cursor=cursor)
            names += [resource.name for resource in page.resources]
            if (cursor := page.next_cursor) is None:
                break
        assert names == [*(f"{n:03} é.md" for n in range(250)), "delivery.md"]


async def test_without_its_documents_a_bot_can_only_be_asked(opened):
    async with opened(["Yes."]) as bots, served(bots, documents=False) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["ask"]
        assert client.server_capabilities.resources is None
        with pytest.raises(MCPError):
            await client.call_tool("search", {"query": "parcels"})
        with pytest.raises(MCPError):
            await client.read_resource("sartor://acme/support/delivery.md")


async def test_a_bot_reaches_nothing_of_another_tenant(opened):
    async with opened() as bots, served(bots, "globex/desk") as client:
        found = await client.call_tool("search", {"query": "parcels"})
        assert [one["source"] for one in found.structured_content["passages"]] == ["secrets of globex.md"]
        [listed] = (await client.list_resources()).resources
        assert listed.uri == "sartor://globex/desk/secrets%20of%20globex.md"
        assert "blue" in (await client.read_resource(listed.uri)).contents[0].text


# Cancelling


LONG = ["word " * 400]


async def replies(bots: sartor.Bots) -> list[str]:
    """What is stored of the turns of the user `mcp`."""
    store = bots.store.tenant("acme")
    rows = await store.conversations("support", "mcp", 10)
    return [exchange.reply for row in rows for exchange in await store.history("support", "mcp", row.id, 10)]


async def cancel_in_the_middle(client: Client) -> None:
    """Ask, and go away when the first text has come."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as calls:

            async def leave(progress, total, message):
                calls.cancel_scope.cancel()

            await client.call_tool("ask", ASKED, progress_callback=leave)
            raise AssertionError("the call ended by itself")


async def stopped_early(bots: sartor.Bots) -> bool:
    """Whether the one turn is stored with the text so far, soon after its caller left."""
    for _ in range(100):
        if found := await replies(bots):
            return len(found) == 1 and 0 < len(found[0]) < len(LONG[0]) / 2
        await asyncio.sleep(0.02)
    return False


async def test_a_caller_who_goes_away_in_process_stops_the_turn(opened):
    files = {**slow([*LONG, "Yes."]), "tenants/acme/support/bot.yaml": "title: Acme Help"}
    async with opened(files=files) as bots, served(bots) as client:
        await cancel_in_the_middle(client)
        assert await stopped_early(bots)
        assert (await client.call_tool("ask", ASKED)).structured_content["answer"] == "Yes."


@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_who_goes_away_over_http_stops_the_turn(opened, mode):
    files = {**slow(LONG), "tenants/acme/support/bot.yaml": "title: Acme Help"}
    async with opened(files=files) as bots, listening(bots) as url:
        async with Client(url, mode=mode) as client:
            await cancel_in_the_middle(client)
        assert await stopped_early(bots)


# Over HTTP, for this machine


@contextlib.asynccontextmanager
async def listening(bots: sartor.Bots, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The address of a bot that is served on a port of its own."""
    app = loopback_app(mcp_server(bots, BOT, user="mcp"), host)
    with socket.socket() as listener:
        listener.bind((host, 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            yield f"http://{host}:{listener.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            await task


@pytest.mark.parametrize("mode", MODES)
async def test_a_bot_answers_over_http_without_a_session(opened, mode):
    async with opened(["One.", "Two."]) as bots, listening(bots) as url:
        async with Client(url, mode=mode) as client:
            first = (await client.call_tool("ask", ASKED)).structured_content
        async with Client(url, mode=mode) as other:
            asked = {**ASKED, "conversation": first["conversation"]}
            assert (await other.call_tool("ask", asked)).structured_content["answer"] == "Two."
            assert len((await other.list_resources()).resources) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Content-Type": "text/plain"}, 400),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost"}, 200),
        ({}, 200),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5"])
async def test_a_web_page_elsewhere_cannot_reach_it(opened, headers, status, host):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    usual = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    async with opened() as bots, listening(bots, host) as url, httpx2.AsyncClient() as http:
        assert (await http.post(url, json=body, headers={**usual, **headers})).status_code == status


# Over stdio


def command(root: Path, *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-c", "from sartor.cli import main; main()", "mcp", *arguments, "-p", str(root)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )


LOUD = """
    import os
    from sartor import Plugin, hookimpl

    print("a plugin that prints while it is imported")

    class Loud(Plugin):
        @hookimpl
        def sartor_policies(self, bot):
            os.write(1, b"and writes where the protocol is\\n")
            return []
    """


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_starts_the_command_and_asks(make_project, mode):
    files = {**FILES, "plugins/loud.py": LOUD, "tenants/acme/support/bot.yaml": "title: Acme Help\nplugins: {loud: {}}"}
    root = make_project(files, script=["One.", "Two."])
    async with sartor.open(root) as bots:
        await bots.knowledge(BOT).ingest()
    async with Client(command(root, BOT, "--user", "ada"), mode=mode) as client:
        first = (await client.call_tool("ask", ASKED)).structured_content
        asked = {**ASKED, "conversation": first["conversation"]}
        assert (await client.call_tool("ask", asked)).structured_content["answer"] == "Two."
        [listed] = (await client.list_resources()).resources
        assert "nine euros" in (await client.read_resource(listed.uri)).contents[0].text
    async with sartor.open(root) as bots:
        [row] = await bots.store.tenant("acme").conversations("support", "ada", 10)
        assert row.turns == 2


@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_who_goes_away_over_stdio_stops_the_turn(make_project, mode):
    files = {**FILES, **slow([*LONG, "Yes."]), "tenants/acme/support/bot.yaml": "title: Acme Help"}
    root = make_project(files)
    async with Client(command(root, BOT), mode=mode) as client:
        await cancel_in_the_middle(client)
        async with sartor.open(root) as bots:
            assert await stopped_early(bots)
        assert (await client.call_tool("ask", ASKED)).structured_content["answer"] == "Yes."


async def test_the_built_in_model_answers_over_stdio_and_a_second_process_says_why_not(make_project, tmp_path):
    """The default model and index: the index may be held by one process at a time."""
    root = make_project(
        {**FILES, "sartor.yaml": "", "tenants/acme/support/bot.yaml": "title: Acme Help\ngrounding: quote"}
    )
    async with sartor.open(root) as bots:
        await bots.knowledge(BOT).ingest()
    asked = {"question": "What do express parcels cost?"}
    log = (tmp_path / "log").open("w+")
    late = stdio_client(command(root, BOT), errlog=log)
    async with Client(command(root, BOT)) as client, Client(late) as second:
        told = (await client.call_tool("ask", asked)).structured_content
        assert told["answer"] == "Express parcels cost nine euros. [1]"
        found = (await client.call_tool("search", {"query": "parcels abroad"})).structured_content["passages"]
        assert found[0]["title"] == "Delivery › Abroad"
        refused = await second.call_tool("ask", asked)
        assert refused.is_error and "Another process" not in text_of(refused)
    with log:
        log.seek(0)
        assert "Another process has this tenant's index open" in log.read()


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    code = "from sartor.cli import main; main()"
    line = [sys.executable, "-c", code, "mcp", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, **options)


def test_a_client_that_closes_at_once_ends_the_command(make_project):
    done = run(BOT, "-p", str(make_project(FILES)), input="")
    assert (done.returncode, done.stdout) == (0, "")


def test_nonsense_on_standard_input_gets_no_nonsense_back(make_project):
    done = run(BOT, "-p", str(make_project(FILES)), input='hello\n[]\n{"jsonrpc": "2.0"}\n')
    assert done.returncode == 0
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in done.stdout.splitlines())


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_commits_the_turn(make_project, which):
    root = make_project({**FILES, **slow(LONG), "tenants/acme/support/bot.yaml": "title: Acme Help"})
    meta = {"progressToken": 1, "io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    meta["io.modelcontextprotocol/clientCapabilities"] = {}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    call["params"] = {"name": "ask", "arguments": ASKED, "_meta": meta}
    line = [sys.executable, "-c", "from sartor.cli import main; main()", "mcp", BOT, "-p", str(root)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(json.dumps(call) + "\n")
        process.stdin.flush()
        assert "notifications/progress" in process.stdout.readline()
        process.send_signal(which)
        assert process.wait(10) == 130

    async def stored() -> list[str]:
        async with sartor.open(root) as bots:
            return await replies(bots)

    [reply] = asyncio.run(stored())
    assert 0 < len(reply) < len(LONG[0]) / 2
