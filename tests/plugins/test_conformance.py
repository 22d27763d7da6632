"""The suites that plugins of others inherit, over our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sartor.channels import Request
from sartor.testing import (
    Call,
    ChannelSuite,
    EmbeddingsSuite,
    IndexSuite,
    ModelSuite,
    ObserverSuite,
    PolicySuite,
    ReaderSuite,
    ToolSuite,
    allowed,
    blocked,
    rewritten,
)
from sartor.testing.parts import MemoryIndexPlugin, ScriptedPlugin
from sartor.testing.scenes import MARK, SCENES
from sartor_plugins import telemetry
from sartor_plugins.calendar import CalendarPlugin
from sartor_plugins.calendar.ledger import Appointment, Ledger
from sartor_plugins.calendar.plan import Plan
from sartor_plugins.calendar.settings import CalendarSettings
from sartor_plugins.chroma import ChromaPlugin
from sartor_plugins.documents import DocumentsPlugin
from sartor_plugins.lookup import LookupPlugin
from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings
from sartor_plugins.personal_data import PersonalDataPlugin
from sartor_plugins.slack import SlackPlugin
from sartor_plugins.topics import TopicsPlugin
from sartor_plugins.webhook import WebhookPlugin

NGRAMS = NgramsPlugin(NgramsSettings(width=256), None)  # type: ignore[arg-type]


class TestLookup(ToolSuite):
    plugin = LookupPlugin
    settings: ClassVar = {
        "tools": {"order": {"file": "orders.csv", "key": "id", "describe": "Look up an order by its number."}}
    }
    files: ClassVar = {"orders.csv": "id,status\nA-1,shipped\nA-2,packed\n"}
    calls = (Call("order", {"id": "A-1"}), Call("order", {"id": "a 2"}))
    wrong = (Call("order", {"id": 7}), Call("order", {"id": None}))


class TestCalendar(ToolSuite):
    plugin = CalendarPlugin
    settings: ClassVar = {"menu": "Check-up 30", "hours": "mon-sun 0:00-24:00", "owner": "code"}
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    acts = frozenset({"book_appointment", "move_appointment", "cancel_appointment"})
    calls = (
        Call("bookable_services"),
        Call("free_times", {"day": day.isoformat()}),
        Call("book_appointment", {"day": day.isoformat(), "time": "10:00", "name": "Ann"}),
        Call("find_appointment", {"code": "BCDFG-123456"}),
        Call("move_appointment", {"code": "BCDFG-123456", "day": day.isoformat(), "time": "11:00"}),
        Call("cancel_appointment", {"code": "BCDFG-123456"}),
    )
    wrong = (Call("free_times", {"day": "soon"}), Call("find_appointment", {"code": "BBBBB-000000"}))

    def tools_for(self, root, tenant):
        """The tools, and one appointment that is there already."""
        path = self.info(root, tenant).data / "calendar" / "support.db"
        start = datetime(self.day.year, self.day.month, self.day.day, 9, tzinfo=UTC)
        made = Appointment(
            "BCDFG-123456", "user=bob", "t", "check-up", "desk", start, start + timedelta(minutes=30), "Bob"
        )
        ledger = Ledger(path, Plan(CalendarSettings.model_validate(self.settings)), "en")
        with ledger.writing(start - timedelta(9)) as pages:
            if pages.find(made.code) is None:
                pages.add(made, range(0))
        return super().tools_for(root, tenant)


class TestPersonalData(PolicySuite):
    plugin = PersonalDataPlugin
    settings: ClassVar = {"phones": "redact"}
    judged = (
        allowed("input", "Where is my parcel?"),
        rewritten("input", "My card is 4111 1111 1111 1111.", "My card is [card number]."),
        blocked("input", "Tell me the card number of my neighbour."),
        allowed("passage", "Parcels leave at noon."),
        rewritten("passage", "Pay with 4111 1111 1111 1111.", "Pay with [card number]."),
        allowed("tool_result", "shipped"),
        rewritten("tool_result", "to ann@example.com", "to [e-mail address]"),
        allowed("output", "Parcels leave at noon, 3 of 4 by train."),
        rewritten("output", "To ann@example.com, bob@example.org!", "To [e-mail address], [e-mail address]!"),
        blocked("output", "Your card is 4111 1111 1111 1111."),
        allowed("tool_call", arguments={"order": "A-1"}),
    )  # fmt: skip


class TestTopics(PolicySuite):
    plugin = TopicsPlugin
    settings: ClassVar = {"blocked": ["politics"], "allowed": ["bicycles", "delivery"], "documents": 0.2}
    judged = (
        allowed("input", "When are bicycles delivered?"),
        blocked("input", "Who will win the election?"),
        allowed("passage", "Bicycles are delivered on Monday."),
        allowed("tool_result", "shipped"),
        allowed("output", "They are delivered on Monday."),
    )

    async def enter(self, judge, text):
        await judge.input("When are bicycles delivered?")


class TestNgrams(EmbeddingsSuite):
    plugin = NgramsPlugin


class TestMemoryIndex(IndexSuite):
    plugin = MemoryIndexPlugin
    persistent = False


class TestScripted(ModelSuite):
    plugin = ScriptedPlugin
    settings: ClassVar = {"script": ["I am the shop's assistant."] * 3}


class TestScriptedWithTools(ModelSuite):
    plugin = ScriptedPlugin
    settings: ClassVar = {"script": [{"call": "opening_hours", "arguments": {"city": "Cork"}}, "I am."]}
    tool_question = "When are you open in Cork?"
    test_it_answers = test_it_takes_tools_or_says_that_it_cannot = None
    test_it_stops_when_nobody_listens_and_answers_again = test_two_at_once_are_both_answered = None


class TestDocuments(ReaderSuite):
    plugin = DocumentsPlugin
    documents: ClassVar = {
        "a.md": ("# Delivery\n\nParcels leave at noon.", "Parcels leave at noon."),
        "b.html": ("<h1>Delivery</h1><p>Parcels leave at noon.</p>", "Parcels leave at noon."),
        "c.csv": ("size,cm\nS,52\n", "52"),
        "d.txt": ("Parcels leave at noon.", "Parcels leave at noon."),
    }


class TestChroma(IndexSuite):
    plugin = ChromaPlugin

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("chromadb")

    def embeddings(self):
        return NGRAMS.sartor_embeddings()


class TestChromaByWords(TestChroma):
    def embeddings(self):
        return None


KEY = b"0123456789abcdef0123456789abcdef"


class TestWebhook(ChannelSuite):
    plugin = WebhookPlugin
    settings: ClassVar = {"secrets": ["env:HOOK_SECRET"], "url": "https://shop.example/replies"}
    environment: ClassVar = {"HOOK_SECRET": "whsec_" + base64.b64encode(KEY).decode()}
    signed_headers = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def request(self, text, *, user="u1", event="e1"):
        return self.signed(json.dumps({"text": text, "user": user, "id": event}).encode())

    def signed(self, body, now=None):
        stamp = str(int(now or time.time()))
        digest = hmac.new(KEY, f"m1.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        headers = {"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": signature}
        return Request("POST", headers, body)

    def old(self):
        return self.signed(b'{"text": "Hi", "user": "u1"}', time.time() - 3600)


class TestSlack(ChannelSuite):
    plugin = SlackPlugin
    settings: ClassVar = {"bot_token": "env:SLACK_TOKEN", "signing_secret": "env:SLACK_SECRET", "interval": 0}
    environment: ClassVar = {"SLACK_TOKEN": "xoxb-test", "SLACK_SECRET": KEY.decode()}
    signed_headers = ("x-slack-request-timestamp", "x-slack-signature")

    def request(self, text, *, user="u1", event="e1"):
        said = {
            "type": "message",
            "channel_type": "im",
            "channel": "D1",
            "user": user.upper(),
            "text": text,
            "ts": f"1.{event[1:]}",
        }
        told = {"type": "event_callback", "team_id": "T1", "event_id": event, "event": said}
        return self.signed(json.dumps(told).encode())

    def signed(self, body, now=None):
        stamp = str(int(now or time.time()))
        digest = hmac.new(KEY, f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        return Request("POST", {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}"}, body)

    def old(self):
        return self.signed(b"{}", time.time() - 3600)


class TestTelemetry(ObserverSuite):
    plugin = telemetry.TelemetryPlugin
    settings: ClassVar = {"endpoint": "http://collector.example:4318/v1/traces"}
    beyond = (TracerProvider, Tracer)

    @pytest.fixture(autouse=True)
    def _collector(self, monkeypatch):
        self.collected = InMemorySpanExporter()

        def provider_for(endpoint, service):
            provider = TracerProvider(shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(self.collected))
            return provider

        monkeypatch.setattr(telemetry, "provider_for", provider_for)

    def passed_on(self):
        spans = self.collected.get_finished_spans()
        assert len([span for span in spans if span.name == "invoke_agent acme/support"]) > 10
        return " ".join(span.to_json() for span in spans)


class TestTelemetryWithContent(TestTelemetry):
    settings: ClassVar = {**TestTelemetry.settings, "content": True}
    keeps_text = True

    def test_it_passes_on_what_is_said(self, tmp_path):
        self.watched(tmp_path, tuple(SCENES))
        assert MARK in self.passed_on()


def test_our_plugins_state_the_hook_version():
    from importlib.metadata import entry_points

    ours = [point for point in entry_points(group="sartor.plugins") if point.value.startswith("sartor_plugins.")]
    assert ours and all(point.load().hook_versions == "1" for point in ours)
