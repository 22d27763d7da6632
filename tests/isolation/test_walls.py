"""What the code of an isolated plugin cannot do, tried by such code."""

from __future__ import annotations

import os
import socket
import time

import pytest


def test_it_works_at_all(evil):
    assert evil.call("greet", name="Bo", times=2).text == (
        '{"text": "Hello BoHello Bo", "user": "mia", "bot": "acme/support"}'
    )
    assert evil.run("result = 1 + 1").text == "2"


def test_no_secret_of_the_environment_is_there(evil, monkeypatch):
    monkeypatch.setenv("SARTOR_TEST_SECRET", "s3cret")
    told = evil.run("import os; result = dict(os.environ)").text
    assert "s3cret" not in told and "PYTHONPATH" not in told and "PATH" in told


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/etc/shadow", "/root/.bashrc"]
)
def test_files_of_the_system_are_closed(evil, path):
    assert evil.run(f"result = open({path!r}).read()").text.startswith(("PermissionError", "FileNotFoundError"))


def test_files_of_the_project_are_closed(evil):
    (evil.root / "state.db").write_text("secret")
    for name in ("sartor.yaml", "state.db", "tenants/acme/support/bot.yaml"):
        assert evil.run(f"result = open({str(evil.root / name)!r}).read()").text.startswith("PermissionError")
    for folder in (evil.root, evil.root / "plugins", "/", "/proc", "/tmp", "/dev"):
        assert evil.run(f"import os; result = os.listdir({str(folder)!r})").text.startswith("PermissionError")
    assert "class Evil" in evil.run(f"result = open({str(evil.root / 'plugins/evil.py')!r}).read()").text


def test_nothing_is_written_outside_its_own_folder(evil, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("here")
    victim = str(mine)
    for code in (
        f"open({victim!r}, 'w')",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"os.mkdir({str(tmp_path / 'folder')!r})",
        f"os.symlink('x', {str(tmp_path / 'link')!r})",
        f"os.truncate({victim!r}, 0)",
        f"os.unlink({victim!r})",
        f"os.rename({victim!r}, 'stolen')",
        f"os.link({victim!r}, 'stolen')",
        f"os.chmod({victim!r}, 0)",
        f"os.chown({victim!r}, 1, 1)",
        f"os.utime({victim!r}, (0, 0))",
        f"os.setxattr({victim!r}, 'user.x', b'1')",
        f"open({str(evil.root / 'plugins/evil.py')!r}, 'a')",
        "os.chroot('.')",
    ):
        assert evil.run(f"import os\n{code}").text.startswith(("PermissionError", "OSError")), code
    assert mine.read_text() == "here" and sorted(tmp_path.iterdir()) == [mine]


def test_its_own_folder_is_empty_and_its_own(evil):
    told = evil.run("import os; open('a', 'w').write('x'); result = os.getcwd(), os.listdir('.'), os.environ['HOME']")
    folder = told.text.split("'")[1]
    assert told.text == f"('{folder}', ['a'], '{folder}')" and os.path.isdir(folder)
    assert evil.run("open('big', 'wb').write(bytes(32 << 20))").text.startswith("OSError")
    assert os.path.getsize(f"{folder}/big") <= 16 << 20


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.fork()",
        "import os\nwhile True: os.fork()",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import multiprocessing as m; m.Process(target=print).start()",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.kill(-1, 9)",
        "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "import os; os.sched_setaffinity(os.getppid(), {0})",
        "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
        "import os; os.pidfd_open(os.getppid())",
        "import os; os.memfd_create('x')",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
        "import fcntl, os; fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())",
        "import os; os.setuid(12345)",
        "import ctypes; l = ctypes.CDLL(None, use_errno=True); "
        "assert l.ptrace(16, __import__('os').getppid(), 0, 0) == 0, ctypes.get_errno()",
        "import ctypes; assert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0",
        "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    ],
)
def test_other_processes_are_out_of_reach(evil, code):
    before = evil.plugin.pid
    told = evil.run(code).text
    assert told.startswith(("PermissionError", "OSError", "BlockingIOError", "AssertionError", "ValueError")), told
    assert before in (None, evil.plugin.pid)


def test_the_network_is_closed(evil):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for code in (
            f"socket.create_connection(('127.0.0.1', {port}))",
            "socket.socket(socket.AF_UNIX)",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "socket.socket(socket.AF_NETLINK)",
        ):
            assert evil.run(f"import socket; {code}").text.startswith("PermissionError"), code


def test_memory_ends(evil):
    assert evil.run("x = bytearray(10 << 30)").text.startswith("MemoryError")
    assert evil.run("import mmap; mmap.mmap(-1, 10 << 30)").text.startswith(("OSError", "MemoryError"))
    assert evil.run("x = []\nwhile True: x.append(bytearray(1 << 20))").text.startswith("MemoryError")
    assert evil.run("result = 'alive'").text == "alive"


def test_threads_are_bounded_by_memory(evil):
    code = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(20,), daemon=True).start()"
    assert evil.run(code).text.startswith(("RuntimeError", "MemoryError"))


def test_what_is_named_is_there(host, tmp_path, monkeypatch):
    monkeypatch.setenv("SARTOR_TEST_KEY", "k3y")
    monkeypatch.setenv("SARTOR_TEST_OTHER", "0ther")
    with socket.create_server(("127.0.0.1", 0)) as server:
        limits = (
            "{seconds: 60, start_seconds: 100, environment: [SARTOR_TEST_KEY], read: [prices], bot_folder: true,"
            " network: true}"
        )
        open_host = host(limits=limits)
        (open_host.root / "prices").mkdir()
        (open_host.root / "prices/a.csv").write_text("1,2")
        assert "k3y" in (told := open_host.run("import os; result = dict(os.environ)").text) and "0ther" not in told
        assert open_host.run(f"result = open({str(open_host.root / 'prices/a.csv')!r}).read()").text == "1,2"
        assert "evil" in open_host.run("result = open(bot.directory / 'bot.yaml').read()").text
        assert open_host.run("open(bot.directory / 'bot.yaml', 'w')").text.startswith("PermissionError")
        assert open_host.run("open('x', 'w')").text.startswith("PermissionError")
        port = server.getsockname()[1]
        assert open_host.run(f"import socket; socket.create_connection(('127.0.0.1', {port}))").text == "done"
        assert open_host.run("import socket; socket.socket(socket.AF_UNIX)").text.startswith("PermissionError")


def test_two_tenants_have_processes_and_folders_of_their_own(host, tmp_path):
    one, other = host(bot="acme/support"), host(bot="zeta/support")
    code = "import os; result = f'{os.getpid()} {os.getcwd()} {bot.id}'"
    told = [each.run(code).text.split() for each in (one, other)]
    assert told[0][0] != told[1][0] and told[0][1] != told[1][1]
    assert [each[2] for each in told] == ["acme/support", "zeta/support"]
    assert other.run(f"import os; os.listdir({told[0][1]!r})").text.startswith("PermissionError")
    one.close()
    deadline = time.monotonic() + 20
    while os.path.exists(told[0][1]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(told[0][1]) and os.path.exists(told[1][1])
