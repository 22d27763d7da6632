"""What all commands share: exit codes, and how an error looks."""

from __future__ import annotations

import pytest
from sartor.cli import cli

COMMANDS = [
    "demo",
    "new",
    "list",
    "ingest",
    "chat",
    "ask",
    "test",
    "compare",
    "replay",
    "handovers",
    "serve",
    "key",
    "mcp",
    "show",
    "model",
    "templates",
    "plugins",
    "plugin",
    "doctor",
]


def test_the_commands_are_these_and_each_has_a_help(sartor):
    ran = sartor("--help")
    assert ran.code == 0 and [name for name in COMMANDS if f"\n  {name} " in ran.out] == COMMANDS
    assert cli.list_commands(None) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command(sartor, name):
    ran = sartor(name, "--help")
    assert ran.code == 0 and f"Usage: sartor {name}" in ran.out and "--help" in ran.out


def test_the_version(sartor):
    from sartor import __version__

    assert sartor("--version").out.strip() == f"sartor, version {__version__}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lst"], "No such command 'lst'"),
        (["list", "--nonsense"], "No such option"),
        (["ask"], "Missing argument 'BOT'"),
        (["ask", "acme/support"], "Missing argument 'QUESTION'"),
    ],
)
def test_what_click_refuses(sartor, arguments, told):
    ran = sartor(*arguments)
    assert ran.code == 2 and told in ran.err and ran.out == ""


def test_an_error_has_place_thing_and_remedy(sartor, project):
    root = project({"tenants/acme/support/bot.yaml": "title: x\nmodell: y\n"})
    ran = sartor("show", "acme/support", "-p", root)
    assert ran.code == 2 and ran.out == ""
    path = (root / "tenants/acme/support/bot.yaml").resolve()
    assert ran.err == f"error: {path}:2: unknown key 'modell'\n  Did you mean 'model'?\n"


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "acme/support"], ["ask", "acme/support", "Hi"], ["chat", "acme/support"], ["ingest"]],
)
def test_a_folder_that_is_no_project(sartor, tmp_path, arguments):
    for folder in (tmp_path, tmp_path / "nothing"):
        ran = sartor(*arguments, "-p", folder)
        assert ran.code == 2 and f"{folder}: there is no sartor.yaml" in ran.err and "sartor new" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "ask", "chat", "ingest"])
@pytest.mark.parametrize(
    ("bot", "told"),
    [
        ("acme", "'acme' names no bot"),
        ("../acme/support", "cannot be the name of a tenant"),
        ("acme/suport", "Did you mean acme/support?"),
        ("acme/../acme/support", "cannot be the name of a bot"),
    ],
)
def test_a_bot_that_is_none(sartor, project, command, bot, told):
    ran = sartor(command, bot, *(["Hi"] if command == "ask" else []), "-p", project())
    assert ran.code == 2 and told in ran.err


def test_the_project_is_found_from_a_folder_inside_it(sartor, project, monkeypatch):
    monkeypatch.chdir(project() / "tenants/acme/support/knowledge")
    assert sartor("list").out.startswith("acme/support")


def test_debugging_shows_where_an_error_comes_from(sartor, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sartor", "list", "-p", str(tmp_path)])
    monkeypatch.setenv("SARTOR_DEBUG", "1")
    from sartor.cli import main
    from sartor.errors import SpecError

    with pytest.raises(SpecError):
        main()
