"""Turns as spans: one for the turn, and one for each of its steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextvars import Token
from dataclasses import dataclass, field

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sartor.errors import SartorError
from sartor.observing import TRACE_HEADERS, Observer, Step
from sartor.values import Outcome, Reply, ToolUse, Turn, Usage

from sartor_plugins.telemetry import conventions as names

__all__ = ["TurnTracer"]

_FLUSH_MILLISECONDS = 5000

Attributes = dict[str, str | int | float]


@dataclass
class _Open:
    """A turn that has begun: its span, and the steps that it has taken."""

    span: Span
    token: Token[Context]
    steps: list[Step] = field(default_factory=list)


class TurnTracer(Observer):
    """Makes a span of each turn. What runs within a turn, such as a tool that calls a server, is traced below it."""

    def __init__(self, tracer: Tracer, own: TracerProvider | None = None, *, content: bool, continued: bool) -> None:
        """`own` is a provider to be ended with the project."""
        self._tracer = tracer
        self._own = own
        self._content = content
        self._continued = continued
        self._open: dict[str, _Open] = {}

    def turn_started(self, turn: Turn) -> None:
        attributes = {
            names.OPERATION: names.INVOKE_AGENT,
            names.PROVIDER: names.SARTOR,
            names.AGENT_NAME: f"{turn.tenant}/{turn.bot}",
            names.CONVERSATION: turn.conversation,
            names.TENANT: turn.tenant,
            names.TURN: turn.id,
        }
        title = f"{names.INVOKE_AGENT} {turn.tenant}/{turn.bot}"
        span = self._tracer.start_span(title, self._parent(), SpanKind.INTERNAL, attributes)
        self._open[turn.id] = _Open(span, context.attach(trace.set_span_in_context(span)))

    def step_finished(self, turn: Turn, step: Step) -> None:
        if turn.id in self._open:
            self._open[turn.id].steps.append(step)

    def turn_finished(self, reply: Reply) -> None:
        if (opened := self._open.pop(reply.turn.id, None)) is None:
            return
        span = opened.span
        if span.is_recording():
            self._steps(opened, reply)
            span.set_attributes({names.OUTCOME: reply.outcome.value, names.REQUEST_MODEL: reply.model})
            span.set_attributes(_usage(reply.usage))
            for verdict in reply.verdicts:
                said = {names.VERDICT_STAGE: verdict.stage, names.VERDICT_KIND: verdict.kind}
                said |= {names.VERDICT_REASON: verdict.reason} if self._content else {}
                span.add_event(names.VERDICT, {names.VERDICT_POLICY: verdict.policy, **said})
            if self._content:
                span.set_attribute(names.INPUT_MESSAGES, _messages("user", reply.turn.text))
                span.set_attribute(names.OUTPUT_MESSAGES, _messages("assistant", reply.text, finish_reason="stop"))
            if reply.outcome is Outcome.FAILED:
                span.set_attribute(names.ERROR_TYPE, reply.outcome.value)
                span.set_status(Status(StatusCode.ERROR, reply.error if self._content else None))
        self._end(opened)

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        if (opened := self._open.pop(turn.id, None)) is not None:
            opened.span.set_attribute(names.ERROR_TYPE, type(error).__name__)
            opened.span.set_status(Status(StatusCode.ERROR))
            self._end(opened)

    async def close(self) -> None:
        """Send what has not been sent yet."""
        if self._own is not None:
            await asyncio.to_thread(self._own.force_flush, _FLUSH_MILLISECONDS)
            await asyncio.to_thread(self._own.shutdown)

    def _parent(self) -> Context | None:
        """What the turn belongs to: a span of the host's, else what the request's headers name."""
        if self._continued and not trace.get_current_span().get_span_context().is_valid:
            return TraceContextTextMapPropagator().extract(TRACE_HEADERS.get())
        return None

    def _steps(self, opened: _Open, reply: Reply) -> None:
        under = trace.set_span_in_context(opened.span)
        uses = iter(reply.tools)
        for step in opened.steps:
            kind, title, attributes = self._told(step, reply, uses)
            span = self._tracer.start_span(title, under, kind, attributes, start_time=_nanoseconds(step.began))
            if step.error:
                span.set_attribute(names.ERROR_TYPE, "_OTHER")
                span.set_status(Status(StatusCode.ERROR))
            span.end(_nanoseconds(step.began + step.seconds))

    def _told(self, step: Step, reply: Reply, uses: Iterator[ToolUse]) -> tuple[SpanKind, str, Attributes]:
        """The kind, the name and the attributes of a step's span."""
        if step.kind == "model":
            told: Attributes = {names.OPERATION: names.CHAT, names.PROVIDER: names.SARTOR}
            told |= {names.REQUEST_MODEL: step.name, names.CONVERSATION: reply.turn.conversation, **_usage(step.usage)}
            told |= {} if step.first_text is None else {names.FIRST_CHUNK: step.first_text}
            return SpanKind.CLIENT, f"{names.CHAT} {step.name}", told
        if step.kind == "retrieval":
            told = {names.OPERATION: names.RETRIEVAL, names.PROVIDER: names.SARTOR, names.SOURCE: step.name}
            told |= {names.QUERY: reply.turn.text} if self._content else {}
            return SpanKind.INTERNAL, f"{names.RETRIEVAL} {step.name}", told
        told = {names.OPERATION: names.EXECUTE_TOOL, names.TOOL_NAME: step.name, names.TOOL_TYPE: "function"}
        use = next((use for use in uses if use.call.name == step.name), None)
        told |= {names.TOOL_CALL: use.call.id} if use else {}
        if use and self._content:
            told[names.TOOL_ARGUMENTS] = json.dumps(dict(use.call.arguments), ensure_ascii=False)
            told[names.TOOL_RESULT] = use.result.text
        return SpanKind.INTERNAL, f"{names.EXECUTE_TOOL} {step.name}", told

    def _end(self, opened: _Open) -> None:
        opened.span.end()
        context.detach(opened.token)


def _usage(usage: Usage) -> Mapping[str, int]:
    return {
        names.INPUT_TOKENS: usage.prompt,
        names.OUTPUT_TOKENS: usage.generated,
        names.CACHED_TOKENS: usage.cached,
    }


def _messages(role: str, text: str, **more: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **more}], ensure_ascii=False)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
