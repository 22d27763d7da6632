"""Llama 3.1 to 4: bare JSON with ``parameters``, the same after a mark, and lists of Python calls; LFM2 likewise."""

from __future__ import annotations

from sartor_plugins.llama.toolcalls.form import ANY_NAME, CallFormat
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls
from sartor_plugins.llama.toolcalls.python_calls import PythonCalls

__all__ = ["LFM", "LLAMA", "LLAMA_LIST"]

_JSON = JSONCalls(arguments="parameters")

_LIST = CallFormat("[", "", PythonCalls(), bare=True, start=("[", ANY_NAME, "("))
_TAG = CallFormat("<|python_tag|>", "", PythonCalls(), again="{")
_BETWEEN = CallFormat("<|python_start|>", "<|python_end|>", PythonCalls())
_TYPED = CallFormat("{", "", _JSON, bare=True, start=("{", '"type"', ":", '"function"', ",", '"name"', ":"), again="{")
_OTHERS = (_TYPED, _TAG, _BETWEEN)
_OPENING = '{"name":'
_PARTS = ("{", '"name"', ":")

LLAMA = CallFormat(_OPENING, "", _JSON, bare=True, start=_PARTS, again="{", others=(*_OTHERS, _LIST))

LLAMA_LIST = CallFormat(
    "[", "", PythonCalls(), bare=True, start=_LIST.start,
    others=(*_OTHERS, CallFormat(_OPENING, "", _JSON, bare=True, start=_PARTS, again="{")),
)  # fmt: skip

LFM = CallFormat("<|tool_call_start|>", "<|tool_call_end|>", PythonCalls())
