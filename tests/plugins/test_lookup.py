"""Tools that look up a row of a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from sartor.errors import PluginError, ToolError
from sartor.spec import Limits
from sartor.toolbox import check_call, run_tool
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Origin, ToolCall, ToolResult, Turn
from sartor_plugins.lookup import LookupPlugin, LookupSettings

ORDERS = """order_id,status,carrier,expected,postcode
BW-1042,shipped,Bikehaul,12 March,X91 AB12
BW-1043,delivered,Parcelway,,x91cd34
"""
TURN = Turn("t", "c", "acme", "support", "u", "Where is it?")


def make(directory: Path, **changes: object) -> Tool:
    settings = {"file": "orders.csv", "key": "order_id", "describe": "Look up an order by its number.", **changes}
    checked = LookupSettings.model_validate({"tools": {"order_status": settings}})
    bot = BotInfo("acme", "support", directory, directory)
    [tool] = LookupPlugin(checked, directory).sartor_tools(bot)
    return tool


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    (tmp_path / "commandes.csv").write_text("N° commande;état;1er code\nC-1;expédiée;X\n", encoding="utf-8")
    return path


async def call(tool: Tool, **arguments: JSONValue) -> str:
    request = ToolCall("1", "order_status", arguments, {name: frozenset({Origin.USER}) for name in arguments})
    checked = check_call({tool.name: tool}, request, "")
    assert not isinstance(checked, ToolResult), checked.text
    return (await run_tool(tool, request, checked[1], TURN, Limits())).text


@pytest.mark.parametrize("key", ["BW-1042", "bw-1042", "bw 1042", "#BW1042", " BW\u20131042. ", "ＢＷ１０４２"])
async def test_a_row_is_found_however_the_key_is_written(orders: Path, key: str) -> None:
    tool = make(orders.parent, columns=["status", "carrier"])
    assert await call(tool, order_id=key) == '{"order_id": "BW-1042", "status": "shipped", "carrier": "Bikehaul"}'


async def test_all_columns_by_default_and_no_empty_cells(orders: Path) -> None:
    assert make(orders.parent).function(order_id="BW-1043") == {
        "order_id": "BW-1043",
        "status": "delivered",
        "carrier": "Parcelway",
        "postcode": "x91cd34",
    }


async def test_an_unknown_key_is_said_to_be_unknown(orders: Path) -> None:
    tool = make(orders.parent)
    assert await call(tool, order_id="BW-9999") == "no order_id BW-9999 found"
    assert await call(tool, order_id="104") == "no order_id 104 found"
    assert await call(tool, order_id=" - ") == "that is no order_id"
    assert await call(tool, order_id="1" * 5000) == "that is no order_id"


async def test_a_second_fact_is_asked_for(orders: Path) -> None:
    tool = make(orders.parent, verify="postcode")
    assert set(tool.arguments.model_fields) == {"order_id", "postcode"}
    found = await call(tool, order_id="bw1042", postcode="x91ab12")
    assert "shipped" in found
    assert "X91" not in found
    for wrong in ("X91CD34", "", " "):
        assert await call(tool, order_id="BW-1042", postcode=wrong) == "no order_id BW-1042 found with that postcode"


async def test_a_second_tool_fails_for_flows_where_there_is_no_row(orders: Path) -> None:
    settings = {"file": "orders.csv", "key": "order_id", "describe": "Look up an order.", "check": "known_order"}
    checked = LookupSettings.model_validate({"tools": {"order_status": settings}})
    plugin = LookupPlugin(checked, orders.parent)
    first, second = plugin.sartor_tools(BotInfo("acme", "support", orders.parent, orders.parent))
    assert (first.name, first.for_flows, second.name, second.for_flows) == ("order_status", False, "known_order", True)
    assert second.function(order_id="bw 1042") == first.function(order_id="BW-1042")
    with pytest.raises(ToolError, match="no order_id BW-9 found"):
        second.function(order_id="BW-9")


async def test_the_schema_tells_the_model_what_a_key_looks_like(orders: Path) -> None:
    tool = make(orders.parent, pattern=r"BW-\d{4}")
    assert tool.description == "Look up an order by its number."
    assert tool.schema["properties"] == {
        "order_id": {
            "description": "order_id, as the user wrote it",
            "pattern": r"^(?:BW-\d{4})$",
            "title": "Order Id",
            "type": "string",
        }
    }
    assert "shipped" in await call(tool, order_id="bw1042")


def test_a_changed_file_is_read_again(orders: Path) -> None:
    tool = make(orders.parent)
    assert "shipped" in str(tool.function(order_id="BW-1042"))
    before = orders.stat()
    orders.write_text(ORDERS.replace("shipped", "arrived"))  # of the same size
    os.utime(orders, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert "arrived" in str(tool.function(order_id="BW-1042"))
    orders.unlink()
    with pytest.raises(PluginError, match="cannot be read"):
        tool.function(order_id="BW-1042")


def test_an_unchanged_file_is_not_read_again(orders: Path) -> None:
    tool = make(orders.parent)
    tool.function(order_id="BW-1042")
    before = orders.stat()
    orders.write_text(ORDERS.replace("shipped", "arrived"))
    os.utime(orders, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "shipped" in str(tool.function(order_id="BW-1042"))


def test_a_key_that_two_rows_share_is_not_guessed(orders: Path) -> None:
    orders.write_text(ORDERS + "bw1042,lost,Bikehaul,never,Y1\n")
    expected = "2 rows have order_id BW-1042: it is not clear which one is meant"
    assert make(orders.parent).function(order_id="BW-1042") == expected


def test_rows_of_another_width_are_left_out(orders: Path, caplog: pytest.LogCaptureFixture) -> None:
    orders.write_text(ORDERS + "BW-1044,lost, and found,Bikehaul,never,Y1\n\nBW-1045,being packed,Bikehaul,,\n")
    tool = make(orders.parent)
    assert tool.function(order_id="BW-1044") == "no order_id BW-1044 found"
    assert "being packed" in str(tool.function(order_id="BW-1045"))
    assert "orders.csv:4: 6 cells, not 5" in caplog.text


@pytest.mark.parametrize("mark", [";", "\t"])
def test_files_of_spreadsheets(orders: Path, mark: str) -> None:
    orders.write_text(ORDERS.replace(",", mark), encoding="utf-8-sig")
    assert "shipped" in str(make(orders.parent).function(order_id="BW-1042"))


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"file": "order.csv"}, "lookup: order.csv cannot be read: No such file or directory", "correct `file`"),
        ({"file": "."}, "lookup: . cannot be read: Is a directory", "Put the file into"),
        ({"file": "../secret.csv"}, "is outside the bot's folder", "Put the file into"),
        ({"file": "/etc/passwd"}, "is outside the bot's folder", "Put the file into"),
        ({"file": "a\0b"}, "cannot be read", "correct `file`"),
        ({"key": "order"}, "lookup: orders.csv has no column 'order'", "order_id, status, carrier"),
        ({"columns": ["price"]}, "has no column 'price'", "order_id, status, carrier"),
        ({"verify": "email"}, "has no column 'email'", "order_id, status, carrier"),
    ],
)
def test_faults_are_told_when_the_bot_is_built(
    orders: Path, changes: dict[str, object], what: str, remedy: str
) -> None:
    with pytest.raises(PluginError) as caught:
        make(orders.parent, **changes)
    assert what in caught.value.what
    assert remedy in (caught.value.remedy or "")
    assert caught.value.where == str(orders.parent)


def test_a_link_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "bot").mkdir()
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "bot" / "orders.csv").symlink_to(tmp_path / "orders.csv")
    with pytest.raises(PluginError, match="outside"):
        make(tmp_path / "bot")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has no column 'order_id'"),
        (b"order_id,status,status\n", "has two columns 'status'"),
        (b"order_id,\xe9tat\n", "has no header that can be read"),
    ],
)
def test_a_broken_header(orders: Path, content: bytes, what: str) -> None:
    orders.write_bytes(content)
    with pytest.raises(PluginError, match=what):
        make(orders.parent)


def test_building_reads_only_the_header(orders: Path) -> None:
    orders.write_bytes(ORDERS.encode() + b"x" * 100_000 + b"\n\xff")
    tool = make(orders.parent)
    with pytest.raises(PluginError, match="cannot be read after line"):
        tool.function(order_id="BW-1042")


async def test_columns_may_have_any_name(orders: Path) -> None:
    tool = make(orders.parent, file="commandes.csv", key="N° commande", verify="1er code")
    assert set(tool.arguments.model_fields) == {"n_commande", "key_1er_code"}
    found = await call(tool, n_commande="c1", key_1er_code="x")
    assert found == '{"N° commande": "C-1", "état": "expédiée"}'


def test_settings_are_checked() -> None:
    good: dict[str, object] = {"file": "a.csv", "key": "k", "describe": "d"}
    LookupSettings.model_validate({"tools": {"t": good}})
    faults: list[dict[str, object]] = [{"pattern": "("}, {"verify": "k"}, {"describe": ""}, {"colums": []}]
    for wrong in faults:
        with pytest.raises(ValidationError):
            LookupSettings.model_validate({"tools": {"t": good | wrong}})
    for tools in ({}, {"Order Status": good}):
        with pytest.raises(ValidationError):
            LookupSettings.model_validate({"tools": tools})
