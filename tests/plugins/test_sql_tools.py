"""Named queries that only read."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError
from sartor.errors import PluginError, UsageError
from sartor.spec import Limits
from sartor.toolbox import check_call, offer, run_tool
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Origin, ToolCall, ToolResult, Turn
from sartor_plugins.sql_tools import SqlPlugin
from sartor_plugins.sql_tools.settings import SqlSettings
from sartor_plugins.sql_tools.sqlite import SqliteDatabase
from sartor_plugins.sql_tools.statement import Statement, parse_statement

TURN = Turn("t", "c", "acme", "support", "anna", "?", attributes={"customer": 1})
TABLE = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, customer INTEGER, status TEXT, placed DATE);
INSERT INTO orders VALUES (1, 'BW-1', 1, 'shipped', '2026-03-01'), (2, 'BW-2', 2, 'lost', '2026-03-02'),
                          (3, 'BW-3', 1, 'packed', '2026-03-03');
"""
MINE = {
    "describe": "Look up an order by its number.",
    "sql": "SELECT number, status FROM orders WHERE number = :number AND customer = :customer",
    "arguments": {"number": {"pattern": "BW-[0-9]+"}, "customer": {"type": "integer"}},
    "bind": {"customer": "turn:attributes.customer"},
    "from_user": ["number"],
    "rows": 1,
}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.executescript(TABLE)
    database.close()
    return tmp_path


def plugin(directory: Path, url: str = "sqlite:shop.db", **queries: Mapping[str, object]) -> SqlPlugin:
    settings = SqlSettings.model_validate({"databases": {"shop": {"url": url, "queries": queries}}})
    return SqlPlugin(settings, directory)


def tools(made: SqlPlugin) -> dict[str, Tool]:
    bot = BotInfo("acme", "support", made.directory, made.directory)
    return {tool.name: tool for tool in made.sartor_tools(bot)}


async def call(tool: Tool, turn: Turn = TURN, **arguments: JSONValue) -> ToolResult:
    request = ToolCall("1", tool.name, arguments, {name: frozenset({Origin.USER}) for name in arguments})
    checked = check_call({tool.name: tool}, request, "")
    if isinstance(checked, ToolResult):
        return checked
    return await run_tool(tool, request, checked[1], turn, Limits())


async def test_a_query_with_what_the_model_gives_and_what_it_cannot_set(shop):
    tool = tools(plugin(shop, order=MINE))["order"]
    assert not tool.acts and tool.from_user == {"number"}
    assert set(tool.schema["properties"]) == {"number"}
    assert (await call(tool, number="BW-1")).text == '{"number": "BW-1", "status": "shipped"}'
    assert (await call(tool, number="BW-2")).text == "nothing was found"  # somebody else's
    assert "Additional properties" in (await call(tool, number="BW-2", customer=2)).text
    assert "does not match" in (await call(tool, number="1")).text
    nobody = await call(tool, Turn("t", "c", "acme", "support", "x", "?"), number="BW-1")
    assert nobody.error and "not known for whom" in nobody.text
    told = offer(tool, ["What about bw-3 and BW-1?"])
    assert told is not None and told["function"]["parameters"]["properties"]["number"]["enum"] == ["bw-3", "BW-1"]
    assert (await call(tool, number="bw-3")).text == "nothing was found"  # allowed; the database is of another mind


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "x'; DROP TABLE orders; --", "BW-1' UNION SELECT 1, 2 --", '" OR ""="']
)
async def test_nothing_is_injected(shop, text):
    query = {**MINE, "arguments": {"number": {}, "customer": {"type": "integer"}}}
    tool = tools(plugin(shop, order=query))["order"]
    assert (await call(tool, number=text)).text == "nothing was found"
    assert (await call(tool, number="BW-1")).text != "nothing was found"


async def test_many_rows_are_cut_and_say_so(shop):
    made = plugin(
        shop,
        all={"describe": "All orders.", "sql": "SELECT id FROM orders ORDER BY id", "rows": 2},
        three={"describe": "All orders.", "sql": "SELECT id FROM orders ORDER BY id;", "rows": 3},
        since={
            "describe": "Orders since a day.",
            "sql": "SELECT id, x'00ff' AS raw FROM orders WHERE placed >= :day AND status = ifnull(:status, status)",
            "arguments": {"day": {"type": "date"}, "status": {"optional": True, "choices": ["packed", "lost"]}},
        },
    )
    found = tools(made)
    assert (
        await call(found["all"])
    ).text == '{"rows": [{"id": 1}, {"id": 2}], "note": "only the first 2 rows; there are more"}'
    assert (await call(found["three"])).text == '[{"id": 1}, {"id": 2}, {"id": 3}]'
    assert (await call(found["since"], day="2026-03-02", status="lost")).text == '[{"id": 2, "raw": "(2 bytes)"}]'
    assert (await call(found["since"], day="2026-03-03")).text == '[{"id": 3, "raw": "(2 bytes)"}]'
    assert (await call(found["since"], day="yesterday")).error
    assert await made.check() == []


