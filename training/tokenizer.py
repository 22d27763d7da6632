"""The tokenizer, the chat template, and how a conversation becomes tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

__all__ = ["CHAT_TEMPLATE", "CONTROL", "SPECIAL", "Coder", "tools_block", "train_tokenizer"]

CONTROL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
SPECIAL = (*CONTROL, "<tool_call>", "</tool_call>")  # the ids are 0, 1, 2 …
SPACE = "Ġ"  # how byte-level vocabularies write a space

CHAT_TEMPLATE = """{%- for message in messages -%}
<|{{ message['role'] }}|>
{% if message['tool_calls'] -%}
{%- for call in message['tool_calls'] -%}
{%- set args = call['function']['arguments'] -%}
<tool_call>{"name": {{ call['function']['name'] | tojson }}, "arguments": {% if args is string %}{{ args }}{% else %}{{ '{' }}{% for key in args %}{{ key | tojson }}: {{ args[key] | tojson }}{% if not loop.last %}, {% endif %}{% endfor %}{{ '}' }}{% endif %}{{ '}' }}</tool_call>
{%- endfor -%}
{%- else -%}
{{- message['content'] -}}
{%- endif -%}
{%- if message['role'] == 'system' and tools -%}
{{ '\\n\\nTools:' }}
{%- for tool in tools -%}
{%- set f = tool['function'] -%}
{%- set parameters = f['parameters'] or {} -%}
{{ '\\n- ' ~ f['name'] ~ '(' }}{% for name in (parameters['properties'] or {}) %}{{ name }}{% if not loop.last %}, {% endif %}{% endfor %}{{ '): ' ~ f['description'] }}
{%- endfor -%}
{%- endif -%}
<|end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{% endif -%}"""


def tools_block(tools: list[dict]) -> str:
    """What the template writes after the system content when there are tools."""
    if not tools:
        return ""
    lines = []
    for tool in tools:
        f = tool["function"]
        lines.append(f"\n- {f['name']}({', '.join(f['parameters']['properties'])}): {f['description']}")
    return "\n\nTools:" + "".join(lines)


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Byte-level BPE with single digits (the pre-tokenizer that llama.cpp calls `smollm`), in which every token has a
    twin with a space before it: `size` tokens without, then their twins, in the same order.

    It is learned without spaces, and each merge is then doubled, so that a word falls into the same pieces after a
    space, after a quotation mark and at the start of a line.
    """
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    spaceless = Tokenizer(models.BPE())
    spaceless.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level, pre_tokenizers.Split(SPACE, "removed")])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    spaceless.train_from_iterator(texts, trainer)
    learned = json.loads(spaceless.to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    plain = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [(SPACE, token) for token in plain[len(SPECIAL) :] if len(token) == 1]
    for merge in learned["merges"]:
        a, b = merge.split(" ") if isinstance(merge, str) else merge
        merges += [(SPACE + a, b), (a, b)]
    twins = [SPACE + token for token in plain[len(SPECIAL) :]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate([*plain, *twins])}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


class Coder:
    """Encodes conversations exactly as the template renders them."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.size = self.tokenizer.get_vocab_size()
        self.end, self.system, self.user, self.assistant, self.tool, self.call, self.call_end = range(len(SPECIAL))
        self.roles = {"system": self.system, "user": self.user, "assistant": self.assistant, "tool": self.tool}
        self.newline = self.plain("\n")

    def plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def answer(self, text: str) -> list[int]:
        """An assistant's turn with its end; a tool call has its two tokens around it."""
        if text.startswith("<tool_call>"):
            inner = text.removeprefix("<tool_call>").removesuffix("</tool_call>")
            return [self.call, *self.plain(inner), self.call_end, self.end]
        return [*self.plain(text), self.end]

    def prompt(self, messages: list[dict], tools: list[dict]) -> tuple[list[int], int, list[tuple[int, int]]]:
        """The tokens up to the answer; where the last message starts, and its character spans."""
        ids: list[int] = []
        start, offsets = 0, []
        for message in messages:
            ids += [self.roles[message["role"]], *self.newline]
            if message.get("tool_calls"):
                f = message["tool_calls"][0]["function"]
                text = json.dumps({"name": f["name"], "arguments": f["arguments"]}, ensure_ascii=False)
                ids += self.answer(f"<tool_call>{text}</tool_call>")
            else:
                encoding = self.tokenizer.encode(message["content"], add_special_tokens=False)
                start, offsets = len(ids), encoding.offsets
                ids += encoding.ids
                if message["role"] == "system" and tools:
                    ids += self.plain(tools_block(tools))
                ids.append(self.end)
            ids += self.newline
        return [*ids, self.assistant, *self.newline], start, offsets
