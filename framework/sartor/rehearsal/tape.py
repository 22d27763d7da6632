"""Tapes: what the model said and what tools gave in a conversation, recorded, and played again.

A tape that is played checks that the model is asked the same as when it was recorded: a changed template, document or
plugin shows as the difference between the two prompts.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from sartor.errors import DiskError, SpecError
from sartor.tools import Tool
from sartor.values import Choices, JSONValue, Turn

__all__ = ["PlayedModel", "RecordedModel", "Tape", "played_tool", "recorded_tool"]

_VERSION = 1


@dataclass
class Tape:
    """What happened in one conversation, in order, and how far it was played."""

    notes: list[dict[str, Any]] = field(default_factory=list)
    at: int = 0
    differences: list[str] = field(default_factory=list)
    """What was asked otherwise than when the tape was recorded, while it was played."""

    @classmethod
    def read(cls, path: Path) -> Tape:
        """Raises `SpecError` when there is none, or it cannot be read."""
        remedy = "Record it: sartor test BOT --record"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SpecError("there is no recording", where=str(path), remedy=remedy) from error
        except (OSError, ValueError) as error:
            raise SpecError(f"the recording cannot be read: {error}", where=str(path), remedy=remedy) from error
        if not isinstance(told, dict) or told.get("version") != _VERSION or not isinstance(told.get("notes"), list):
            raise SpecError("this is no recording that this version knows", where=str(path), remedy=remedy)
        return cls(told["notes"])

    def write(self, path: Path) -> None:
        """Whole or not at all. Raises `DiskError`."""
        text = json.dumps({"version": _VERSION, "notes": self.notes}, ensure_ascii=False, indent=1)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(text + "\n", encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise DiskError(f"the recording cannot be written: {error.strerror or error}", where=str(path)) from error

    def reply(self, say: str, text: str, *, played: bool) -> None:
        """Note what the user was told, or hold it against what was noted."""
        if not played:
            self.notes.append({"kind": "reply", "asked": {"say": say}, "text": text})
            return
        before = next((note["text"] for note in self.notes[self.at :] if note.get("kind") == "reply"), None)
        while self.at < len(self.notes) and self.notes[self.at].get("kind") != "reply":
            self.at += 1  # what was asked before, and is asked no more, shows in the reply or is of no weight
        self.at += 1
        if before != text and not self.differences:
            lines = (before or "").splitlines(), text.splitlines()
            told = difflib.unified_diff(*lines, "recorded: the reply", "now: the reply", lineterm="", n=1)
            self.differences.append("\n".join(told))

    def next(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The next note, which must be of that kind and have been asked the same. Raises `LookupError`."""
        if self.at >= len(self.notes):
            self.differences.append(f"the recording is over, and the {kind} was asked again:\n{_shown(asked)}")
            raise LookupError("the recording is over")
        note = self.notes[self.at]
        self.at += 1
        if note.get("kind") != kind or note.get("asked") != json.loads(json.dumps(asked)):
            self.differences.append(_difference(note, kind, asked))
            raise LookupError("this was asked otherwise when it was recorded")
        return note


