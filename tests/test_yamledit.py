"""Values are put into YAML files without touching anything else, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sartor.errors import DiskError, SpecError, UsageError
from sartor.scaffold import PROJECT_FILE
from sartor.yamledit import change_file, change_text, lines_of
from sartor.yamlfile import parse_yaml

FILE = Path("sartor.yaml")
NEW = {"plugin": "llama", "path": "models/x.gguf"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "models:\n  x:\n    plugin: llama\n    path: models/x.gguf\n"),
        ("# only a comment", "# only a comment\nmodels:\n  x:\n    plugin: llama\n    path: models/x.gguf\n"),
        ("a: 1  # one\n", "a: 1  # one\nmodels:\n  x:\n    plugin: llama\n    path: models/x.gguf\n"),
        ("a: 1", "a: 1\nmodels:\n  x:\n    plugin: llama\n    path: models/x.gguf\n"),
        ("a: 1\n...\n", "a: 1\nmodels:\n  x:\n    plugin: llama\n    path: models/x.gguf\n...\n"),
        (
            "models:   # none yet\nb: 2\n",
            "models:   # none yet\n  x:\n    plugin: llama\n    path: models/x.gguf\nb: 2\n",
        ),
        ("models:\nb: 2\n", "models:\n  x:\n    plugin: llama\n    path: models/x.gguf\nb: 2\n"),
        (
            "models:\n    y:\n        plugin: p  # why\n\n# about b\nb: 2\n",
            "models:\n    y:\n        plugin: p  # why\n    x:\n      plugin: llama\n      path: models/x.gguf\n\n"
            "# about b\nb: 2\n",
        ),
        (
            "models:\n  y: {plugin: p}\n  # z: later\n",
            "models:\n  y: {plugin: p}\n  x:\n    plugin: llama\n    path: models/x.gguf\n  # z: later\n",
        ),
        ("models: {}\n", "models: {x: {plugin: llama, path: models/x.gguf}}\n"),
        (
            "models: {y: {plugin: p}} # m\nb: 2\n",
            "models: {y: {plugin: p}, x: {plugin: llama, path: models/x.gguf}} # m\nb: 2\n",
        ),
        (
            "models: {\n  y: {plugin: p},  # trailing\n}\n",
            "models: {\n  y: {plugin: p}, x: {plugin: llama, path: models/x.gguf},  # trailing\n}\n",
        ),
        ('{"a": 1}', '{"a": 1, models: {x: {plugin: llama, path: models/x.gguf}}}'),
        (
            "models:\n  y:\n    plugin: p\n    script: |\n      one\n      two\nb: 2\n",
            "models:\n  y:\n    plugin: p\n    script: |\n      one\n      two\n"
            "  x:\n    plugin: llama\n    path: models/x.gguf\nb: 2\n",
        ),
        (
            "models:\r\n  y:\r\n    plugin: p\r\nb: 2\r\n",
            "models:\r\n  y:\r\n    plugin: p\r\n  x:\r\n    plugin: llama\r\n    path: models/x.gguf\r\nb: 2\r\n",
        ),
    ],
)
def test_a_new_entry(before, after):
    assert change_text(before, ("models", "x"), NEW, FILE) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model: a   # the one\nb: 1\n", "model: new   # the one\nb: 1\n"),
        ("model: 'a'\n", "model: new\n"),
        ("b: 1\nmodel:    a\n", "b: 1\nmodel:    new\n"),
        ("{model: a, b: 1}\n", "{model: new, b: 1}\n"),
        ("b: 1\n", "b: 1\nmodel: new\n"),
    ],
)
def test_a_value_that_is_replaced(before, after):
    assert change_text(before, ("model",), "new", FILE) == after


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("models: null\n", ("models", "x")),
        ("models: [a]\n", ("models", "x")),
        ("models: text\n", ("models", "x")),
        ("model: |\n  a\n", ("model",)),
        ("model:\n  a: 1\n", ("model",)),
        ("model:\n", ("model",)),
    ],
)
def test_a_text_that_has_no_place_is_refused_with_the_lines(text, key):
    with pytest.raises(UsageError, match="cannot be put into the file without changing other things") as caught:
        change_text(text, key, NEW if key[0] == "models" else "new", FILE)
    assert caught.value.where == "sartor.yaml"
    assert ("plugin: llama" if key[0] == "models" else "model: new") in caught.value.remedy


def test_the_file_that_new_projects_have():
    text = PROJECT_FILE
    for key, value in {("models", "x"): NEW, ("models", "x", "sha256"): "0" * 64, ("model",): "x"}.items():
        text = change_text(text, key, value, FILE)
    old, new = PROJECT_FILE.splitlines(), text.splitlines()
    assert [line for line in old if line not in new] == [old[2]]
    assert new[2] == old[2].replace("builtin", "x", 1)
    assert parse_yaml(text, FILE).data["models"]["x"] == {**NEW, "sha256": "0" * 64}


names = st.text("abz-", min_size=1, max_size=3)
plain = st.one_of(st.integers(-9, 9), st.booleans(), st.text("ab: #'\"{}[],&*!|>%@`-?\\~é\t\n", max_size=6))
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3), max_leaves=4
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(st.dictionaries(names, st.dictionaries(names, values, min_size=1, max_size=3), min_size=1, max_size=3), values)
def test_what_is_written_reads_back_and_the_rest_stays(data, value):
    text = "\n".join(lines_of(data)) + "\n"
    assert parse_yaml(text, FILE).data == data
    first = next(iter(data))
    changed = change_text(text, (first, "new"), value, FILE)
    assert parse_yaml(changed, FILE).data == {**data, first: {**data[first], "new": value}}
    lines = iter(changed.splitlines())
    assert all(line in lines for line in text.splitlines())


def test_a_file_keeps_its_mark_its_permissions_and_its_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "sartor.yaml"
    real.write_bytes(b"\xef\xbb\xbfmodel: \xc3\xa9 # one\n")
    real.chmod(0o640)
    link.symlink_to(real)
    change_file(link, {("model",): "ü"})
    assert real.read_bytes() == '\ufeffmodel: "ü" # one\n'.encode() and link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.yaml", "sartor.yaml"]


def test_what_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "sartor.yaml"
    path.write_text("models: null\nmodel: a\n")
    with pytest.raises(UsageError):
        change_file(path, {("model",): "b", ("models", "x"): NEW})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sartor.yamledit.os.fsync", full)
    with pytest.raises(DiskError, match="cannot be written: No space left on device"):
        change_file(path, {("model",): "b"})
    assert path.read_text() == "models: null\nmodel: a\n" and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "sartor.yaml"
    path.write_text("a: [\n")
    with pytest.raises(SpecError, match="YAML error"):
        change_file(path, {("model",): "b"})
