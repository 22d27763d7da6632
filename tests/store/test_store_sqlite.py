"""What SQLite alone must keep: its file, its one writer, and what is left of erased text."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sartor.errors import StoreError
from sartor.store import Store
from sartor.store import sqlite as sqlite_module
from sartor.values import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.values import Chunk, Reply

    MakeReply = Callable[..., Reply]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sartor.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs `code`."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


COMMITTING = """
    import asyncio, sys
    from sartor.store import Store
    from sartor.values import Outcome, Reply, Turn, Usage

    async def main(url, name, times):
        async with await Store.open(url) as store:
            acme = store.tenant("acme")
            for number in range(int(times)):
                turn = Turn(f"{name}-{number}", "c1", "acme", "support", "ann", "Question")
                await acme.commit(Reply(turn, "Reply", Outcome.ANSWERED, usage=Usage(1)))
                print(turn.id, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


def modes(*paths: Path) -> list[str]:
    return [oct(path.stat().st_mode & 0o777) for path in paths]


def make_file(path: Path, folder_mode: int, mode: int) -> None:
    path.parent.mkdir(mode=folder_mode)
    path.touch(mode=mode)


async def test_files_belong_to_their_owner_alone(store: Store, path: Path, make_reply: MakeReply) -> None:
    await store.tenant("acme").commit(make_reply())
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["sartor.db", "sartor.db-shm", "sartor.db-wal"]
    assert modes(path.parent, *files) == ["0o700", "0o600", "0o600", "0o600"]


async def test_what_is_there_keeps_its_permissions(path: Path, url: str) -> None:
    make_file(path, 0o750, 0o640)
    async with await Store.open(url):
        assert modes(path.parent, path) == ["0o750", "0o640"]


async def test_every_connection_is_set_up(store: Store) -> None:
    def pragmas(connection: Any) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    database = store._database
    expected = ["wal", 2, 1, 1]
    assert await asyncio.gather(*(database.read(pragmas) for _ in range(8))) == [expected] * 8
    assert await database.write(pragmas) == expected
    assert await database.glance(pragmas) == expected


async def test_a_glance_is_done_where_it_is_asked_for(store: Store, make_reply: MakeReply) -> None:
    database, here = store._database, threading.get_ident()
    for number in range(1, 4):
        await store.tenant("acme").commit(make_reply(f"Question {number}"))
        assert len(await store.tenant("acme").history("support", "ann", "c1", 5)) == number
    assert await database.glance(lambda _: threading.get_ident()) == here

    with database._glancing:  # type: ignore[attr-defined]
        assert await database.glance(lambda _: threading.get_ident()) != here
    async with await Store.open("sqlite://") as memory:
        assert await memory._database.glance(lambda _: threading.get_ident()) != here


async def test_a_glance_changes_nothing_and_leaves_nothing_behind(store: Store, make_reply: MakeReply) -> None:
    database = store._database
    await store.tenant("acme").commit(make_reply())
    with pytest.raises(StoreError):
        await database.glance(lambda connection: connection.exec_driver_sql("DELETE FROM usage"))
    with pytest.raises(KeyError):
        await database.glance(lambda _: {}["nothing"])
    await store.tenant("acme").commit(make_reply())
    assert len(await store.tenant("acme").history("support", "ann", "c1", 5)) == 2
    assert (await store.tenant("acme").usage()).calls == 2


async def test_a_glance_waits_for_no_lock(store: Store) -> None:
    asked: list[int] = []

    def locked_at_first(_: object) -> str:
        asked.append(threading.get_ident())
        if len(asked) == 1:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return "read"

    assert await store._database.glance(locked_at_first) == "read"
    assert asked[0] == threading.get_ident() != asked[1]


def test_glances_of_several_event_loops(url: str, make_reply: MakeReply) -> None:
    store = asyncio.run(Store.open(url))

    async def talk(user: str) -> int:
        acme = store.tenant("acme")
        for number in range(15):
            await acme.commit(make_reply(user=user, conversation=user))
            assert len(await acme.history("support", user, user, 50)) == number + 1
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda user: asyncio.run(talk(user)), "abcd")) == [14] * 4
    asyncio.run(store.close())


async def test_memory_is_a_database_of_its_own(make_reply: MakeReply) -> None:
    async with await Store.open("sqlite://") as one, await Store.open("sqlite://") as other:
        await one.tenant("acme").commit(make_reply())
        assert len(await one.tenant("acme").history("support", "ann", "c1", 5)) == 1
        assert await other.tenants() == []
        assert (await one.tenant("acme").erase())["turns"] == 1


def test_a_store_outlives_its_event_loop(url: str, make_reply: MakeReply) -> None:
    store = asyncio.run(Store.open(url))
    asyncio.run(store.tenant("acme").commit(make_reply()))
    assert asyncio.run(store.tenants()) == ["acme"]
    asyncio.run(store.close())


async def test_a_closed_store_says_so(url: str) -> None:
    store = await Store.open(url)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="was closed"):
        await store.tenants()
    with pytest.raises(StoreError, match="was closed"):
        await store.tenant("acme").history("support", "ann", "c1", 5)


async def test_several_processes_lose_nothing(url: str) -> None:
    processes = [python(COMMITTING, url, f"p{number}", 25) for number in range(4)]
    said = [line for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0] * 4
    async with await Store.open(url) as store:
        acme = store.tenant("acme")
        stored = [await acme.reply(turn) for turn in said]
        assert sorted(turn.number for turn in stored if turn) == list(range(1, 101))
        assert await acme.usage() == Usage(100)


