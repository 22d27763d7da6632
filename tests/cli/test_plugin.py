"""`sartor plugin` and the options of `sartor plugins`."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from sartor.cli.plugin.new import command
from sartor.pluginscaffold import KINDS

BOT = {"tenants/acme/support/bot.yaml": "plugins: {topics: {blocked: [politics]}}"}


def test_the_command_knows_every_kind():
    choice = next(param for param in command.params if param.name == "kind")
    assert list(choice.type.choices) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_package_pass_at_once(sartor, tmp_path, kind):
    ran = sartor("plugin", "new", "two-words", "--kind", kind, "-d", tmp_path)
    package = tmp_path / "sartor-two-words"
    assert ran.code == 0 and f"made {package}" in ran.out and "src/sartor_two_words/__init__.py" in ran.out
    assert not [file for file in package.rglob("*") if file.is_file() and b"@NAME@" in file.read_bytes()]
    told = [sys.executable, "-m", "pytest", "-q", "-p", "sartor.testing.fixtures", "-p", "no:cacheprovider"]
    done = subprocess.run(told, cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sartor-two-words"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Two", "'Two' cannot be the name of a plugin"),
        ("a_b", "cannot be the name of a plugin"),
        ("../x", "cannot be the name of a plugin"),
        ("2fast", "'2fast' cannot be the name of a plugin"),
        ("sartor-plugins", "cannot be the name of a plugin"),
    ],
)
def test_names_that_cannot_be_are_refused(sartor, tmp_path, name, message):
    ran = sartor("plugin", "new", name, "--kind", "tool", "-d", tmp_path)
    assert ran.code == 2 and message in ran.err and not list(tmp_path.iterdir())


def test_nothing_is_overwritten(sartor, tmp_path):
    (tmp_path / "sartor-desk").mkdir()
    ran = sartor("plugin", "new", "desk", "--kind", "tool", "-d", tmp_path)
    assert ran.code == 2 and "exists already" in ran.err and not list((tmp_path / "sartor-desk").iterdir())


def test_check_reports_faults_of_a_package(sartor, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    sartor("plugin", "new", "faulty", "--kind", "tool", "-d", tmp_path)
    source = tmp_path / "sartor-faulty/src/sartor_faulty/__init__.py"
    source.write_text(source.read_text().replace('    """Most working days that may be asked for."""\n', ""))
    ran = sartor("plugin", "check", "--no-types", tmp_path / "sartor-faulty")
    assert ran.code == 1
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "✗ settings without a docstring: most" in lines
    assert "✓ gives tool faulty" in lines and "✓ hook versions 1" in lines
    assert any(line.startswith("✗ suites ToolSuite: 14 passed") for line in lines), lines
    assert "test_every_setting_says_what_it_means: AssertionError: settings without a docstring: most" in lines


def test_check_of_an_installed_plugin(sartor, tmp_path):
    ran = sartor("plugin", "check", "topics", "-s", 'blocked=["politics"]', "-p", tmp_path)
    assert ran.code == 0 and "PolicySuite: " in ran.out and "policy topics (input; window None)" in ran.out
    ran = sartor("plugin", "check", "telemetry", "-p", tmp_path)
    assert ran.code == 0 and re.search(r"ObserverSuite: \d\d passed\n", ran.out), ran.out
    ran = sartor("plugin", "check", "slack", "-p", tmp_path)
    assert ran.code == 0 and "it needs settings to be made: --set bot_token, signing_secret=" in ran.out


@pytest.mark.parametrize(
    ("target", "message"),
    [("no-such-plugin", "there is no plugin"), (".", "there is no pyproject.toml")],
)
def test_check_of_nothing(sartor, tmp_path, monkeypatch, target, message):
    monkeypatch.chdir(tmp_path)
    ran = sartor("plugin", "check", target)
    assert ran.code == 2 and message in ran.err


def test_lock_and_verify(sartor, make_project):
    root = make_project(BOT)
    assert sartor("plugins", "--verify", "-p", root).code == 2
    ran = sartor("plugins", "--lock", "-p", root)
    assert ran.code == 0 and "locked 4 plugins" in ran.out and (root / "sartor.lock").is_file()
    assert "4 plugins are as they were locked" in sartor("plugins", "--verify", "-p", root).out
    (root / "plugins/scripted.py").write_text("# changed\n")
    ran = sartor("plugins", "--verify", "-p", root)
    assert ran.code == 1 and "scripted: other files than when it was locked" in ran.out


def test_times(sartor, make_project):
    root = make_project({**BOT, "tenants/acme/broken/bot.yaml": "plugins: {no-such: {}}"})
    ran = sartor("plugins", "--times", "-p", root)
    assert ran.code == 1 and "acme/broken: " in ran.out and "there is no plugin 'no-such'" in ran.out
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line}
    assert {"topics", "scripted", "memory-index"} <= set(rows) and float(rows["topics"][-1]) > 0
    assert not (root / "state").exists()


def test_times_in_a_turn(sartor, make_project):
    mine = """
        from sartor import ALLOW, Plugin, Policy, hookimpl, tool
        @tool
        def look_up(order: str) -> str:
            "Look up an order."
            return "sent"
        class Watch(Policy):
            async def input(self, turn, text): return ALLOW
        class Mine(Plugin):
            @hookimpl
            def sartor_tools(self): return [look_up]
            @hookimpl
            def sartor_policies(self): return [Watch()]
    """
    call = {"call": "look_up", "arguments": {"order": "1"}}
    bot = {"tenants/acme/support/bot.yaml": "grounding: free\nplugins: {mine: {}}\n", "plugins/mine.py": mine}
    root = make_project(bot, script=[call, "Sent.", call, "Sent."])
    ran = sartor("plugins", "--times", "--ask", "Where is 1?", "-p", root)
    assert ran.code == 0, ran.err
    rows = {" ".join(line.split()[1:-2]): line.split()[-2:] for line in ran.out.splitlines() if line.startswith("acme")}
    assert rows["policy mine: input"][0] == rows["tool look_up"][0] == "1"
    assert rows["model scripted"][0] == "2"
    assert "retriever Knowledge" in rows and "whole" in ran.out
    assert not (root / "state").exists()
    assert sartor("plugins", "--ask", "Hi", "-p", root).code == 2


def test_the_json_schema_of_a_plugin(sartor, tmp_path):
    ran = sartor("plugins", "topics", "--json-schema", "-p", tmp_path)
    assert ran.code == 0 and json.loads(ran.out)["properties"]["similarity"]["default"] == 0.5
    for wrong in (["--json-schema"], ["topics", "--lock"], ["--lock", "--verify"]):
        assert sartor("plugins", *wrong, "-p", tmp_path).code == 2
