"""A GGUF model behind llama.cpp: log-likelihoods of given answers, and greedy answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from llama_cpp import Llama

__all__ = ["Judge", "Score"]


@dataclass(frozen=True)
class Score:
    """The log-likelihood of the first tokens of an answer, summed and per token."""

    total: float
    mean: float


class Judge:
    """Renders the model's own chat template; tokenizes as llama.cpp does."""

    def __init__(self, path: Path) -> None:
        self.model = Llama(str(path), n_ctx=2048, n_batch=2048, logits_all=True, verbose=False, n_threads=2)
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(self.model.metadata["tokenizer.chat_template"])
        self.end = self.model.token_eos()

    def tokens(self, text: str, special: bool = False) -> list[int]:
        return self.model.tokenize(text.encode(), add_bos=False, special=special)

    def prompt(self, messages: list[dict], tools: list[dict] | None = None) -> list[int]:
        text = self.template.render(messages=messages, tools=tools or None, add_generation_prompt=True)
        return self.tokens(text, special=True)

    def candidates(self, messages: list[dict], texts: list[str], first: int = 16) -> dict[str, Score]:
        """How likely the model is to begin its answer with each of the texts, after one pass over the prompt."""
        prompt = self.prompt(messages)
        self.model.reset()
        self.model.eval(prompt)
        opening = log_softmax(self.model.scores[len(prompt) - 1])
        out: dict[str, Score] = {}
        for text in texts:
            ids = self.tokens(text)[:first]
            self.model.n_tokens = len(prompt)
            self.model.eval(ids)
            rows = log_softmax(self.model.scores[len(prompt) : len(prompt) + len(ids) - 1])
            each = [float(opening[ids[0]]), *(float(rows[i, t]) for i, t in enumerate(ids[1:]))]
            out[text] = Score(sum(each), sum(each) / len(each))
        return out

    def say(self, messages: list[dict], tools: list[dict] | None = None, most: int = 120) -> str:
        """The greedy answer."""
        prompt = self.prompt(messages, tools)
        self.model.reset()
        self.model.eval(prompt)
        ids: list[int] = []
        for _ in range(most):
            token = int(np.argmax(self.model.scores[self.model.n_tokens - 1]))
            if token == self.end:
                break
            ids.append(token)
            self.model.eval([token])
        return self.model.detokenize(ids, special=True).decode("utf-8", errors="replace")

    def call(self, messages: list[dict], tools: list[dict]) -> dict | None:
        """The tool call that the model makes, if it makes one."""
        text = self.say(messages, tools)
        if not text.startswith("<tool_call>"):
            return None
        try:
            return json.loads(text.removeprefix("<tool_call>").split("</tool_call>")[0])
        except ValueError:
            return {}


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    high = x.max(-1, keepdims=True)
    return x - high - np.log(np.exp(x - high).sum(-1, keepdims=True))
