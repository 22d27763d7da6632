"""`sartor serve --reload` in a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading

import httpx
import sartor
from sartor.server.service import Service

BOT = "title: Acme\ngrounding: free\nplugins: {signature: {}}\n"
SIGNATURE = '''
"""Signs replies."""
from sartor import Plugin, Policy, block, hookimpl

class Signature(Plugin):
    @hookimpl
    def sartor_policies(self, bot):
        return [Signed()]

class Signed(Policy):
    async def output(self, turn, draft):
        return block("no", "VERSION")
'''
CODE = "import sys; sys.argv[0] = 'sartor'\nfrom sartor.cli import main\nmain()"


async def test_what_changes_while_it_serves_counts_in_the_next_turn(make_project):
    plugin = "plugins/signature.py"
    root = make_project(
        {"tenants/acme/support/bot.yaml": BOT, plugin: SIGNATURE.replace("VERSION", "one")}, script=["Hello."] * 20
    )
    async with sartor.open(root) as bots:
        key, _ = await Service(bots).keys.create("acme", scopes=frozenset({"chat"}))
    arguments = ["serve", "--port", "0", "--log", "text", "--reload", "--project", str(root)]
    popen = subprocess.Popen(  # noqa: ASYNC220 - it blocks for no time
        [sys.executable, "-c", CODE, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    lines: list[str] = []
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def read() -> None:
        assert popen.stderr is not None
        for line in popen.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                loop.call_soon_threadsafe(url.set_result, found.group())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        base = await asyncio.wait_for(url, 60)
        async with httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:

            async def said(text: str = "Hi") -> tuple[str, list[str]]:
                answer = await client.post("/v1/turns", json={"bot": "support", "text": text})
                assert answer.status_code == 200, answer.text
                return answer.json()["text"], [one["source"] for one in answer.json().get("passages", [])]

            assert (await said())[0] == "one"
            (root / plugin).write_text(SIGNATURE.replace("VERSION", "two"))
            assert (await said())[0] == "two"
            (root / plugin).write_text("def broken(:\n")
            assert (await said())[0] == "two"
            assert (await client.get("/readyz")).status_code == 200
            (root / plugin).write_text(SIGNATURE.replace("VERSION", "six"))
            folder = root / "tenants/acme/support/knowledge"
            folder.mkdir()
            (folder / "parcels.md").write_text("# Parcels\n\nParcels leave daily.\n")
            assert (await said("parcels"))[0] == "six"
        popen.terminate()
        assert await asyncio.to_thread(popen.wait, 30) == 0
    finally:
        popen.kill()
        await asyncio.to_thread(reader.join)
        assert popen.stderr is not None
        popen.stderr.close()
    told = "".join(lines)
    assert told.count("acme/support: reloaded (plugins/signature.py)") == 2
    assert told.count("acme/support: NOT reloaded (plugins/signature.py)") == 1 and "signature.py, line 1" in told
    assert "acme/support: knowledge: added parcels.md" in told
