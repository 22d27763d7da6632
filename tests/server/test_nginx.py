"""The settings of nginx in the docs, loaded by a real nginx in front of a running service."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

DOCS = Path(__file__).parent.parent.parent / "docs/how-to"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


def block(page: str) -> str:
    """The settings on a page."""
    [found] = re.findall(r"^```nginx\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def proxy(folder: Path, settings: str) -> Iterator[None]:
    """nginx with `settings` in its block `http`."""
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / name).mkdir()
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    file = folder / "nginx.conf"
    file.write_text(
        f"pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\nclient_body_temp_path {folder}/body;\n{paths}{settings}\n}}\n"
    )
    told = [str(NGINX), "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    subprocess.run([*told, "-t"], check=True, capture_output=True)
    process = subprocess.Popen([*told, "-g", "daemon off; master_process off;"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def reached(client: httpx.AsyncClient, path: str, **told: dict[str, str]) -> httpx.Response:
    """The answer, once nginx listens."""
    for _ in range(200):
        try:
            return await client.get(path, **told)  # type: ignore[arg-type]
        except httpx.ConnectError:
            await asyncio.sleep(0.02)
    raise TimeoutError(path)


async def test_a_stream_comes_piece_by_piece_and_what_is_too_large_stays_out(serve_real, tmp_path):
    words = ["It ", "takes ", "two ", "working ", "days, ", "or ", "three."]
    async with serve_real(script=["".join(words)], delay=0.1) as served:
        port, upstream = free_port(), str(served.client.base_url.port)
        settings = block("operate.md").replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
        with proxy(tmp_path, f"server {{ listen 127.0.0.1:{port}; {settings} }}"):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                answer = await reached(client, "/healthz")
                assert answer.status_code == 200
                assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])  # the proxy has chosen it
                assert (await client.get("/metrics")).status_code == 404
                assert (await served.client.get("/metrics")).status_code == 200
                key = await served.key()
                asked = {
                    "model": "support",
                    "stream": True,
                    "messages": [{"role": "user", "content": "How long does it take?"}],
                }
                async with client.stream("POST", "/v1/chat/completions", json=asked, headers=key) as told:
                    assert told.status_code == 200
                    pieces = [piece async for piece in told.aiter_raw()]
                assert len(pieces) >= 3, pieces
                assert b"[DONE]" in pieces[-1]
                large = await client.post("/v1/chat/completions", content=b" " * 22 * 2**20, headers=key)
                assert (large.status_code, "nginx" in large.headers["Server"]) == (413, True)


async def test_a_service_below_a_path(serve_real, tmp_path):
    async with serve_real() as served:
        port, upstream = free_port(), str(served.client.base_url.port)
        settings = block("mount.md").replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
        with proxy(tmp_path, f"server {{ listen 127.0.0.1:{port}; {settings} }}"):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                assert (await reached(client, "/company/healthz")).status_code == 200
                assert (await client.get("/healthz")).status_code == 404
                assert (await client.get("/company/bots/metrics")).status_code == 404


async def test_each_tenant_is_sent_to_its_machine(serve_real, tmp_path):
    async with serve_real() as served:
        port, upstream, nobody = free_port(), str(served.client.base_url.port), free_port()
        settings = block("run-on-several-machines.md").replace("10.0.0.11:8000", f"127.0.0.1:{upstream}")
        settings = settings.replace("10.0.0.12:8000", f"127.0.0.1:{nobody}")
        assert "listen 443 ssl;" in settings
        with proxy(tmp_path, settings.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                north, south = ({"Host": f"{one}.bots.example"} for one in ("north", "south"))
                assert (await reached(client, "/healthz", headers=north)).status_code == 200
                assert (await client.get("/healthz", headers=south)).status_code == 502
                assert (await client.get("/metrics", headers=north)).status_code == 404