class _TapedModel(BaseChatModel):
    """What recording and playing share: a model that streams, with tools described in OpenAI's form."""

    _tape: Tape = PrivateAttr()

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("a model with a tape streams")

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in self._said(messages, stop, kwargs):
            yield ChatGenerationChunk(message=chunk)

    def _said(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncIterator[AIMessageChunk]:
        raise NotImplementedError


class RecordedModel(_TapedModel):
    """A model whose answers are noted on a tape."""

    _inner: BaseChatModel = PrivateAttr()

    def __init__(self, inner: BaseChatModel, tape: Tape) -> None:
        super().__init__(tape)
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("supports_choices", "accepts_cache_scope", "accepts_share", "suggested_prior"):
            return getattr(self._inner, name)
        return super().__getattr__(name)  # type: ignore[misc]

    @property
    def _llm_type(self) -> str:
        return "recorded"

    async def _said(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncIterator[AIMessageChunk]:
        asked = _asked(messages, options)
        tools, choice = options.pop("tools", None), options.pop("tool_choice", None)
        forced = {} if choice is None else {"tool_choice": choice}
        speaker = self._inner.bind_tools(tools, **forced) if tools else self._inner
        said: list[dict[str, Any]] = []
        async for chunk in cast("AsyncIterator[AIMessageChunk]", speaker.astream(messages, stop=stop, **options)):
            said.append(_chunk_json(chunk))
            yield chunk
        self._tape.notes.append({"kind": "model", "asked": asked, "said": said, "is": _nature(self._inner)})


class PlayedModel(_TapedModel):
    """A model that says what a tape has, if it is asked the same."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape)

    @property
    def supports_choices(self) -> bool:
        return bool(self._told("supports_choices", False))

    @property
    def suggested_prior(self) -> float:
        return float(self._told("suggested_prior", 1.0))

    @property
    def _llm_type(self) -> str:
        return "played"

    def _told(self, name: str, default: float) -> float:
        nature: dict[str, Any] = next((one["is"] for one in self._tape.notes if one.get("kind") == "model"), {})
        return cast("float", nature.get(name, default))

    async def _said(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncIterator[AIMessageChunk]:
        for told in self._tape.next("model", _asked(messages, options))["said"]:
            yield _chunk(told)


def recorded_tool(tool: Tool, tape: Tape) -> Tool:
    """`tool`, whose results are noted on a tape."""

    async def run(turn: Turn, **arguments: JSONValue) -> object:
        given = {**arguments, "turn": turn} if tool.takes_turn else arguments
        asked = {"tool": tool.name, "arguments": _plain(arguments)}
        try:
            if inspect.iscoroutinefunction(tool.function):
                value = await tool.function(**given)
            else:
                value = await asyncio.to_thread(tool.function, **given)
                value = await value if inspect.isawaitable(value) else value
        except Exception as error:
            tape.notes.append({"kind": "tool", "asked": asked, "raised": type(error).__name__})
            raise
        tape.notes.append({"kind": "tool", "asked": asked, "gave": _plain(value)})
        return value

    return replace(tool, function=run)


def played_tool(tool: Tool, tape: Tape) -> Tool:
    """`tool`, which gives what a tape has."""

    async def run(turn: Turn, **arguments: JSONValue) -> object:
        note = tape.next("tool", {"tool": tool.name, "arguments": _plain(arguments)})
        if "raised" in note:
            raise RuntimeError(f"raised {note['raised']} when it was recorded")
        return note["gave"]

    return replace(tool, function=run)


def _asked(messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> dict[str, Any]:
    """What a model is asked, as far as it decides what it says."""
    choices = options.get("choices")
    told: dict[str, Any] = {
        "messages": [{"role": message.type, "text": message.text} | _calls(message) for message in messages],
        "tools": [tool["function"] for tool in options.get("tools") or []],
    }
    if isinstance(choices, Choices):
        told["choices"] = list(choices.texts)
    told |= {name: options[name] for name in ("max_tokens", "temperature", "tool_choice") if options.get(name)}
    return told


def _calls(message: BaseMessage) -> dict[str, Any]:
    if not isinstance(message, AIMessage) or not message.tool_calls:
        return {}
    return {"calls": [[call["name"], call["args"]] for call in message.tool_calls]}


def _nature(model: BaseChatModel) -> dict[str, Any]:
    names = ("supports_choices", "suggested_prior")
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def _chunk_json(chunk: AIMessageChunk) -> dict[str, Any]:
    told: dict[str, Any] = {"text": chunk.text}
    if chunk.tool_call_chunks:
        told["calls"] = [dict(call) for call in chunk.tool_call_chunks]
    if chunk.usage_metadata:
        told["usage"] = dict(chunk.usage_metadata)
    if reason := chunk.response_metadata.get("finish_reason"):
        told["finish_reason"] = reason
    return told


def _chunk(told: Mapping[str, Any]) -> AIMessageChunk:
    return AIMessageChunk(
        content=told["text"],
        tool_call_chunks=[cast("ToolCallChunk", call) for call in told.get("calls", ())],
        usage_metadata=cast("UsageMetadata | None", told.get("usage")),
        response_metadata={"finish_reason": told["finish_reason"]} if "finish_reason" in told else {},
    )


def _plain(value: object) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False, default=str))


def _difference(note: Mapping[str, Any], kind: str, asked: Mapping[str, Any]) -> str:
    before = _shown(note.get("asked", {})) if note.get("kind") == kind else f"(the {note.get('kind')} was asked)"
    lines = difflib.unified_diff(
        before.splitlines(), _shown(asked).splitlines(), f"recorded: the {note.get('kind')}", f"now: the {kind}",
        lineterm="", n=1,
    )  # fmt: skip
    return "\n".join(lines)


def _shown(asked: Mapping[str, Any]) -> str:
    """What was asked, as lines that a person can compare."""
    if "tool" in asked:
        return "\n".join([f"tool {asked['tool']}", *(f"  {n} = {v!r}" for n, v in asked["arguments"].items())])
    lines = []
    for message in asked.get("messages", ()):
        lines += [f"[{message['role']}]", *message["text"].splitlines()]
        lines += [f"  calls {name}({arguments})" for name, arguments in message.get("calls", ())]
    lines += [f"[tool] {tool['name']}: {tool.get('description', '')}" for tool in asked.get("tools", ())]
    lines += [f"[choice] {text}" for text in asked.get("choices", ())]
    lines += [f"[{name}] {asked[name]}" for name in ("max_tokens", "temperature", "tool_choice") if name in asked]
    return "\n".join(lines)
