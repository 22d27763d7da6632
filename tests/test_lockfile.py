"""`sartor.lock`: what is compared, and what is refused."""

from __future__ import annotations

import pytest
import sartor
from sartor.errors import PluginError
from sartor.lockfile import differences, lock, read_lock, write_lock
from sartor.project import Project

MINE = "from sartor import Plugin\n\nclass Mine(Plugin):\n    pass\n"
FILES = {
    "plugins/mine.py": MINE,
    "tenants/acme/support/bot.yaml": "plugins: {mine: {}, topics: {}}",
    "tenants/acme/other/bot.yaml": "title: Other",
}


def test_the_lock_names_what_the_project_names_and_nothing_else(make_project):
    root = make_project({**FILES, "plugins/unused.py": "raise RuntimeError('imported')"})
    now = lock(Project(root))
    assert sorted(now) == ["documents", "memory-index", "mine", "scripted", "topics"]
    assert now["mine"].source == "plugins/mine.py" and now["topics"].source.startswith("sartor ")
    write_lock(root, now)
    assert read_lock(root) == now and not list(differences(now, lock(Project(root))))


def test_each_difference_is_told(make_project):
    root = make_project(FILES)
    then = lock(Project(root))
    (root / "plugins/mine.py").write_text(MINE + "# changed\n")
    (root / "tenants/acme/support/bot.yaml").write_text("plugins: {mine: {}, lookup: {}}")
    assert list(differences(then, lock(Project(root)))) == [
        f"lookup: is not locked ({then['topics'].source})",
        "mine: other files than when it was locked, though still plugins/mine.py",
        "topics: is locked, and nothing names it any more",
    ]
    from sartor.lockfile import Locked

    older = {"topics": Locked("sartor 0.0.9", "x")}
    assert list(differences(older, {"topics": then["topics"]})) == [
        f"topics: was sartor 0.0.9, is {then['topics'].source}"
    ]


def locked(make_project) -> object:
    root = make_project(FILES)
    path = root / "sartor.yaml"
    path.write_text(path.read_text() + "locked: true\n")
    return root


def test_where_plugins_are_locked_another_one_is_refused_unimported_and_the_rest_starts(make_project):
    root = locked(make_project)
    write_lock(root, lock(Project(root)))
    with sartor.open_sync(root) as bots:
        assert bots["acme/support"]
    (root / "plugins/mine.py").write_text("raise RuntimeError('imported')\n")
    with sartor.open_sync(root) as bots:
        with pytest.raises(PluginError, match="plugin mine: other files than when it was locked"):
            bots["acme/support"]
        assert bots["acme/other"]


def test_where_plugins_are_locked_a_lock_must_be_there_and_be_one(make_project):
    root = locked(make_project)
    with pytest.raises(PluginError, match=r"there is no sartor\.lock"), sartor.open_sync(root):
        pass
    for text in ("plugins: [a]\n", "plugins: {a: {from: b}}\n", "{}\n"):
        (root / "sartor.lock").write_text(text)
        with pytest.raises(PluginError, match="is no lock"):
            read_lock(root)
