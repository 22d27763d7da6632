"""Traces of turns: which spans there are, what they hold, and what only when asked for."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator

import pytest
import sartor
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sartor.errors import NamingError, PluginError
from sartor.observing import TRACE_HEADERS
from sartor.values import Outcome

BOT = {"tenants/acme/support/bot.yaml": "title: Acme\nplugins: {desk: {}}\n"}
DESK = '''
from sartor import Plugin, hookimpl, tool, Policy, block, ALLOW

class Desk(Plugin):
    """A tool, and a policy that blocks one word."""

    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def order_status(number: int) -> str:
            "Look up an order."
            from opentelemetry import trace
            with trace.get_tracer("crm").start_as_current_span("crm call"):
                if number == 13:
                    raise RuntimeError("secret of the CRM")
                return f"order {number} is on its way"
        return [order_status]

    @hookimpl
    def sartor_policies(self, bot):
        return [NoSwearing()]

class NoSwearing(Policy):
    async def input(self, turn, text):
        return block("it said darn") if "darn" in text else ALLOW
'''
TRACES = '''
from sartor_plugins.telemetry import TelemetryPlugin

class Traces(TelemetryPlugin):
    """The plugin under a name that no entry point has."""
'''
PROJECT = """
model: scripted
models:
  scripted: {plugin: scripted, script: SCRIPT}
embeddings: null
index: {plugin: memory-index}
observers: {traces: SETTINGS}
"""
CALL = {"call": "order_status", "arguments": {"number": 7}}


@pytest.fixture(scope="session")
def host() -> InMemorySpanExporter:
    """The tracer provider of a host application, of which a process has one."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(host: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    host.clear()
    yield host
    host.clear()


@pytest.fixture
def project(make_project):
    def make(script: object, **settings: object):
        text = PROJECT.replace("SCRIPT", json.dumps(script)).replace("SETTINGS", json.dumps(settings))
        return make_project({**BOT, "sartor.yaml": text, "plugins/desk.py": DESK, "plugins/traces.py": TRACES})

    return make


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def ask(path, text: str = "Where is order 7?", **options: object) -> sartor.Reply:
    async with sartor.open(path) as bots:
        return await bots["acme/support"].reply(text, user="anna", **options)


async def test_a_turn_is_a_span_with_its_steps_below(spans, project):
    reply = await ask(project([CALL, "It is on its way."]))
    found = by_name(spans)
    turn = found["invoke_agent acme/support"]
    assert set(found) == {turn.name, "retrieval acme/support", "chat scripted", "execute_tool order_status", "crm call"}
    assert turn.parent is None and turn.kind is SpanKind.INTERNAL and turn.status.status_code is StatusCode.UNSET
    assert dict(turn.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "sartor",
        "gen_ai.agent.name": "acme/support",
        "gen_ai.conversation.id": reply.turn.conversation,
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": reply.usage.prompt,
        "gen_ai.usage.output_tokens": reply.usage.generated,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "sartor.tenant": "acme",
        "sartor.turn.id": reply.turn.id,
        "sartor.turn.outcome": "answered",
    }
    for span in spans.get_finished_spans():
        if span is not turn:
            assert span.parent is not None and span.parent.span_id == turn.context.span_id
            assert turn.start_time - 10**6 <= span.start_time <= span.end_time <= turn.end_time + 10**6
    assert len([span for span in spans.get_finished_spans() if span.name == "chat scripted"]) == 2
    chat, tool = found["chat scripted"], found["execute_tool order_status"]
    assert chat.kind is SpanKind.CLIENT and chat.attributes["gen_ai.usage.output_tokens"] == 5
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] >= 0
    assert tool.attributes["gen_ai.tool.name"] == "order_status" and tool.attributes["gen_ai.tool.type"] == "function"
    assert tool.attributes["gen_ai.tool.call.id"] == reply.tools[0].call.id


async def test_no_text_and_no_user_is_in_a_span_unless_asked_for(spans, project):
    await ask(project([CALL, "It is on its way."]), "Where is the canary order 7?")
    await ask(project([{"call": "order_status", "arguments": {"number": 13}}, "canary"]), "canary 13?")
    await ask(project(["FAIL"]), "canary?")
    await ask(project([]), "darn canary")
    told = " ".join(span.to_json() for span in spans.get_finished_spans() if span.name != "crm call")
    for secret in ("canary", "on its way", "anna", "secret of the CRM", "the model broke", "it said", '"number"'):
        assert secret not in told


