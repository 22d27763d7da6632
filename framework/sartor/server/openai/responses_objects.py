"""The objects of the Responses API, and how they are made of turns."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from sartor.server.caller import Caller
from sartor.server.native.objects import turn_object
from sartor.server.openai.responses_calls import waiting
from sartor.server.openai.responses_citations import FileCitation, UrlCitation, annotations_of
from sartor.store import StoredResponse
from sartor.toolbox import WAITING
from sartor.values import Outcome, Reply, ToolUse, Turn

__all__ = [
    "Echo",
    "FunctionCallObject",
    "FunctionCallOutputObject",
    "Kept",
    "MessageObject",
    "OutputText",
    "RefusalText",
    "ResponseObject",
    "begun",
    "finished",
    "input_items",
    "refuses",
    "response_id",
    "restored",
]

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(BaseModel):
    """What a user wrote."""

    type: Literal["input_text"] = "input_text"
    text: str


class OutputText(BaseModel):
    """What a bot wrote."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[FileCitation | UrlCitation] = []
    logprobs: list[dict[str, JsonValue]] = []
    """Always empty."""


class RefusalText(BaseModel):
    """That a policy said no, where the text had to have a format."""

    type: Literal["refusal"] = "refusal"
    refusal: str


class MessageObject(BaseModel):
    """A message."""

    type: Literal["message"] = "message"
    id: str
    status: Status
    role: Literal["user", "assistant"]
    content: list[OutputText | RefusalText | InputText]


class FunctionCallObject(BaseModel):
    """A tool of the caller's that is wanted: its result is expected as a `function_call_output`."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status


class FunctionCallOutputObject(BaseModel):
    """What the caller brought of a tool."""

    type: Literal["function_call_output"] = "function_call_output"
    id: str
    call_id: str
    output: str
    status: Status = "completed"


class InputTokens(BaseModel):
    """About the tokens of the prompts."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokens(BaseModel):
    """About the tokens of the reply."""

    reasoning_tokens: int = 0


class UsageObject(BaseModel):
    """Tokens, summed over all that the model was asked for."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens = OutputTokens()
    total_tokens: int


class ErrorObject(BaseModel):
    """Why there is no answer."""

    code: str
    message: str


class IncompleteDetails(BaseModel):
    """Why the answer has no end."""

    reason: str


class ConversationObject(BaseModel):
    """The conversation that the turn is stored in."""

    id: str


class Echo(BaseModel):
    """What the request said, told back."""

    instructions: str | None = None
    tools: list[dict[str, JsonValue]] = []
    tool_choice: str | dict[str, JsonValue] = "auto"
    text: dict[str, JsonValue] = {"format": {"type": "text"}}
    temperature: float = 1.0
    top_p: float = 1.0
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    truncation: Literal["auto", "disabled"] = "auto"
    store: bool = True


class Kept(BaseModel):
    """What is stored of a response beside its turn."""

    echo: Echo
    system: list[str] = []
    """Instructions that stood among the messages, of this response and of those before it."""
    cut: bool = False
    refused: bool = False


class ResponseObject(Echo):
    """A response."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
    incomplete_details: IncompleteDetails | None = None
    error: ErrorObject | None = None
    model: str
    previous_response_id: str | None = None
    conversation: ConversationObject
    output: list[MessageObject | FunctionCallObject] = []
    usage: UsageObject | None = None
    parallel_tool_calls: bool = True
    reasoning: None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    background: bool = False
    service_tier: Literal["default"] = "default"
    sartor: dict[str, JsonValue] | None = Field(default=None)
    """The turn behind the response: outcome, citations, tools, verdicts, seconds; an addition of ours."""


def response_id(turn: str) -> str | None:
    return f"resp_{turn}" if turn else None


def refuses(reply: Reply, echo: Echo) -> bool:
    """Whether a policy's no is told as a refusal: where clients expect the text to have a format."""
    formatted = echo.text.get("format")
    kind = formatted.get("type") if isinstance(formatted, dict) else "text"
    return reply.outcome is Outcome.BLOCKED and kind != "text"


