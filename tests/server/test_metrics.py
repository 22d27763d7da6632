"""Figures for Prometheus: what is counted, and that no label grows without bounds or names a person."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import sartor
from prometheus_client.parser import text_string_to_metric_families
from sartor.errors import NamingError, OverloadedError
from sartor.observing import Step
from sartor.server.metrics import Bounded, Metrics
from sartor.values import FlowNote, Outcome, Reply, Turn, Usage, VerdictRecord, Workload

TURN = Turn("t1", "c1", "acme", "support", "anna", "secret text")
BOT = {"tenant": "acme", "bot": "support"}

DESK = '''
from sartor import Plugin, hookimpl, tool, Policy, block, ALLOW

class Desk(Plugin):
    """A tool, and a policy that blocks one word."""

    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def order_status(number: int) -> str:
            "Look up an order."
            if number == 13:
                raise RuntimeError("no")
            return f"order {number} is on its way"
        return [order_status]

    @hookimpl
    def sartor_policies(self, bot):
        return [NoSwearing()]

class NoSwearing(Policy):
    async def input(self, turn, text):
        return block("it said darn") if "darn" in text else ALLOW
'''
SUPPORT = "title: x\ngrounding: free\nretrieval: {passages: 0}\nplugins: {desk: {}}\n"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def finished(turn: Turn = TURN, outcome: Outcome = Outcome.ANSWERED, **more: object) -> Reply:
    return Reply(turn, "reply", outcome, seconds={"total": 1.5, "first_text": 0.3}, **more)  # type: ignore[arg-type]


def test_turns_tokens_verdicts_and_tools_are_counted():
    metrics = Metrics(tools=lambda bot: {"order_status"})
    metrics.turn_started(TURN)
    assert value(metrics, "sartor_turns_running") == 1
    metrics.step_finished(TURN, Step("retrieval", "acme/support", 0.0, 0.02))
    metrics.step_finished(TURN, Step("model", "main", 0.0, 1.0, Usage(100, 60, 20, 1), first_text=0.2))
    metrics.step_finished(TURN, Step("tool", "order_status", 0.0, 0.1, error=True))
    metrics.turn_finished(finished(verdicts=(VerdictRecord("topics", "input", "rewrite", "because", "x"),)))
    assert value(metrics, "sartor_turns_running") == 0
    assert value(metrics, "sartor_turns_total", **BOT, outcome="answered") == 1
    assert value(metrics, "sartor_turn_seconds_sum") == 1.5
    assert value(metrics, "sartor_first_text_seconds_sum") == 0.3
    for kind, count in {"prompt": 100, "cached": 60, "generated": 20}.items():
        assert value(metrics, "sartor_tokens_total", **BOT, model="main", kind=kind) == count
    assert value(metrics, "sartor_model_calls_total", **BOT, model="main", error="false") == 1
    assert value(metrics, "sartor_step_seconds_count", kind="tool") == 1
    assert value(metrics, "sartor_tool_calls_total", **BOT, tool="order_status", error="true") == 1
    verdict = {"policy": "topics", "stage": "input", "kind": "rewrite"}
    assert value(metrics, "sartor_policy_verdicts_total", **BOT, **verdict) == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(OverloadedError("full", retry_after=1), "model"), (NamingError("no"), "conversation")]
)
def test_a_turn_without_a_reply_is_counted_as_refused_and_runs_no_more(error, reason):
    metrics = Metrics()
    metrics.turn_started(TURN)
    metrics.turn_refused(TURN, error)
    assert value(metrics, "sartor_turns_running") == 0
    assert value(metrics, "sartor_turns_refused_total", reason=reason) == 1


def test_flows_are_counted_when_they_begin_and_when_they_end():
    metrics, counted = Metrics(), "sartor_flows_total"
    for note in (
        FlowNote("booking", "asking", "day", began=True),
        FlowNote("booking", "confirming"),
        FlowNote("booking", "refused"),
        FlowNote("booking", "done"),
        FlowNote("booking", "done", began=True),
        FlowNote("booking", "left"),
    ):
        metrics.turn_finished(finished(flow=note))
    events = {event: value(metrics, counted, **BOT, flow="booking", event=event) for event in ("started", "done")}
    assert events == {"started": 2, "done": 2}
    assert value(metrics, counted, **BOT, flow="booking", event="refused") == 1
    assert value(metrics, counted, **BOT, flow="booking", event="left") == 1
    assert value(metrics, counted, **BOT, flow="booking", event="asking") is None


def test_two_services_in_one_process_do_not_meet():
    one, other = Metrics(), Metrics()
    one.turn_finished(finished())
    assert value(one, "sartor_turns_total", **BOT, outcome="answered") == 1
    assert value(other, "sartor_turns_total", **BOT, outcome="answered") is None


def test_a_tool_that_no_bot_has_gets_no_label_of_its_own():
    metrics = Metrics(tools=lambda bot: {"order_status"})
    for number in range(1000):
        metrics.step_finished(TURN, Step("tool", f"invented_{number}", 0.0, 0.1, error=True))
    assert value(metrics, "sartor_tool_calls_total", **BOT, tool="other", error="true") == 1000
    assert b"invented" not in metrics.page()[0]


def test_what_comes_after_the_first_so_many_is_other():
    bounded = Bounded(2)
    told = [bounded("a", "x"), bounded("b", "x"), bounded("c", "x"), bounded("a", "x")]
    assert told == [("a", "x"), ("b", "x"), ("other", "other"), ("a", "x")]


def test_labels_of_many_tenants_are_bounded():
    metrics = Metrics()
    for number in range(2100):
        metrics.turn_finished(finished(Turn(f"t{number}", "c", f"tenant-{number}", "support", "anna", "")))
    assert value(metrics, "sartor_turns_total", tenant="other", bot="other", outcome="answered") == 100


def test_requests_are_counted_by_template_and_class_of_status():
    metrics = Metrics()
    metrics.requested("GET", "/v1/turns/{turn}", 200, 0.1)
    metrics.requested("BREW", "other", 404, 0.1)
    route = {"method": "GET", "route": "/v1/turns/{turn}", "status": "2xx"}
    assert value(metrics, "sartor_http_requests_total", **route) == 1
    assert value(metrics, "sartor_http_requests_total", method="other", route="other", status="4xx") == 1


def test_models_that_tell_how_busy_they_are_are_watched():
    class Busy:
        def workload(self) -> Workload:
            return Workload(3, 7)

    class Odd:
        def workload(self) -> str:
            return "much"

    metrics = Metrics(models=lambda: {"main": Busy(), "far": object(), "odd": Odd()})
    assert value(metrics, "sartor_model_running", model="main") == 3
    assert value(metrics, "sartor_model_waiting", model="main") == 7
    assert value(metrics, "sartor_model_waiting", model="far") is None
    assert value(metrics, "sartor_model_waiting", model="odd") is None


def test_the_page_is_understood_and_names_no_user_no_conversation_and_no_text():
    metrics = Metrics()
    metrics.turn_started(TURN)
    metrics.turn_finished(finished())
    page, kind = metrics.page()
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    assert kind.startswith("text/plain") and "sartor_turns" in families
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
    assert labels <= {"tenant", "bot", "outcome", "le", "version", "python", "reason", "kind"}
    for secret in (b"anna", b"c1", b"secret", b"_created"):
        assert secret not in page
    assert "sartor_build_info" in page.decode() and "process_resident_memory_bytes" in families
    open_page, open_kind = metrics.page("application/openmetrics-text; version=1.0.0")
    assert open_kind.startswith("application/openmetrics-text") and open_page.endswith(b"# EOF\n")


async def test_a_service_counts_what_its_bots_do(serve):
    files = {"tenants/acme/support/bot.yaml": SUPPORT, "plugins/desk.py": DESK}
    calls = [{"call": "order_status", "arguments": {"number": number}} for number in (7, 13)]
    script = ["One two three.", *(line for call in calls for line in (call, "Done.")), "FAIL"]
    async with serve(script=script, files=files) as served:
        key = await served.key()
        for text in ("Hi", "Order 7?", "Order 13?", "darn", "Hi"):
            asked = {"bot": "support", "text": text, "user": "anna"}
            assert (await served.client.post("/v1/turns", json=asked, headers=key)).status_code == 200
        assert (await served.client.get("/v1/turns/canary", headers=key)).status_code == 404
        assert (await served.client.get("/canary?canary=1")).status_code == 404
        page = (await served.client.get("/metrics")).text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["sartor_turns_total", "acme", "answered", "support"] == 3
    assert samples["sartor_turns_total", "acme", "blocked", "support"] == 1
    assert samples["sartor_turns_total", "acme", "failed", "support"] == 1
    assert samples["sartor_tool_calls_total", "acme", "false", "order_status", "support"] == 1
    assert samples["sartor_tool_calls_total", "acme", "order_status", "support", "true"] == 1
    assert samples["sartor_model_calls_total", "acme", "scripted", "support", "true"] == 1
    assert samples["sartor_policy_verdicts_total", "acme", "block", "desk", "input", "support"] == 1
    assert samples["sartor_http_requests_total", "/v1/turns", "2xx", "POST"] == 5
    assert samples["sartor_http_requests_total", "/v1/turns/{turn}", "4xx", "GET"] == 1
    assert samples["sartor_http_requests_total", "4xx", "GET", "other"] == 1
    assert samples["sartor_turns_running",] == 0
    assert "anna" not in page and "canary" not in page


async def test_a_turn_that_there_is_no_room_for_is_counted(serve):
    async with serve(script=["slow " * 40], sartor_yaml="service: {turns: 1}\n", delay=0.05) as served:
        key, asked = await served.key(), {"bot": "support", "text": "Hi"}
        first = asyncio.create_task(served.client.post("/v1/turns", json=asked, headers=key))
        while not served.service.live.running:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        assert (await served.client.post("/v1/turns", json=asked, headers=key)).status_code == 429
        assert value(served.service.metrics, "sartor_turns_refused_total", reason="service") == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_project_that_was_served_is_left_as_it_was(make_project):
    from sartor import asgi

    root = make_project({"tenants/acme/support/bot.yaml": SUPPORT, "plugins/desk.py": DESK})
    async with sartor.open(root) as bots:
        async with asgi.running(asgi.app(bots)), asgi.running(asgi.app(bots)):
            assert len(bots.observers) == 4
        assert bots.observers == []


@pytest.mark.parametrize("file", ["how-to/operate.md", "grafana/sartor-dashboard.json"])
def test_the_figures_that_the_documentation_names_are_there(file):
    text = (Path(__file__).parents[2] / "docs" / file).read_text(encoding="utf-8")
    metrics = Metrics(models=lambda: {"main": type("Busy", (), {"workload": lambda self: Workload(0, 0)})()})
    known = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    known |= {family.name for family in metrics.registry.collect()}  # those without a sample yet, and histograms
    known |= {f"{family.name}_total" for family in metrics.registry.collect()}
    named = set(re.findall(r"\b(?:sartor|process)_[a-z_]*[a-z]\b", text.replace("_bucket", "").replace("_sum", "")))
    assert len(named) > 12 and named <= known
