"""What happens when an isolated plugin hangs, crashes, lies, or never starts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest
from sartor.errors import PluginError

HANGS = {
    "a loop": "while True: pass",
    "a sleep": "import time; time.sleep(600)",
    "signals blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "the interpreter held": "sum(range(10 ** 12))",
}


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process is no more, or soon."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS)
def test_a_call_that_hangs_is_killed_and_the_next_one_works(host, code):
    evil = host(limits="{seconds: 5, start_seconds: 100}")
    pid = int(evil.run("import os; result = os.getpid()").text)
    told = evil.run(code)
    assert told.error and "gave no result within" in told.text
    assert gone(pid)
    deadline = time.monotonic() + 30
    while (again := evil.run("result = 'again'")).error and time.monotonic() < deadline:
        time.sleep(0.05)  # a process is gone before it is known to be
    assert again.text == "again"


ENDS = {
    "exit": ("import os; os._exit(3)", "ended with code 3"),
    "crash": ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
    "abort": ("import os; os.abort()", "was ended by SIGABRT"),
}


@pytest.mark.parametrize(("code", "how"), ENDS.values(), ids=ENDS)
def test_a_crash_is_an_error_of_the_tool_and_names_itself_in_the_log(host, caplog, code, how):
    evil = host()
    told = evil.run(code)
    assert told.error and told.text == "Error: run failed: RunError"
    assert how in caplog.text and "plugin 'evil' of acme/support" in caplog.text
    assert evil.run("result = 'again'").text == "again"


def test_a_process_that_is_killed_between_calls_is_replaced(host):
    evil = host()
    assert evil.run("result = 1").text == "1"
    first = evil.plugin.pid
    os.kill(first, 9)
    assert gone(first)
    deadline = time.monotonic() + 30
    while evil.plugin.pid is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert evil.run("result = 2").text == "2" and evil.plugin.pid not in (None, first)


SENDS = {
    "garbage": "b'\\xff' * 100_000",
    "no JSON": "struct.pack('>I', 3) + b'abc'",
    "a list": "struct.pack('>I', 2) + b'[]'",
    "a deep one": "struct.pack('>I', 60_001) + b'[' * 30_000 + b'1' + b']' * 30_000",
    "a long one": "struct.pack('>I', 1 << 31)",
    "an answer that nobody waits for": "struct.pack('>I', 12) + b'{\"call\": 99}'",
}


@pytest.mark.parametrize("data", SENDS.values(), ids=SENDS)
def test_what_is_no_answer_ends_the_process_and_nothing_else(host, caplog, data):
    evil = host()
    told = evil.run(f"import os, struct, sys, time\nos.write(int(sys.argv[3]), {data})\ntime.sleep(60)")
    assert told.error and told.text == "Error: run failed: RunError"
    assert "its process sent" in caplog.text
    assert evil.run("result = 'again'").text == "again"


def test_a_result_that_is_too_long_is_an_error(host, caplog):
    evil = host(limits="{seconds: 60, start_seconds: 100, result_bytes: 100_000, memory_mb: 4000}")
    assert evil.run("result = 'x' * (1 << 28)").text == "Error: run failed: RunError"
    assert "268435456 characters" in caplog.text
    assert evil.run("result = 'x' * 5000").text == "x" * 5000


def test_what_it_prints_is_bounded_and_no_answer(host, caplog):
    caplog.set_level("INFO", "sartor.isolation")
    evil = host(limits="{seconds: 5, start_seconds: 100}")
    assert evil.run("import os\nfor at in range(200): print('line', at, '\\x1b[31m', flush=True)").text == "done"
    told = evil.run("import os\nfor _ in range(1 << 14): os.write(1, b'x' * (1 << 16))")
    assert told.error
    lines = [record.message for record in caplog.records if "line" in record.message]
    assert 40 <= len(lines) <= 51 and "\x1b" not in caplog.text
    assert max(map(len, (record.message for record in caplog.records))) < 2000


def test_calls_run_side_by_side_and_one_that_hangs_takes_the_others_with_it(host):
    evil = host(limits="{seconds: 8, start_seconds: 100}")

    async def both() -> None:
        await evil.acall("greet", name="a")
        began = time.monotonic()
        codes = ["import time; time.sleep(1.5); result = 'slept'"] * 6
        told = await asyncio.gather(*(evil.acall("run", code=code) for code in codes))
        assert [one.text for one in told] == ["slept"] * 6 and time.monotonic() - began < 7
        hanging = asyncio.create_task(evil.acall("run", code="import time; time.sleep(600)"))
        await asyncio.sleep(4)
        late = asyncio.create_task(evil.acall("run", code="import time; time.sleep(7); result = 'late'"))
        assert "gave no result" in (await hanging).text
        assert (await late).text == "Error: run failed: RunError"

    asyncio.run(both())


def test_it_may_say_no_and_wrong_arguments_are_told(evil):
    told = evil.run("from sartor.errors import ToolError\nraise ToolError('closed on Mondays')")
    assert told.refused and told.text == "Error: run failed: closed on Mondays"
    assert evil.call("greet", name=[1]).text == (
        "Error: greet failed: it was called wrongly: name: Input should be a valid string"
    )
    assert evil.call("greet").text == "Error: greet was called wrongly: name: Field required"
    assert "Extra inputs" in evil.call("greet", name="a", more=1).text


START = """
from sartor import Plugin, hookimpl, tool