def begun(turn: Turn, kept: Kept, previous: str) -> ResponseObject:
    """The response to a turn that has just begun."""
    return ResponseObject(
        **dict(kept.echo),
        id=f"resp_{turn.id}",
        created_at=int(turn.started.timestamp() if turn.started else time.time()),
        status="in_progress",
        model=f"{turn.tenant}/{turn.bot}",
        previous_response_id=response_id(previous),
        conversation=ConversationObject(id=turn.conversation),
    )


def finished(reply: Reply, kept: Kept, previous: str, caller: Caller, completed: float) -> ResponseObject:
    """The response to a turn that is over since `completed`, in seconds since the epoch."""
    turn, usage = reply.turn, reply.usage
    response = begun(turn, kept, previous)
    response.output = [*_messages(reply, kept), *_calls(reply)]
    response.usage = UsageObject(
        input_tokens=usage.prompt,
        input_tokens_details=InputTokens(cached_tokens=usage.cached),
        output_tokens=usage.generated,
        total_tokens=usage.prompt + usage.generated,
    )
    told = turn_object(reply, caller)
    response.sartor = {
        "turn": turn.id,
        **told.model_dump(mode="json", include={"outcome", "citations", "tools", "verdicts", "seconds"}),
    }
    if reply.outcome is Outcome.FAILED:
        response.status = "failed"
        response.error = ErrorObject(code="server_error", message="the bot could not answer")
    elif reply.outcome is Outcome.CANCELLED:
        response.status = "cancelled"
    elif kept.cut:
        response.status = "incomplete"
        response.incomplete_details = IncompleteDetails(reason="max_output_tokens")
    else:
        response.status = "completed"
        response.completed_at = int(completed)
    return response


def restored(stored: StoredResponse, caller: Caller) -> ResponseObject:
    """A response as it is stored."""
    kept = Kept.model_validate(stored.told)
    return finished(stored.turn.reply, kept, stored.previous, caller, stored.turn.committed.timestamp())


def input_items(
    stored: StoredResponse, before: StoredResponse | None
) -> list[MessageObject | FunctionCallObject | FunctionCallOutputObject]:
    """What a response was given, as the policies let it pass; `before` is the response that it goes on from."""
    reply = stored.turn.reply
    turn, text = reply.turn, reply.turn.text
    answered = waiting(before.turn.reply) if before else {}
    if before and answered:
        text = text.removeprefix(before.turn.reply.turn.text).strip()
    tools = {tool.get("name") for tool in Kept.model_validate(stored.told).echo.tools}
    items: list[MessageObject | FunctionCallObject | FunctionCallOutputObject] = []
    if text:
        content: list[OutputText | RefusalText | InputText] = [InputText(text=text)]
        items.append(MessageObject(id=f"msg_{turn.id}_in", status="completed", role="user", content=content))
    for at, use in enumerate(reply.tools):
        if use.result.text == WAITING or (use.call.name not in tools and use.call.id not in answered):
            continue
        if not before:
            items.append(_call(turn, at, use, use.call.id))
        if not before or use.call.id in answered:
            output = FunctionCallOutputObject(id=f"fco_{turn.id}_{at}", call_id=use.call.id, output=use.result.text)
            items.append(output)
    return items


def _messages(reply: Reply, kept: Kept) -> Sequence[MessageObject]:
    if not reply.text:
        return ()
    content: list[OutputText | RefusalText | InputText]
    if kept.refused:
        content = [RefusalText(refusal=reply.text)]
    else:
        content = [OutputText(text=reply.text, annotations=annotations_of(reply))]
    status: Status = "incomplete" if kept.cut else "completed"
    return (MessageObject(id=f"msg_{reply.turn.id}", status=status, role="assistant", content=content),)


def _calls(reply: Reply) -> Sequence[FunctionCallObject]:
    return [_call(reply.turn, at, use, call) for call, (at, use) in waiting(reply).items()]


def _call(turn: Turn, at: int, use: ToolUse, call: str) -> FunctionCallObject:
    return FunctionCallObject(
        id=f"fc_{turn.id}_{at}",
        call_id=call,
        name=use.call.name,
        arguments=json.dumps(dict(use.call.arguments), ensure_ascii=False),
        status="completed",
    )
