"""Which format a model writes, told from what its chat template shows."""

from __future__ import annotations

from dataclasses import replace

from sartor_plugins.llama.toolcalls.deepseek import DEEPSEEK, DEEPSEEK_PLAIN
from sartor_plugins.llama.toolcalls.form import CallFormat
from sartor_plugins.llama.toolcalls.gemma import BARE, FENCES, FUNCTION_GEMMA, GEMMA, GEMMA_4
from sartor_plugins.llama.toolcalls.harmony import HARMONY
from sartor_plugins.llama.toolcalls.hermes import HERMES, QWEN_TAGS
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls
from sartor_plugins.llama.toolcalls.llama import LFM, LLAMA, LLAMA_LIST
from sartor_plugins.llama.toolcalls.mistral import MISTRAL, MISTRAL_LIST, MISTRAL_WITH_IDS

__all__ = ["FAMILIES", "GENERIC", "format_of"]

_GRANITE = CallFormat("<|tool_call|>", "", JSONCalls(several=True))
_PHI = CallFormat("<|tool_call|>", "<|/tool_call|>", JSONCalls(several=True))

GENERIC = replace(HERMES, others=(GEMMA, *FENCES, *BARE))
"""For templates that show none: tags are asked for, and what models write of their own accord is read as well."""

FAMILIES: tuple[tuple[tuple[str, ...], CallFormat], ...] = (
    (("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"), MISTRAL_WITH_IDS),
    (("[TOOL_CALLS]", "[ARGS]"), MISTRAL),
    (("[TOOL_CALLS]",), MISTRAL_LIST),
    (("<｜tool▁calls▁begin｜>", "```json"), DEEPSEEK),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK_PLAIN),
    (("<|channel|>commentary", "functions."), HARMONY),
    (("<|tool_call_start|>",), LFM),
    (("<|tool_list_start|>",), LFM),
    (("<|tool_call>", "<tool_call|>"), GEMMA_4),
    (("<start_function_call>",), FUNCTION_GEMMA),
    (("<tool_call>", "<function="), QWEN_TAGS),
    (("<tool_call>",), HERMES),
    (("<|tool_call|>", "<|/tool_call|>"), _PHI),
    (("<|tool_call|>",), _GRANITE),
    (("[func_name1(",), LLAMA_LIST),
    (('{"name": ', '"parameters": '), LLAMA),
    (("<|start_header_id|>", "ipython"), LLAMA),
    (("<|header_start|>",), LLAMA),
    (("<start_of_turn>",), GEMMA),
)
"""The first one counts whose marks all stand in the template."""


def format_of(template: str) -> CallFormat:
    """The format that a chat template shows; tagged JSON where it shows none."""
    return next((form for marks, form in FAMILIES if all(mark in template for mark in marks)), GENERIC)