async def test_a_long_query_is_stopped(shop):
    tool = tools(plugin(shop, count={"describe": "Count.", "sql": ENDLESS, "timeout": 0.3}))["count"]
    began = time.monotonic()
    late = await call(tool)
    assert late.error and "took too long" in late.text and time.monotonic() - began < 3


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "WITH x AS (SELECT 1) DELETE FROM orders",
        "UPDATE orders SET status = 'x'",
        "INSERT INTO orders (number) VALUES ('x')",
        "DROP TABLE orders",
        "ATTACH DATABASE 'other.db' AS other",
        "PRAGMA query_only = OFF",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE t (a)",
    ],
)
async def test_sqlite_itself_refuses_what_does_not_only_read(shop, sql):
    before = (shop / "shop.db").read_bytes()
    with pytest.raises(Exception, match="cannot be run"):
        await SqliteDatabase(shop / "shop.db").rows(Statement(sql, ()), {}, 5, 5)
    assert (shop / "shop.db").read_bytes() == before and {path.name for path in shop.iterdir()} == {"shop.db"}


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("DELETE FROM orders", "is no SELECT"),
        ("SELECT 1; DELETE FROM orders", "is more than one statement"),
        ("SELECT ?", "has the parameter"),
        ("SELECT :other", "'other' of the query 'q' is not declared"),
        ("SELECT ':number'", "'number' of the query 'q' does not stand in it"),
    ],
)
def test_faults_of_a_query_are_told_when_the_bot_is_built(shop, sql, what):
    with pytest.raises(PluginError, match=what):
        tools(plugin(shop, q={"describe": "Q.", "sql": sql, "arguments": {"number": {}} if "number" in what else {}}))


def test_parameters_are_found_where_they_are():
    told = parse_statement(
        "q", "SELECT a::text, ':no' -- :no\n FROM t /* :no */ WHERE b = :yes AND c > :no2 OR d = :yes"
    )
    assert told.names == ("yes", "no2")
    assert told.numbered().endswith("WHERE b = $1 AND c > $2 OR d = $1") and "a::text, ':no'" in told.numbered()


async def test_a_query_that_cannot_be_run_is_told_by_doctor(shop):
    made = plugin(shop, q={"describe": "Q.", "sql": "SELECT colour FROM orders"})
    (tool,) = tools(made).values()
    assert "no such column" in (await made.check())[0]
    failed = await call(tool)
    assert failed.text == "Error: q failed: the query cannot be run"


def test_places_of_databases(shop, tmp_path_factory, monkeypatch):
    query = {"describe": "Q.", "sql": "SELECT 1"}
    with pytest.raises(PluginError, match="outside the bot's folder"):
        tools(plugin(shop, "sqlite:../x.db", q=query))
    with pytest.raises(PluginError, match="there is no file"):
        tools(plugin(shop, "sqlite:x.db", q=query))
    with pytest.raises(ValidationError):
        plugin(shop, "postgresql://user:password@host/db", q=query)
    (tmp_path_factory.mktemp("x") / "shop.db").write_bytes((shop / "shop.db").read_bytes())
    monkeypatch.setenv("SHOP_DB", f"sqlite:{shop / 'shop.db'}")
    assert tools(plugin(tmp_path_factory.mktemp("bot"), "env:SHOP_DB", q=query))
    monkeypatch.setenv("SHOP_DB", "mysql://secret@x")
    with pytest.raises(UsageError) as caught:
        tools(plugin(shop, "env:SHOP_DB", q=query))
    assert "secret" not in str(caught.value)


async def test_postgresql(postgres_url, shop, monkeypatch):
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(postgres_url)
    await connection.execute(TABLE)
    await connection.close()
    monkeypatch.setenv("SHOP_DB", postgres_url)
    made = plugin(
        shop,
        "env:SHOP_DB",
        order=MINE,
        since={
            "describe": "Orders since a day.",
            "sql": "SELECT id, placed FROM orders WHERE placed >= :day ORDER BY id",
            "arguments": {"day": {"type": "date"}},
            "rows": 2,
        },
        write={"describe": "W.", "sql": "WITH x AS (DELETE FROM orders RETURNING 1) SELECT * FROM x"},
        sleep={"describe": "S.", "sql": "SELECT pg_sleep(30)", "timeout": 0.3},
        broken={"describe": "B.", "sql": "SELECT colour FROM orders"},
    )
    found = tools(made)
    try:
        assert (await call(found["order"], number="BW-1")).text == '{"number": "BW-1", "status": "shipped"}'
        assert (await call(found["order"], number="BW-2")).text == "nothing was found"
        text = (await call(found["since"], day="2026-03-01")).text
        assert '{"id": 1, "placed": "2026-03-01"}' in text and "only the first 2 rows" in text
        assert (await call(found["since"], day="2026-13-01")).error
        assert "the query cannot be run" in (await call(found["write"])).text
        assert "took too long" in (await call(found["sleep"])).text
        faults = await made.check()
        assert len(faults) == 1 and "colour" in faults[0]
        many = await asyncio.gather(*(call(found["order"], number="BW-3") for _ in range(12)))
        assert {result.text for result in many} == {'{"number": "BW-3", "status": "packed"}'}
    finally:
        await made.close()
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT count(*) FROM orders") == 3
    await connection.close()


async def test_a_postgresql_that_is_down(shop, monkeypatch):
    pytest.importorskip("asyncpg")
    monkeypatch.setenv("SHOP_DB", "postgresql://user:secret@127.0.0.1:9/x")
    made = plugin(shop, "env:SHOP_DB", q={"describe": "Q.", "sql": "SELECT 1"})
    (tool,) = tools(made).values()
    down = await call(tool)
    assert down.text == "Error: q failed: the database cannot be reached"
    assert len(await made.check()) == 1 and "secret" not in str(await made.check())
    await made.close()
