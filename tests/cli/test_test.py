"""`sartor test` and `sartor replay`."""

from __future__ import annotations

import asyncio
import json

import sartor as product

FILES = {
    "tenants/acme/support/bot.yaml": "grounding: free\nretrieval: {passages: 0}\n",
    "tenants/acme/support/tests/a.yaml": """
        conversations:
          - name: delivery
            turns: [{say: What does it cost?, expect: {text: 39 EUR}}]
        """,
}


def test_what_passes_and_what_does_not(sartor, make_project, tmp_path):
    good = make_project(FILES, script=["39 EUR."])
    told = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    ran = sartor("test", "--no-smoke", "-p", str(good), *told)
    assert ran.code == 0 and "1 of 1 conversations passed" in ran.out
    assert json.loads((tmp_path / "r.json").read_text())["passed"] and (tmp_path / "r.xml").read_text()
    bad = make_project(FILES, script=["45 EUR."])
    ran = sartor("test", "acme/support", "--no-smoke", "-p", str(bad))
    assert ran.code == 1 and "- 39 EUR" in ran.out and "+ 45 EUR." in ran.out and "a.yaml:3" in ran.out


def test_the_smoke_test_runs_by_default(sartor, make_project):
    ran = sartor("test", "-p", str(make_project(FILES, script=["39 EUR."] * 20)))
    assert ran.code == 0 and "canary and 8 attacks" in ran.out and "1 of 1 smoke tests" in ran.out


def test_recording_and_playing(sartor, make_project):
    root = make_project(FILES, script=["39 EUR."])
    assert sartor("test", "--record", "--no-smoke", "-p", str(root)).code == 0
    (root / "sartor.yaml").write_text((root / "sartor.yaml").read_text().replace("39 EUR", "45 EUR"))
    assert sartor("test", "--replay", "-p", str(root)).code == 0
    ran = sartor("test", "--replay", "--record", "-p", str(root))
    assert ran.code == 2 and "exclude each other" in ran.err


def test_a_conversation_that_took_place_is_repeated(sartor, make_project):
    root = make_project(FILES, script=["39 EUR."])

    async def talk() -> str:
        async with product.open(root) as bots:
            return (await bots["acme/support"].reply("What does it cost?", user="u")).turn.conversation

    conversation = asyncio.run(talk())
    ran = sartor("replay", "acme", conversation, "-p", str(root))
    assert ran.code == 0 and "all 1 turns are the same" in ran.out
    (root / "sartor.yaml").write_text((root / "sartor.yaml").read_text().replace("39 EUR", "45 EUR"))
    ran = sartor("replay", "acme", conversation, "-p", str(root))
    assert ran.code == 1 and "-39 EUR." in ran.out and "+45 EUR." in ran.out
    ran = sartor("replay", "acme", "nothing", "-p", str(root))
    assert ran.code == 2 and "no conversation 'nothing'" in ran.err


def test_models_are_compared(sartor, make_project, tmp_path):
    root = make_project(FILES, script=["39 EUR."])
    text = (root / "sartor.yaml").read_text()
    other = "  dear: {plugin: scripted, script: ['45 <EUR>.']}\nprices: {dear: {prompt: 10, generated: 30}}\n"
    (root / "sartor.yaml").write_text(text.replace("embeddings: null\n", f"{other}embeddings: null\n"))
    page = tmp_path / "page.html"
    ran = sartor("compare", "--models", "scripted,dear", "--html", str(page), "-p", str(root))
    assert ran.code == 0 and "1 of 1" in ran.out and "0 of 1" in ran.out
    told = page.read_text()
    assert "45 &lt;EUR&gt;." in told and "<EUR>" not in told and "http" not in told
    ran = sartor("compare", "--models", "scripted,none", "-p", str(root))
    assert ran.code == 2 and "no model 'none'" in ran.err
