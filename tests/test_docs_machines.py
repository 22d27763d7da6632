"""What the pages on PostgreSQL and on several machines say holds across processes, on a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sartor
from sartor.errors import NamingError, SpecError, StoreError
from sartor.yamlfile import parse_yaml

DOCS = Path(__file__).parent.parent / "docs/how-to"
PAGES = ("use-postgresql.md", "run-on-several-machines.md")


@pytest.fixture(params=PAGES)
def root(request, make_project):
    """A project with the settings of a page, but for its model."""
    (block, *_) = re.findall(r"^```yaml\n(# sartor\.yaml\n.*?)^```$", (DOCS / request.param).read_text(), re.M | re.S)
    told = parse_yaml(block, Path("sartor.yaml")).data
    kept = {key: value for key, value in told.items() if key not in ("model", "models")}
    assert kept["state"] == "env:SARTOR_STATE"
    folder = make_project({"tenants/acme/support/bot.yaml": "title: Acme Lamps\n"}, script=["Two days."] * 9)
    with (folder / "sartor.yaml").open("a", encoding="utf-8") as file:
        file.writelines(f"{key}: {json.dumps(value)}\n" for key, value in kept.items())
    return folder


async def test_two_processes_share_what_the_database_holds(root, monkeypatch, postgres_url):
    monkeypatch.setenv("SARTOR_STATE", postgres_url)
    async with sartor.open(root) as one, sartor.open(root) as other:
        first = await one["acme/support"].reply("How long does it take?", user="u-1")
        second = await other["acme/support"].reply("And abroad?", user="u-1", conversation=first.turn.conversation)
        kept = await one.store.tenant("acme").history("support", "u-1", first.turn.conversation, 9)
        assert second.turn.conversation == first.turn.conversation and len(kept) == 2
        with pytest.raises(NamingError):
            await other["acme/support"].reply("Mine?", user="u-2", conversation=first.turn.conversation)


async def test_the_address_comes_from_the_environment(root, monkeypatch):
    monkeypatch.delenv("SARTOR_STATE", raising=False)
    with pytest.raises(SpecError, match="SARTOR_STATE is not set"):
        async with sartor.open(root):
            pass


async def test_tls_that_is_asked_for_is_not_done_without(root, monkeypatch, postgres_url):
    """The server of the tests has none."""
    monkeypatch.setenv("SARTOR_STATE", f"{postgres_url}?ssl=verify-full")
    with pytest.raises(StoreError):
        async with sartor.open(root):
            pass
    monkeypatch.setenv("SARTOR_STATE", f"{postgres_url}?ssl=disable")
    async with sartor.open(root) as bots:
        assert (await bots["acme/support"].reply("How long?", user="u-1")).text == "Two days."
