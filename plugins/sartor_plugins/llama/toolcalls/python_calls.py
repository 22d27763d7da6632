"""Calls as Python: ``[name(key="value")]``, or one call a line. Nothing is evaluated: literals only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import Balance, Progress, function_of
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls

__all__ = ["PythonCalls", "literal_of"]

_DEEPEST = 60
_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_KEY = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
_STRING = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": "", '"': '"', "'": "'", "\\": "\\"}
_CONSTANTS: dict[str, JSONValue] = {
    "True": True, "False": False, "None": None, "true": True, "false": False, "null": None
}  # fmt: skip
_SPACE = re.compile(r"\s*")


def literal_of(value: JSONValue) -> str:
    """`value` as a Python literal, strings in double quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal_of(key)}: {literal_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


_PYTHON = Spelling(
    base={
        "char": r'[^"\\\x7F\x00-\x1F] | "\\" ["\\bfnrt]',
        "boolean": '"True" | "False"',
        "null": '"None"',
    },
    value=lambda value: literal(literal_of(value)),
)


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """Reads lists and lines of calls, with or without ``print(…)`` around, and JSON; writes as its fields say."""

    several: bool = True
    """Whether calls stand in a list."""
    around: str = ""
    """A line break that the models put before and after."""
    spelling: Spelling = _PYTHON
    marks: tuple[str, ...] = ()

    def spell(self, call: Called) -> str:
        told = f"{call.name}({', '.join(f'{key}={literal_of(value)}' for key, value in call.arguments.items())})"
        return f"{self.around}{f'[{told}]' if self.several else told}{self.around}"

    def progress(self) -> Progress:
        return Balance("\"'")

    def parse(self, text: str) -> list[Written]:
        if re.match(r"\s*(\[\s*)?\{", text):
            return JSONCalls().parse(text)
        return _Reader(text).calls()

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        some = f'({_KEY_RULE} "=" value ("," sp {_KEY_RULE} "=" value)*)?'
        calls = []
        for tool in tools:
            name, schema = function_of(tool)
            arguments = rules.members(schema, _keyword) if strict else some
            calls.append(rules.add(f'{literal(f"{name}(")} {arguments} ")"'))
        call = rules.add(" | ".join(calls))
        return f'"[" {call} ("," sp {call})* "]"' if self.several else f'{call} ("\\n" {call})*'


_KEY_RULE = "[a-zA-Z_] [a-zA-Z0-9_]{0,63}"


def _keyword(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an argument in Python")
    return literal(f"{name}=")


class _Reader:
    """A reader of one text, going from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def calls(self) -> list[Written]:
        listed = self._take("[")
        found = [self._call()]
        while not self._take("]" if listed else "") and not self._ended():
            if listed:
                self._need(",")
                if self._take("]"):
                    break
            else:
                self._take(";")
            found.append(self._call())
        if not self._ended():
            raise self._error("the end")
        return found

    def _ended(self) -> bool:
        self._skip()
        return self._at == len(self._text)

    def _call(self) -> Written:
        name = self._match(_NAME, "a tool's name")[0]
        self._need("(")
        if name == "print":
            inner = self._call()
            self._need(")")
            return inner
        arguments: dict[str, JSONValue] = {}
        self._until(")", lambda: self._argument(arguments))
        return Written(name.removeprefix("default_api.").removesuffix(".call"), arguments)

    def _argument(self, into: dict[str, JSONValue]) -> None:
        key = self._match(_KEY, "a named argument")[0]
        self._need("=")
        into[key] = self._value(0)

    def _value(self, depth: int) -> JSONValue:
        if depth > _DEEPEST:
            raise ValueError("the call's arguments are too deep")
        self._skip()
        char = self._text[self._at : self._at + 1]
        if char in ('"', "'"):
            return self._string()
        if self._take("{"):
            pairs: dict[str, JSONValue] = {}
            self._until("}", lambda: self._pair(pairs, depth))
            return pairs
        if self._take("["):
            items: list[JSONValue] = []
            self._until("]", lambda: items.append(self._value(depth + 1)))
            return items
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            return self._number(found[0], whole=not (found[1] or found[2]))
        word = self._match(_KEY, "a value")[0]
        if word not in _CONSTANTS:
            raise ValueError(f"the call has {word!r} where a value is needed")
        return _CONSTANTS[word]

    @staticmethod
    def _number(text: str, *, whole: bool) -> JSONValue:
        if whole:
            return int(text)  # an int of too many digits is a ValueError
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"the call's number {text} is too large")
        return value

    def _pair(self, into: dict[str, JSONValue], depth: int) -> None:
        self._skip()
        key = self._string()
        self._need(":")
        into[key] = self._value(depth + 1)

    def _string(self) -> str:
        parts = []
        found: re.Match[str] | None = self._match(_STRING, "a string")
        while found:
            parts.append(_ESCAPE.sub(_unescaped, found[1] if found[1] is not None else found[2]))
            self._skip()
            if found := _STRING.match(self._text, self._at):  # neighbouring strings are one
                self._at = found.end()
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _until(self, closing: str, read: Callable[[], None]) -> None:
        while not self._take(closing):
            read()
            if not self._take(","):
                self._need(closing)
                return

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, text: str) -> bool:
        self._skip()
        if not text or not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._error(repr(text))

    def _match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        self._skip()
        found = pattern.match(self._text, self._at)
        if not found:
            raise self._error(what)
        self._at = found.end()
        return found

    def _error(self, needed: str) -> ValueError:
        return ValueError(f"the call is no Python call: {needed} is needed at character {self._at}")


def _unescaped(found: re.Match[str]) -> str:
    told = found[1]
    if len(told) > 1:
        code = int(told[1:], 16)
        return chr(code) if code <= 0x10FFFF else "�"
    return _ESCAPES.get(told, f"\\{told}")
