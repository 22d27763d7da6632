"""What the service costs beside a bare FastAPI endpoint, how many streams it holds, how fast it lets go.

    python -m benchmarks.service [--requests 2000] [--streams 1000] [--burst 10000]

Both servers run in processes of their own, one after the other for each workload, and stream 20 pieces a reply; the
client shares the machine with them. Ours does all that a turn does: key, policies, store (SQLite, synchronous=FULL).
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sartor.scaffold import make_project
from sartor.server.keys import Keys
from sartor.server.secret import load_secret
from sartor.store import Store

from benchmarks.service.client import Answer, Target, ask, get, opened
from benchmarks.service.server import PLUGIN, PROJECT

ROOT = Path(__file__).parent.parent.parent


async def run(requests: int, streams: int, burst: int) -> None:
    """All workloads, and the table."""
    folder = Path(tempfile.mkdtemp(prefix="sartor-service-"))
    try:
        headers = await prepare(folder)
        for workload in (lambda one: throughput(one, requests), lambda one: idle(one, streams), disconnects):
            for kind in ("bare", "ours"):
                async with served(kind, folder, headers) as target:
                    print(f"{kind:<6}", await workload(target), flush=True)
        async with served("ours", folder, headers) as target:
            print(f"{'ours':<6}", await at_once(target, burst), flush=True)
    finally:
        shutil.rmtree(folder)


async def prepare(folder: Path) -> str:
    """A project with one bot, and the header with a key of its tenant."""
    make_project(folder)
    (folder / "sartor.yaml").write_text(PROJECT)
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "scripted.py").write_text(PLUGIN)
    bot = folder / "tenants" / "acme" / "support"
    bot.mkdir(parents=True)
    (bot / "bot.yaml").write_text("grounding: free\nretrieval: {passages: 0}\nlimits: {turn_seconds: 3600}\n")
    async with await Store.open(f"sqlite:///{folder}/state/sartor.db") as store:
        key, _ = await Keys(store, load_secret("file:state/secret", folder)).create("acme")
    return f"Authorization: Bearer {key}\r\n"


@asynccontextmanager
async def served(kind: str, folder: Path, headers: str) -> AsyncIterator[Target]:
    """A server of that kind, warmed up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = Target(free.getsockname()[1], headers)
    command = [sys.executable, "-m", "benchmarks.service.server", kind, str(target.port), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220
    try:
        while True:
            try:
                await get(target, "/size")
                break
            except OSError:
                await asyncio.sleep(0.1)
        for _ in range(50):
            await ask(target, "Hello")
        yield target
    finally:
        process.kill()
        process.wait()


async def throughput(target: Target, requests: int, clients: int = 32) -> str:
    """Many clients, each one request after the other."""
    left = iter(range(requests))
    answers: list[Answer] = []

    async def client() -> None:
        for _ in left:
            answers.append(await ask(target, "Hello"))

    before = await get(target, "/size")
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - began
    after = await get(target, "/size")
    assert all(answer.status == 200 and answer.finished for answer in answers)
    alone = [await ask(target, "Hello") for _ in range(100)]
    return (
        f"{requests / seconds:7.0f} requests/s ({clients} clients); first text alone p50 "
        f"{statistics.median(answer.first for answer in alone) * 1000:5.2f} ms; "
        f"memory {after['mib']:5.0f} MiB ({after['mib'] - before['mib']:+.1f})"
    )


async def idle(target: Target, streams: int) -> str:
    """Streams that are held and say nothing; a request beside them."""
    before = await get(target, "/size")
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(opened(target, f"wait {at}")) for at in range(streams)]
        await asyncio.gather(*(_until_text(reader) for reader in held))
        during = await get(target, "/size")
        beside = [await ask(target, "Hello") for _ in range(20)]
    assert all(answer.status == 200 for answer in beside)
    first = statistics.median(answer.first for answer in beside) * 1000
    each = (during["mib"] - before["mib"]) * 1024 / streams
    return f"{streams} idle streams held: {each:5.1f} KiB each; first text beside them p50 {first:.2f} ms"


async def disconnects(target: Target, streams: int = 300) -> str:
    """From the moment a client goes to the moment its model was stopped."""
    gone: dict[str, float] = {}
    for at in range(0, streams, 10):
        async with AsyncExitStack() as stack:
            names = [f"wait gone {at + more}" for more in range(10)]
            held = [await stack.enter_async_context(opened(target, name)) for name in names]
            await asyncio.gather(*(_until_text(reader) for reader in held))
            gone |= dict.fromkeys(names, time.monotonic())
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    stopped = await get(target, "/stopped")
    missing = [name for name in gone if name not in stopped]
    took = sorted((stopped[name] - gone[name]) * 1000 for name in gone if name in stopped)
    if not took:
        return f"disconnect to stop of generation: none of {streams} was stopped within a second"
    tail = f"; {len(missing)} not stopped within a second" if missing else ""
    return f"disconnect to stop of generation: {_spread(took)}{tail}"


async def at_once(target: Target, burst: int) -> str:
    """Everybody at the same moment: answered, or refused with a time to come back."""
    before = await get(target, "/size")
    began = time.perf_counter()
    answers = await asyncio.gather(*(ask(target, "Hello") for _ in range(burst)), return_exceptions=True)
    seconds = time.perf_counter() - began
    after = await get(target, "/size")
    told = Counter(answer.status if isinstance(answer, Answer) else type(answer).__name__ for answer in answers)
    cut = sum(1 for answer in answers if isinstance(answer, Answer) and answer.status == 200 and not answer.finished)
    counts = ", ".join(f"{count} × {status}" for status, count in sorted(told.items(), key=str))
    return (
        f"{burst} requests at once: {counts}, {cut} cut off, in {seconds:.1f} s; "
        f"memory {after['mib']:.0f} MiB ({after['mib'] - before['mib']:+.0f})"
    )


async def _until_text(reader: asyncio.StreamReader) -> None:
    while b"event: delta" not in await reader.readline():
        pass


def _spread(values: Sequence[float]) -> str:
    return f"p50 {statistics.median(values):.1f} ms, p99 {values[int(len(values) * 0.99) - 1]:.1f} ms"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--burst", type=int, default=10_000)
    told = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(run(told.requests, told.streams, told.burst))


if __name__ == "__main__":
    main()