async def test_content_is_in_the_spans_when_asked_for(spans, project):
    await ask(project([CALL, "It is on its way."], content=True))
    found = by_name(spans)
    turn, tool = found["invoke_agent acme/support"].attributes, found["execute_tool order_status"].attributes
    assert json.loads(turn["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Where is order 7?"}]}
    ]
    assert json.loads(turn["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It is on its way."}],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(tool["gen_ai.tool.call.arguments"]) == {"number": 7}
    assert tool["gen_ai.tool.call.result"] == "order 7 is on its way"
    assert found["retrieval acme/support"].attributes["gen_ai.retrieval.query.text"] == "Where is order 7?"


async def test_a_verdict_is_an_event_of_its_turn(spans, project):
    reply = await ask(project([]), "darn")
    turn = by_name(spans)["invoke_agent acme/support"]
    assert reply.outcome is Outcome.BLOCKED and turn.status.status_code is StatusCode.UNSET
    assert [(event.name, dict(event.attributes)) for event in turn.events] == [
        (
            "sartor.policy.verdict",
            {"sartor.policy.name": "desk", "sartor.policy.stage": "input", "sartor.policy.kind": "block"},
        )
    ]


async def test_what_failed_is_marked(spans, project):
    await ask(project(["FAIL"]))
    found = by_name(spans)
    turn, chat = found["invoke_agent acme/support"], found["chat scripted"]
    assert turn.status.status_code is chat.status.status_code is StatusCode.ERROR
    assert turn.attributes["error.type"] == "failed" and chat.attributes["error.type"] == "_OTHER"
    spans.clear()
    await ask(project([{"call": "order_status", "arguments": {"number": 13}}, "I could not look."]))
    assert by_name(spans)["execute_tool order_status"].status.status_code is StatusCode.ERROR


async def test_a_turn_without_a_reply_has_a_span_that_ends(spans, project):
    path = project(["Hello."])
    async with sartor.open(path) as bots:
        bot = bots["acme/support"]
        reply = await bot.reply("Hi", user="anna")
        with pytest.raises(NamingError):
            await bot.reply("Hi", user="berta", conversation=reply.turn.conversation)
    refused = spans.get_finished_spans()[-1]
    assert refused.attributes["error.type"] == "NamingError" and refused.status.status_code is StatusCode.ERROR
    assert not trace.get_current_span().get_span_context().is_valid


async def test_turns_are_below_a_span_of_the_host(spans, project):
    path = project(["Hello."])
    with trace.get_tracer("host").start_as_current_span("request") as request:
        await ask(path, "Hi")
    turn = by_name(spans)["invoke_agent acme/support"]
    assert turn.parent.span_id == request.get_span_context().span_id


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("continued", [True, False])
async def test_the_trace_of_a_request_goes_on(spans, project, continued):
    path = project(["Hello."], continued=continued)
    token = TRACE_HEADERS.set({"traceparent": PARENT})
    await ask(path, "Hi")
    TRACE_HEADERS.reset(token)
    turn = by_name(spans)["invoke_agent acme/support"]
    assert (f"{turn.context.trace_id:032x}" == PARENT.split("-")[1]) is continued


async def test_with_an_endpoint_spans_go_there_and_are_sent_before_the_project_closes(spans, project, monkeypatch):
    sent: list[tuple[str, str, object]] = []

    class Exporter:
        def __init__(self, endpoint: str) -> None:
            self.endpoint = endpoint

        def export(self, batch: list[ReadableSpan]) -> SpanExportResult:
            sent.extend((self.endpoint, span.name, span.resource.attributes["service.name"]) for span in batch)
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            sent.append((self.endpoint, "shutdown", ""))

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    name = "opentelemetry.exporter.otlp.proto.http"
    module = types.ModuleType(f"{name}.trace_exporter")
    monkeypatch.setattr(module, "OTLPSpanExporter", Exporter, raising=False)
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    url = "http://collector:4318/v1/traces"
    await ask(project(["Hello."], endpoint=url, service="bots"), "Hi")
    assert (url, "invoke_agent acme/support", "bots") in sent and sent[-1][1] == "shutdown"
    assert not spans.get_finished_spans()


async def test_a_missing_exporter_is_named(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(PluginError, match="opentelemetry-exporter-otlp-proto-http") as caught:
        await ask(project([], endpoint="http://collector:4318/v1/traces"))
    assert caught.value.remedy == "pip install opentelemetry-exporter-otlp-proto-http"