async def test_a_killed_process_loses_nothing_that_it_acknowledged(url: str) -> None:
    process = python(COMMITTING, url, "p", 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    said += process.communicate(timeout=30)[0].split()[:-1]
    async with await Store.open(url) as store:
        acme = store.tenant("acme")
        assert None not in [await acme.reply(turn) for turn in said]
        [row] = await acme.conversations("support", "ann", 1)
        assert (await acme.usage()).prompt == row.turns >= len(said)


async def test_a_cancelled_commit_is_whole_or_not_at_all(store: Store, path: Path, make_reply: MakeReply) -> None:
    acme = store.tenant("acme")
    replies = [make_reply(conversation=f"c{number}") for number in range(5)]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commits = [asyncio.ensure_future(acme.commit(reply)) for reply in replies]
    await asyncio.sleep(0.05)  # the first one waits for the lock, the others for the first
    for commit in commits:
        commit.cancel()
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 5
    other.execute("ROLLBACK")
    other.close()
    last = make_reply(conversation="last")
    await acme.commit(last)
    stored = [await acme.reply(reply.turn.id) for reply in replies]
    assert stored[0] is not None
    assert stored[1:] == [None] * 4
    assert await acme.usage() == Usage(200, 80, 20, 2)


async def test_a_lock_is_waited_for_within_a_bound(
    store: Store, path: Path, make_reply: MakeReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = store.tenant("acme")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.ensure_future(acme.commit(make_reply()))
    await asyncio.sleep(0.6)
    assert await acme.history("support", "ann", "c1", 5) == []  # readers do not wait
    other.execute("ROLLBACK")
    await commit
    monkeypatch.setattr(sqlite_module, "PATIENCE", 0.1)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process") as caught:
        await acme.commit(make_reply())
    assert caught.value.where == str(path)
    assert caught.value.remedy is not None
    other.execute("ROLLBACK")
    other.close()
    await acme.commit(make_reply())


async def test_a_full_disk_leaves_nothing_half_written(
    url: str, make_reply: MakeReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Store.open(url) as store:
        await store.tenant("acme").commit(make_reply())
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_module, "_PRAGMAS", (*sqlite_module._PRAGMAS, "max_page_count = 60"))
        async with await Store.open(url) as store:
            acme = store.tenant("acme")
            with pytest.raises(StoreError, match="no room left") as caught:
                await acme.commit(make_reply("x" * 1_000_000))
            assert "nothing was half-written" in str(caught.value)
            assert len(await acme.history("support", "ann", "c1", 5)) == 1
            await acme.commit(make_reply())
    async with await Store.open(url) as store:
        acme = store.tenant("acme")
        await acme.commit(make_reply("x" * 1_000_000))
        [row] = await acme.conversations("support", "ann", 5)
        assert row.turns == 3
        assert (await acme.usage()).calls == 3


LEFT = """
    import pathlib, sys
    files = pathlib.Path(sys.argv[1]).iterdir()
    print(sum(file.read_bytes().count(sys.argv[2].encode()) for file in files))
"""


def left(path: Path, marker: str) -> int:
    """How often `marker` stands in the database's files: read by a process of its own, since closing a file
    in this one would take the locks that SQLite has on it."""
    return int(python(LEFT, path.parent, marker).communicate(timeout=30)[0])


async def test_nothing_of_an_erased_tenant_is_left_in_the_files(
    store: Store, path: Path, make_reply: MakeReply, make_chunks: Callable[..., list[Chunk]]
) -> None:
    """Ids in no order and texts of all lengths, so that pages are split: `secure_delete` alone leaves copies."""
    seeded = random.Random(7)
    acme, globex = store.tenant("acme"), store.tenant("globex")
    for number in range(600):
        tenant = seeded.choice((acme, globex))
        marker = f"MARKER-{tenant.tenant}-{UUID(int=seeded.getrandbits(128)).hex}"
        await tenant.commit(
            make_reply(
                marker * seeded.randrange(1, 30),
                marker * seeded.randrange(1, 100),
                tenant=tenant.tenant,
                user=marker,
                conversation=marker * seeded.randrange(1, 6),
                id=marker,
            )
        )
        if number % 20 == 0:
            made = make_chunks(9, f"{number % 7}.md", tenant=tenant.tenant, text=marker)
            await tenant.put_document("support", f"{number % 7}.md", "aa", marker, made)
    assert left(path, "MARKER-acme") > 1000
    kept = await globex.all_chunks("support")
    await acme.erase()
    assert left(path, "MARKER-acme") == 0
    assert left(path, "MARKER-globex") > 1000
    assert await globex.all_chunks("support") == kept


async def test_erasing_says_when_a_reader_keeps_the_log(
    store: Store, path: Path, make_reply: MakeReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply("MARKER"))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM turns").fetchone()
    monkeypatch.setattr(sqlite_module, "PATIENCE", 0.1)
    with pytest.raises(StoreError, match="locked"):
        await acme.erase()
    assert await acme.history("support", "ann", "c1", 5) == []
    reader.execute("ROLLBACK")
    reader.close()
    assert not any((await acme.erase()).values())
    assert left(path, "MARKER") == 0
