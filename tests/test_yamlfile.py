"""YAML files are read strictly, and every fault is said with its file and line."""

from __future__ import annotations

import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.errors import SpecError
from sartor.yamlfile import parse_yaml, read_yaml

FILE = Path("bot.yaml")


def parse(text: str):
    return parse_yaml(text, FILE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2.5", 2.5),
        ("2026-11-23", "2026-11-23"),
        ('"12"', "12"),
        ("é’", "é’"),
        ("=", "="),
    ],
)
def test_scalars(text, value):
    found = parse(f"key: {text}").data["key"]
    assert found == value and type(found) is type(value)


def test_keys_are_text():
    assert parse("1: a\nno: b\n2026-01-01: c\n<<: d").data == {"1": "a", "no": "b", "2026-01-01": "c", "<<": "d"}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n", "---\n# nothing\n"])
def test_an_empty_file_is_an_empty_mapping(text):
    if text.startswith("---"):
        with pytest.raises(SpecError, match="no mapping"):
            parse(text)
    else:
        assert parse(text).data == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "the key 'c' stands twice"),
        ("a: 1\n'a': 2\n", 2, "the key 'a' stands twice"),
        ("a:\n\t- b\n", 2, "tab"),
        ("a: b\n\tc: d\n", 2, "tab"),
        ("a: 1\nb: &x [1]\n", 2, "anchors and aliases"),
        ("a: 1\nb: *x\n", 2, "anchors and aliases"),
        ("a: &a\n  b: *a\n", 1, "anchors and aliases"),
        ("a: 1\nb: .nan\n", 2, "no finite number"),
        ("a: 1\nb: -.inf\n", 2, "no finite number"),
        ("a: 1\nb: 1.0e999\n", 2, "no finite number"),
        ("a: 1\nb: !!python/object:os.system ls\n", 2, "the tag .* is not supported"),
        ("a: 1\nb: !secret {c: 1}\n", 2, "the tag '!secret' is not supported"),
        ("a: 1\nb: !!set {c}\n", 2, "the tag .* is not supported"),
        ("a: !!binary aGk=\n", 1, "the tag .* is not supported"),
        ("a: !!map 3\n", 1, "the tag .* is not supported"),
        ("a: 1\nb: !!int word\n", 2, "'word' is no int"),
        ("a: 1\nb: !!bool maybe\n", 2, "'maybe' is no bool"),
        ("a: 1\nb: " + "9" * 5000, 2, "is no int"),
        ("a: 1\n? [b, c]\n: 1\n", 2, "a key that is no text"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
        ("- a\n- b\n", 1, "the top level is no mapping"),
        ("just text", 1, "the top level is no mapping"),
        ("a: 1\nb: 'never closed\n", 3, "YAML error"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "YAML error"),
        ("a: 1\nb: 2\nc: \x01\n", 3, "control characters"),
        ("a: 1\nb: c: d\n", 2, "YAML error"),
    ],
)
def test_a_fault_names_file_and_line(text, line, message):
    with pytest.raises(SpecError, match=message) as caught:
        parse(text)
    assert caught.value.where == f"bot.yaml:{line}"
    assert len(str(caught.value)) < 400


def test_nesting_is_bounded():
    assert parse("a: " + "[" * 39 + "]" * 39).data
    with pytest.raises(SpecError, match="nested more than 40 deep"):
        parse("a: " + "[" * 40 + "]" * 40)


@pytest.mark.parametrize("bomb", ["a: " + "[" * 60_000, "a: " + "{a: " * 60_000, "- " * 60_000])
def test_a_deep_file_does_not_end_the_process(bomb, tmp_path):
    """Composing such a file is a recursion in C: without the check before it, the interpreter crashes."""
    (tmp_path / "bot.yaml").write_text(bomb)
    path = str(tmp_path / "bot.yaml")
    code = f"from pathlib import Path; from sartor.yamlfile import read_yaml; read_yaml(Path({path!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and "nested more than 40 deep" in done.stderr


def test_an_alias_bomb_is_refused_at_its_first_anchor():
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(SpecError, match="anchors") as caught:
        parse("\n".join(levels))
    assert caught.value.where == "bot.yaml:1" and "quotes" in caught.value.remedy


def test_places():
    file = parse("title: x\nplugins:\n  topics:\n    blocked:\n      - politics\n      - {name: b}\n")
    assert file.place() == "bot.yaml:1"
    assert file.place(("plugins", "topics")) == "bot.yaml:3"
    assert file.place(("plugins", "topics", "blocked", 0)) == "bot.yaml:5"
    assert file.place(("plugins", "topics", "blocked", 1, "name")) == "bot.yaml:6"
    assert file.place(("plugins", "topics", "nothing", "of", "it")) == "bot.yaml:3"
    assert file.place(("nothing",)) == "bot.yaml:1"


def test_a_file_that_is_no_utf8_names_the_line(tmp_path):
    path = tmp_path / "bot.yaml"
    path.write_bytes("title: ok\ngreeting: caf\xe9\n".encode("latin-1"))
    with pytest.raises(SpecError, match="is not UTF-8 text") as caught:
        read_yaml(path)
    assert caught.value.where == f"{path}:2" and caught.value.remedy == "Save the file as UTF-8."


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "bot.yaml"
    path.write_bytes(b"\xef\xbb\xbftitle: x\r\nmodel: y\r\n")
    assert read_yaml(path).data == {"title": "x", "model": "y"}


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file") as caught:
        read_yaml(tmp_path / "bot.yaml")
    assert caught.value.where == str(tmp_path / "bot.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "big.yaml").write_bytes(b"a: 1\n" + b"#" * (4 * 1024 * 1024))
    with pytest.raises(SpecError, match="larger than 4 MiB"):
        read_yaml(tmp_path / "big.yaml")


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("&*[]{}:-'\"!|>%@`\n\t ,?#"), max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        assert isinstance(parse(text).data, dict)
    except SpecError as error:
        assert error.where.startswith("bot.yaml:")


PRINTABLE = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))


@given(st.dictionaries(st.text(string.ascii_letters, min_size=1), st.text(PRINTABLE)))
def test_what_pyyaml_writes_is_read_back(data):
    import yaml

    assert parse(yaml.safe_dump(data, allow_unicode=True)).data == data
