"""A project in a temporary folder, speaking with a scripted model, and searching with a small index in memory; a
PostgreSQL server of the test run's own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

SCRIPTED = '''
"""A model that plays the script in its settings."""
from sartor.plugin import Plugin, PluginSettings, hookimpl

class Settings(PluginSettings):
    script: list = []
    choices: bool = False
    delay: float = 0.0

class Scripted(Plugin):
    Settings = Settings

    @hookimpl
    def sartor_model(self):
        from sartor.testing import Call, ScriptedModel

        def line(given):
            if isinstance(given, dict):
                told = given.get("arguments", {})
                return Call(given["call"], {k: float("inf") if v == "INFINITY" else v for k, v in told.items()})
            if given == "FAIL":
                return RuntimeError("the model broke")
            return given

        return ScriptedModel(
            script=[line(given) for given in self.settings.script],
            supports_choices=self.settings.choices,
            check_arguments=False,
            delay=self.settings.delay,
        )
'''

MEMORY_INDEX = '''
"""An index that counts shared words."""
from sartor.plugin import Plugin, hookimpl
from sartor.values import Hit

class MemoryIndexPlugin(Plugin):
    @hookimpl
    def sartor_index(self, bot):
        return MemoryIndex()

class MemoryIndex:
    def __init__(self):
        self.chunks = {}

    async def add(self, chunks):
        self.chunks.update({chunk.id: chunk for chunk in chunks})

    async def remove(self, ids):
        for id in ids:
            self.chunks.pop(id, None)

    async def search(self, query, limit, audience="", *, before=""):
        asked = set(f"{before} {query}".lower().replace("?", "").split())
        hits = []
        for chunk in self.chunks.values():
            shared = asked & set((chunk.title + " " + chunk.text).lower().replace(".", "").split())
            if shared and chunk.audience in ("", audience):
                hits.append(Hit(chunk.id, len(shared) / len(asked), {"words": len(shared)}))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    async def ids(self):
        return frozenset(self.chunks)

    async def clear(self):
        self.chunks.clear()

    async def close(self):
        pass
'''

PROJECT = """
model: scripted
models:
  scripted: {plugin: scripted, script: SCRIPT, choices: CHOICES}
embeddings: null
index: {plugin: memory-index}
"""

Make = Callable[..., Path]


@pytest.fixture
def make_project(tmp_path: Path) -> Make:
    """`make_project({"tenants/acme/support/bot.yaml": "…"}, script=[…], choices=False)` writes a project; the
    files given are added to it, or replace its own."""

    def make(files: dict[str, str] | None = None, *, script: object = (), choices: bool = False) -> Path:
        project = PROJECT.replace("SCRIPT", json.dumps(list(script))).replace("CHOICES", str(choices).lower())  # type: ignore[call-overload]
        content = {
            "sartor.yaml": project,
            "plugins/scripted.py": SCRIPTED,
            "plugins/memory_index.py": MEMORY_INDEX,
            **(files or {}),
        }
        root = tmp_path / "project"
        for name, text in content.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return root

    return make


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on loopback, without a database. As root it runs as the user `postgres`."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (the extra `postgres`)")
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine")
    user = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="sartor-pg-"))
    if user:
        try:
            shutil.chown(root, user)
        except LookupError:
            pytest.skip("initdb refuses root, and there is no user `postgres`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str | Path) -> None:
        subprocess.run(command, user=user, cwd=root, check=True, capture_output=True)

    data = root / "data"
    run(binaries / "initdb", "-D", data, "-A", "trust", "-U", "sartor", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-F -h 127.0.0.1 -p {port} -k {root} -c max_connections=50"
    run(binaries / "pg_ctl", "-D", data, "-w", "-l", root / "log", "-o", options, "start")
    try:
        yield f"postgresql://sartor@127.0.0.1:{port}"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(root, ignore_errors=True)


async def _create_database(server: str) -> str:
    import asyncpg  # type: ignore[import-untyped]

    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server}/{name}"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A fresh, empty database."""
    return asyncio.run(_create_database(postgres_server))
