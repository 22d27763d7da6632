"""Grammars for tool calls: what a model writes inside one is forced to fit the tools' JSON Schemas."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from sartor.values import JSONValue

from sartor_plugins.llama.native import Row, lib
from sartor_plugins.llama.schema import Rules, literal
from sartor_plugins.llama.toolcalls import CallFormat
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Grammar", "call_grammar"]


class Grammar:
    """A grammar at one place of a reply. Free it with `close`."""

    def __init__(self, vocabulary: Vocabulary, source: str) -> None:
        """Raises `ValueError` when llama.cpp does not understand `source`."""
        self._size = vocabulary.size
        self._sampler = lib.llama_sampler_init_grammar(vocabulary.pointer, source.encode(), b"root")
        if not self._sampler:
            raise ValueError("llama.cpp does not understand the grammar")

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
            self._sampler = None

    def allows(self, token: int) -> bool:
        """Whether `token` may follow."""
        return bool(np.isfinite(self._applied(np.array([token]), np.zeros(1, np.float32))[0]))

    def mask(self, row: Row) -> Row:
        """`row` with every token that may not follow at minus infinity."""
        return self._applied(np.arange(self._size), row)

    def accept(self, token: int) -> None:
        """Go on past `token`, which must be allowed: the library aborts the process otherwise."""
        lib.llama_sampler_accept(self._sampler, token)

    def _applied(self, tokens: np.typing.NDArray[np.int64], row: Row) -> Row:
        data = np.zeros(len(tokens), dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        data["id"], data["logit"] = tokens, row
        pointer = data.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(data=pointer, size=len(tokens), selected=-1, sorted=False)
        lib.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return np.asarray(data["logit"])


def call_grammar(form: CallFormat, tools: Sequence[JSONValue], *, strict: bool = True) -> str:
    """GBNF of what follows a call's opening. `strict`: arguments fit the schemas; else any JSON object.

    Raises `ValueError` for schemas that cannot be expressed.
    """
    rules = Rules(form.notation.spelling)
    body = form.notation.grammar(rules, tools, strict)
    space = "" if form.bare else '(" " | "\\n")? '
    closing = f' "\\n"? {literal(form.closing)}' if form.closing else ""
    return rules.source(f"{space}{body}{closing}")
