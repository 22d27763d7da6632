"""Values put into a YAML file by hand-sized changes of its text: comments, order and quotes stay as they are.

A change is made only if the file, read anew, says exactly what was meant and nothing else has changed.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from sartor.errors import DiskError, SartorError, SpecError, UsageError
from sartor.values import JSONValue
from sartor.yamlfile import parse_yaml, read_yaml

__all__ = ["change_file", "change_text", "lines_of"]

Names = tuple[str, ...]
"""Where a value stands: the keys of mappings, from the top."""


class _NoPlace(Exception):
    """The text is laid out such that the value cannot be put into it."""


def change_file(path: Path, changes: Mapping[Names, JSONValue]) -> None:
    """Set each value in the YAML file `path`. Raises `SpecError`, `UsageError` or `DiskError`, leaving it as it was."""
    read_yaml(path)  # its errors are clearer
    raw = path.read_bytes()
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    text = raw.removeprefix(mark).decode("utf-8")
    for key, value in changes.items():
        text = change_text(text, key, value, path)
    _replace(path.resolve(), mark + text.encode("utf-8"))


def change_text(text: str, key: Names, value: JSONValue, path: Path) -> str:
    """`text`, the content of the YAML file `path`, with `value` at `key`. Raises `UsageError` where it cannot be."""
    try:
        changed = _changed(text, key, value)
        fits = parse_yaml(changed, path).data == _meant(parse_yaml(text, path).data, key, value)
    except (_NoPlace, SpecError, yaml.YAMLError):
        fits = False
    if not fits:
        nested: JSONValue = value
        for name in reversed(key):
            nested = {name: nested}
        raise UsageError(
            f"{'.'.join(key)} cannot be put into the file without changing other things",
            where=str(path),
            remedy="Write it yourself:\n" + "".join(f"    {line}\n" for line in lines_of(nested)).rstrip(),
        )
    return changed


def lines_of(value: JSONValue, indent: int = 0) -> list[str]:
    """A mapping as lines of YAML in block style."""
    assert isinstance(value, dict)
    out: list[str] = []
    for name, inner in value.items():
        head = f"{' ' * indent}{_scalar(name)}:"
        if isinstance(inner, dict) and inner:
            out += [head, *lines_of(inner, indent + 2)]
        else:
            out.append(f"{head} {_flow(inner)}")
    return out


def _meant(data: JSONValue, key: Names, value: JSONValue) -> JSONValue:
    data = copy.deepcopy(data)
    inner = data
    for name in key[:-1]:
        assert isinstance(inner, dict)
        if inner.get(name) is None:
            inner[name] = {}
        inner = inner[name]
    if not isinstance(inner, dict):
        raise _NoPlace
    inner[key[-1]] = value
    return data


def _changed(text: str, key: Names, value: JSONValue) -> str:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return _appended(text, {key[0]: _nested(key[1:], value)}, 0, len(text))
    for depth, name in enumerate(key):
        if not isinstance(node, yaml.MappingNode):
            raise _NoPlace
        found = next(((known, inner) for known, inner in node.value if known.value == name), None)
        if found is None:
            return _added(text, node, name, _nested(key[depth + 1 :], value))
        known, node = found
        if isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index:  # `key:` and nothing
            at = node.start_mark.index
            if depth == len(key) - 1 or text[at - 1 : at] != ":":
                raise _NoPlace
            return _appended(text, _nested(key[depth + 1 :], value), known.start_mark.column + 2, at)
    if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">") or isinstance(value, dict | list):
        raise _NoPlace
    return text[: node.start_mark.index] + _flow(value) + text[node.end_mark.index :]


def _nested(key: Names, value: JSONValue) -> JSONValue:
    for name in reversed(key):
        value = {name: value}
    return value


def _added(text: str, node: yaml.MappingNode, name: str, value: JSONValue) -> str:
    """A new key at the end of a mapping: behind its last value, and before the comments that follow that."""
    if node.flow_style:
        at = _end(node.value[-1][1]) if node.value else node.start_mark.index + 1
        return text[:at] + (", " if node.value else "") + f"{_scalar(name)}: {_flow(value)}" + text[at:]
    return _appended(text, {name: value}, node.value[0][0].start_mark.column, _end(node))


def _appended(text: str, value: JSONValue, indent: int, after: int) -> str:
    """`value` in block style, on lines of its own below the line that `after` is on."""
    line_feed = "\r\n" if "\r\n" in text else "\n"
    before = text[max(0, after - 1) : after]
    at = after if before == "\n" else text.find("\n", after) + 1
    lead = ""
    if at == 0 and after > 0:
        at = len(text)
        lead = "" if text.endswith("\n") else line_feed
    block = "".join(line + line_feed for line in lines_of(value, indent))
    return text[:at] + lead + block + text[at:]


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends, without the comments and blanks after it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _flow(value: JSONValue) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(name)}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: JSONValue) -> str:
    """A value on one line, in quotes only where it would else be read as something else."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_./][\w./ +@-]*", value) and not value.endswith(" "):
        try:
            if parse_yaml(f"k: {value}", Path()).data == {"k": value}:
                return value
        except SartorError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _replace(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, with the permissions that it has."""
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, name)
        os.replace(name, path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        remedy = "Free space, or check the permissions."
        raise DiskError(f"cannot be written: {error.strerror}", where=str(path), remedy=remedy) from error
