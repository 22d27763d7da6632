"""The documentation's settings of nginx: a real nginx reads them, and stands in front of a service as they say."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
FOUND = {
    f"{page.stem}-{number}": text
    for page in sorted(DOCS.rglob("*.md"))
    for number, text in enumerate(re.findall(r"^```nginx\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S))
}
WHOLE = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {inner}
}}
"""
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or ""
pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not on this machine (Debian's nginx-light)")

LONG = "A long answer that comes in many pieces, one after the other."
ASKED = {"bot": "support", "text": "Hi", "user": "ann", "stream": True}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def settings(folder: Path, snippet: str, port: int) -> Path:
    """A whole file of settings around a snippet, which listens at a port of this machine."""
    inner = snippet
    if "server {" in snippet:
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bots.example", "-days", "2"]
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        inner = re.sub(r"ssl_certificate /\S+;", f"ssl_certificate {certificate};", inner)
        inner = re.sub(r"ssl_certificate_key /\S+;", f"ssl_certificate_key {key};", inner)
        inner = inner.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    else:
        inner = f"server {{ listen 127.0.0.1:{port};\n{snippet} }}"
    file = folder / "nginx.conf"
    file.write_text(WHOLE.format(folder=folder, inner=inner), encoding="utf-8")
    return file


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """``front(snippet)`` starts an nginx with it, and tells its port."""
    running: list[subprocess.Popen[bytes]] = []
    folder = tmp_path / "nginx"
    folder.mkdir(mode=0o755)

    def start(snippet: str) -> int:
        port = free_port()
        told = "user root;\n" * (os.geteuid() == 0)
        file = settings(folder, snippet, port)
        file.write_text(told + file.read_text("utf-8"), encoding="utf-8")
        running.append(subprocess.Popen([NGINX, "-e", str(folder / "error.log"), "-c", str(file)]))
        for _ in range(200):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            assert running[0].poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        pytest.fail("nginx does not answer")

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def test_pages_have_settings_of_nginx():
    assert {name.rpartition("-")[0] for name in FOUND} >= {"operate", "mount", "run-on-several-machines"}


@pytest.mark.parametrize("name", FOUND)
def test_nginx_reads_the_settings(name, tmp_path):
    file = settings(tmp_path, FOUND[name], free_port())
    done = subprocess.run(
        [NGINX, "-t", "-e", str(tmp_path / "error.log"), "-c", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_nginx_refuses_what_is_wrong(tmp_path):
    file = settings(tmp_path, FOUND["operate-0"].replace("proxy_buffering", "proxy_bufering"), free_port())
    command = [NGINX, "-t", "-e", str(tmp_path / "error.log"), "-c", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("name", "prefix"), [("operate-0", ""), ("mount-0", "/company")])
async def test_a_service_behind_nginx(serve_real, front, name, prefix):
    async with serve_real(script=[LONG] * 3, delay=0.05) as served:
        own = served.client.base_url.port
        port = front(FOUND[name].replace("127.0.0.1:8000", f"127.0.0.1:{own}"))
        key = await served.key("acme", "chat", "documents")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{prefix}", timeout=20) as client:
            times = []
            async with client.stream("POST", "/v1/turns", json=ASKED, headers=key) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                async for line in answer.aiter_lines():
                    if line == "event: delta":
                        times.append(time.monotonic())
            assert len(times) > 5 and times[-1] - times[0] > 0.15, "the reply came in one piece"

            upload = "/v1/documents?bot=support"
            large = {"file": ("large.md", b"word " * 500_000)}
            assert (await client.post(upload, files=large, headers=key)).status_code == 202
            refused = await client.post(upload, files={"file": ("a.md", b"x" * 22 * 2**20)}, headers=key)
            assert (refused.status_code, refused.headers["server"][:5]) == (413, "nginx")

            hidden = "/bots/metrics" if prefix else "/metrics"
            closed = await client.get(hidden)
            assert (closed.status_code, closed.headers["server"][:5]) == (404, "nginx")


async def test_nginx_sends_a_host_name_to_its_machine(serve_real, front):
    """Nothing listens at the place of the second machine, so that its host name is answered by nginx itself."""
    async with serve_real() as served:
        snippet = FOUND["run-on-several-machines-0"].replace("10.0.0.12:8000", f"127.0.0.1:{free_port()}")
        port = front(snippet.replace("10.0.0.11:8000", f"127.0.0.1:{served.client.base_url.port}"))
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=False) as client:
            codes = [
                (await client.get(path, headers={"Host": f"{host}.bots.example"})).status_code
                for host, path in [("north", "/healthz"), ("north", "/metrics"), ("south", "/healthz")]
            ]
        assert codes == [200, 404, 502]