class Evil(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        return []
"""
FAULTS = {
    "raises": ("raise RuntimeError('boo')", "raised while it was imported: RuntimeError: boo"),
    "exits": ("import os; os._exit(7)", "its process ended with code 7"),
    "is no Python": ("class", "SyntaxError"),
    "a package that is not there": ("import nowhere", "needs the package 'nowhere'"),
    "a hook misspelt": (START.replace("sartor_tools", "sartor_toolz"), "sartor_toolz is no hook"),
    "another hook": (START.replace("sartor_tools", "sartor_policies"), "is isolated and implements sartor_policies"),
    "for another version": (
        START.replace("    @hook", "    hook_versions = '99'\n    @hook"),
        "was made for hook version",
    ),
    "too much to describe": (
        START.replace("return []", "return [tool(name=f't{n}', description='x')(lambda: 1) for n in range(100)]"),
        "more than 64",
    ),
}


@pytest.mark.parametrize(("plugin", "what"), FAULTS.values(), ids=FAULTS)
def test_one_that_does_not_start_is_refused_with_the_same_words(host, plugin, what):
    with pytest.raises(PluginError) as caught:
        host(plugin=plugin)
    assert what in str(caught.value)


def test_one_that_never_starts_is_given_up(host):
    with pytest.raises(PluginError, match="was not ready within 2 seconds"):
        host(plugin="while True: pass", limits="{start_seconds: 2}")


def test_settings_are_checked_there(make_project):
    from sartor.lockfile import catalog_of
    from sartor.plugins import PluginSet
    from sartor.project import Project
    from sartor.values import BotInfo

    root = make_project({"sartor.yaml": "isolated_plugins: {evil: {start_seconds: 100}}", "plugins/evil.py": START})
    plugin = catalog_of(Project(root)).make("evil", {"colour": 1}, root, "bot.yaml:3")
    with pytest.raises(PluginError, match="unknown key 'colour'") as caught:
        list(PluginSet([plugin]).ask("sartor_tools", bot=BotInfo("a", "b", root, root)))
    assert caught.value.where == "bot.yaml:3"


def test_nothing_outlives_the_process_that_started_it(tmp_path, host):
    host()  # skips where there are no walls
    code = f"""
import sys
sys.path[:0] = {[os.path.dirname(__file__)]!r}
from pathlib import Path
from conftest import Host
host = Host(Path({str(tmp_path / "orphans")!r}))
host.run("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))")
print(host.plugin.pid, flush=True)
import os
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.stdout.strip(), done.stderr
    assert gone(int(done.stdout))
