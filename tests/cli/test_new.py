"""`sartor new`: a bot from a template, or nothing at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import yaml
from sartor.project import Project

SET = ("--set", "company=Acme & Söhne", "--set", "contact=help@acme.example")


def tree(root) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_yes_makes_the_project_the_tenant_and_the_bot(sartor, tmp_path):
    ran = sartor("new", "acme", "-t", "support", "--yes", *SET, "-p", tmp_path)
    assert ran.code == 0 and ran.err == ""
    assert "made the project" in ran.out and "made acme/support from support@1" in ran.out
    assert {"sartor.yaml", ".gitignore", "tenants/acme/tenant.yaml", "tenants/acme/support/orders.csv"} <= tree(
        tmp_path
    )
    text = (tmp_path / "tenants/acme/support/bot.yaml").read_text()
    assert yaml.safe_load(text) == {
        "template": "support@1",
        "values": {"company": "Acme & Söhne", "contact": "help@acme.example"},
    }
    bot = Project(tmp_path).bot("acme/support")
    assert bot.spec.title == "Acme & Söhne support" and bot.spec.values["language"] == "en"
    assert yaml.safe_load((tmp_path / "tenants/acme/tenant.yaml").read_text()) == {"name": "Acme & Söhne"}
    assert not [name for name in tree(tmp_path) if ".new-" in name]
    for path in ran.out.splitlines():
        if path.startswith("  tenants/"):
            assert (tmp_path / path.strip()).is_file()


def test_values_are_asked_for_until_they_fit(sartor, tmp_path):
    told = "Larkfield Insurance\nnobody\nservice@larkfield.example\nfr\n"
    ran = sartor("new", "larkfield", "-t", "faq", "-p", tmp_path, stdin=told)
    assert ran.code == 0
    assert "What is the company called? (such as Larkfield Insurance)" in ran.out
    assert "'contact' must be an e-mail address" in ran.err
    assert Project(tmp_path).bot("larkfield/faq").spec.languages == ["fr"]


def test_what_is_set_is_not_asked_for(sartor, tmp_path):
    ran = sartor("new", "acme", "-t", "faq", *SET, "-p", tmp_path, stdin="\n")
    assert ran.code == 0 and "What is the company called" not in ran.out and "Which language" in ran.out
    assert Project(tmp_path).bot("acme/faq").spec.languages == ["en"]


def test_a_second_bot_of_a_tenant_leaves_the_rest_as_it_is(sartor, tmp_path):
    assert sartor("new", "acme", "-t", "faq", "--yes", *SET, "-p", tmp_path).code == 0
    (tmp_path / "tenants/acme/tenant.yaml").write_text("name: Mine\n")
    ran = sartor("new", "acme", "-t", "faq", "--bot", "faq-2", "--yes", *SET, "-p", tmp_path)
    assert ran.code == 0 and "made the project" not in ran.out
    assert (tmp_path / "tenants/acme/tenant.yaml").read_text() == "name: Mine\n"
    assert Project(tmp_path).bots() == ["acme/faq", "acme/faq-2"]


def test_an_existing_bot_is_left_alone_and_nothing_is_asked(sartor, tmp_path):
    assert sartor("new", "acme", "-t", "faq", "--yes", *SET, "-p", tmp_path).code == 0
    before = {name: (tmp_path / name).read_bytes() for name in tree(tmp_path) if (tmp_path / name).is_file()}
    ran = sartor("new", "acme", "-t", "faq", "-p", tmp_path)
    assert ran.code == 2 and "the bot acme/faq exists" in ran.err and "--bot" in ran.err and ran.out == ""
    assert before == {name: (tmp_path / name).read_bytes() for name in tree(tmp_path) if (tmp_path / name).is_file()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["acme", "-t", "suport", *SET], ["there is no template 'suport'", "Did you mean support?"]),
        (["acme", "-t", "faq@7", *SET], ["there is no template 'faq@7'", "faq@1"]),
        (["../x", *SET], ["'../x' cannot be the name of a tenant", "lower-case letters"]),
        (["a/b", *SET], ["'a/b' cannot be the name of a tenant"]),
        (["", *SET], ["'' cannot be the name of a tenant"]),
        (["A" * 64, *SET], ["cannot be the name of a tenant"]),
        (["acme", "--bot", "../x", *SET], ["'../x' cannot be the name of a bot"]),
        (["acme"], ["'company' is missing: What is the company called?", "'contact' is missing"]),
        (["acme", "--set", "compny=x", *SET], ["'compny' is no value of support@1", "did you mean 'company'?"]),
        (["acme", "--set", "company=x", "--set", "contact=y"], ["'contact' must be an e-mail address", "not 'y'"]),
        (["acme", *SET, "--set", "language=tlh"], ["'language' must be one of en, fr, not 'tlh'"]),
        (["acme", *SET, "--set", "language"], ["--set 'language' has no value", "--set KEY=VALUE"]),
        (["acme", *SET, "--set", "language="], ["'language' must be a text"]),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(sartor, tmp_path, arguments, told):
    ran = sartor("new", *arguments, "--yes", "-p", tmp_path)
    assert ran.code == 2 and tree(tmp_path) == set()
    for text in told:
        assert text in ran.err
    assert ran.err.startswith("error: ") and "Traceback" not in ran.err


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_full_disk_leaves_nothing_half_written(sartor, tmp_path, monkeypatch, nth):
    """The disk is full at the nth file."""
    calls = 0
    real = os.fsync

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    ran = sartor("new", "acme", "--yes", *SET, "-p", tmp_path)
    assert ran.code != 0 and "No space left on device" in ran.err and "half-written" in ran.err
    left = {name for name in tree(tmp_path) if (tmp_path / name).is_file()}
    assert left in (set(), {"sartor.yaml", ".gitignore"})
    assert not left or Project(tmp_path).bots() == []
    monkeypatch.undo()
    assert not [name for name in tree(tmp_path) if ".new-" in name]


def test_starter_files_that_do_not_fit_leave_no_bot(sartor, tmp_path, monkeypatch):
    def full(*given, **told):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copytree", full)
    ran = sartor("new", "acme", "--yes", *SET, "-p", tmp_path)
    assert ran.code != 0 and "tenants/acme/support: cannot be written: No space left on device" in ran.err
    assert not (tmp_path / "tenants/acme").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(sartor, tmp_path):
    tmp_path.chmod(0o555)
    ran = sartor("new", "acme", "--yes", *SET, "-p", tmp_path)
    tmp_path.chmod(0o755)
    assert ran.code != 0 and "cannot be written: Permission denied" in ran.err and tree(tmp_path) == set()


def test_a_folder_that_may_not_be_written_to(sartor, tmp_path, monkeypatch):
    def refuse(*given, **told):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    ran = sartor("new", "acme", "--yes", *SET, "-p", tmp_path)
    assert ran.code != 0 and "sartor.yaml: cannot be written: Permission denied" in ran.err
    assert tree(tmp_path) == set()


def test_a_closed_terminal_makes_nothing(sartor, tmp_path):
    ran = sartor("new", "acme", "-p", tmp_path, stdin="Acme\n")
    assert ran.code == 130 and tree(tmp_path) == set()


def test_a_process_that_is_killed_leaves_a_project_that_can_be_used(tmp_path, sartor):
    """The bot is moved to its place whole: what a kill leaves behind is no tenant."""
    code = (
        "import os, shutil, sys, sartor.scaffold as s\n"
        "s.shutil.copytree = lambda *a, **k: os._exit(9)\n"
        "from sartor.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "new", "acme", "--yes", *SET, "-p", str(tmp_path)], check=False)
    assert done.returncode == 9 and [name for name in tree(tmp_path) if ".new-" in name]
    assert sartor("list", "-p", tmp_path).out == ""
    assert sartor("new", "acme", "--yes", *SET, "-p", tmp_path).code == 0
    assert Project(tmp_path).bots() == ["acme/support"]
