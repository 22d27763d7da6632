"""What answers a chat request, as OpenAI's clients read it: a completion, or the chunks of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from sartor.server.caller import Caller
from sartor.server.failures import Failure
from sartor.server.native.objects import CitationObject, FlowObject, VerdictObject, turn_object
from sartor.server.openai.callers import call_id
from sartor.values import JSONValue, Outcome, Reply, ToolCall, Usage

__all__ = ["ChatCompletion", "completion", "extras", "failed", "finish_reason", "pages", "tool_calls", "usage_of"]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class CalledFunctionObject(BaseModel):
    """The function that is wanted, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCallObject(BaseModel):
    """A tool of the caller's that is wanted."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunctionObject


class UrlCitation(BaseModel):
    """The page that a statement comes from."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A citation of a page on the web; other citations stand in `sartor.citations`."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AnswerMessage(BaseModel):
    """The bot's message."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[Annotation] = []
    tool_calls: list[ToolCallObject] | None = None


class Choice(BaseModel):
    """The only answer there is."""

    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class PromptTokens(BaseModel):
    """What is known of the tokens of the prompt."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokens(BaseModel):
    """What is known of the tokens of the reply."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class CompletionUsage(BaseModel):
    """The tokens of all calls of the model in this turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens = CompletionTokens()


class Extras(BaseModel):
    """What only a bot of ours can tell. OpenAI's clients pass it through."""

    conversation: str
    """To go on with, as `conversation` of the next request."""
    turn: str
    outcome: Outcome
    flow: FlowObject | None = None
    citations: list[CitationObject]
    verdicts: list[VerdictObject]


class ChatCompletion(BaseModel):
    """A bot's answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    sartor: Extras

    def told(self) -> dict[str, JSONValue]:
        """As JSON. A message without tool calls has no list of them, as with OpenAI."""
        calls = any(choice.message.tool_calls for choice in self.choices)
        return self.model_dump(
            mode="json", exclude=None if calls else {"choices": {"__all__": {"message": {"tool_calls"}}}}
        )


def completion(reply: Reply, calls: Sequence[ToolCall], bot_id: str, created: int, caller: Caller) -> ChatCompletion:
    """The answer to a request that does not stream. Raises `Failure` for a turn that failed."""
    if (failure := failed(reply)) is not None:
        raise failure
    message = AnswerMessage(content=reply.text or None, annotations=pages(reply))
    if calls:
        message.tool_calls = tool_calls(reply.turn.id, calls)
    return ChatCompletion(
        id=f"chatcmpl-{reply.turn.id}",
        created=created,
        model=bot_id,
        choices=[Choice(message=message, finish_reason=finish_reason(reply))],
        usage=usage_of(reply.usage),
        sartor=extras(reply, caller),
    )


def failed(reply: Reply) -> Failure | None:
    """The error that tells of a turn without an answer. Where tools were run, clients are told not to try again."""
    if reply.outcome is Outcome.CANCELLED:
        return Failure(503, "the service is about to stop", code="unavailable", headers={"Retry-After": "5"})
    if reply.outcome is not Outcome.FAILED:
        return None
    headers = {"X-Should-Retry": "false"} if reply.tools else {}
    return Failure(503, "the bot failed to answer: its model broke, or took too long", code="failed", headers=headers)


def finish_reason(reply: Reply) -> FinishReason:
    """Why the reply ended, in OpenAI's words. A reply that a policy ended is one that a content filter cut."""
    if reply.outcome is Outcome.CALLS:
        return "tool_calls"
    if reply.outcome is Outcome.BLOCKED:
        return "content_filter"
    return "length" if reply.cut else "stop"


def tool_calls(turn: str, calls: Sequence[ToolCall]) -> list[ToolCallObject]:
    return [
        ToolCallObject(
            id=call_id(turn, number),
            function=CalledFunctionObject(
                name=call.name, arguments=json.dumps(dict(call.arguments), ensure_ascii=False)
            ),
        )
        for number, call in enumerate(calls)
    ]


def pages(reply: Reply) -> list[Annotation]:
    """The citations whose source is a page on the web, each where the text first has its number."""
    found: list[Annotation] = []
    for one in reply.citations:
        mark = f"[{one.number}]"
        start = reply.text.find(mark)
        if start >= 0 and one.source.startswith(("https://", "http://")):
            told = UrlCitation(start_index=start, end_index=start + len(mark), title=one.title, url=one.source)
            found.append(Annotation(url_citation=told))
    return found


def usage_of(usage: Usage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.prompt,
        completion_tokens=usage.generated,
        total_tokens=usage.prompt + usage.generated,
        prompt_tokens_details=PromptTokens(cached_tokens=usage.cached),
    )


def extras(reply: Reply, caller: Caller) -> Extras:
    told = turn_object(reply, caller)
    return Extras(
        conversation=told.conversation,
        turn=told.id,
        outcome=reply.outcome,
        flow=told.flow,
        citations=told.citations,
        verdicts=told.verdicts or [],
    )
