"""Figures of the service for Prometheus: an observer that counts turns, beside what is read when they are asked for.

No label holds a user, a conversation or a text. Labels with names from a project (a tenant, a tool) are bounded: what
comes after the first so many is counted as ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from platform import python_version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sartor.errors import OverloadedError, SartorError
from sartor.observing import Observer, Step
from sartor.values import Reply, Turn, Workload

__all__ = ["Bounded", "Metrics"]

_OTHER = "other"
_BOTS = 2000
_NAMES = 500
_TURN_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_FIRST_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_STEP_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_FLOW_ENDS = frozenset({"done", "left", "stuck", "unsure", "refused", "blocked"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Bounded:
    """The first so many values as they are; ``other`` for those that come later."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *values: str) -> tuple[str, ...]:
        if values not in self._known:
            if len(self._known) >= self._most:
                return (_OTHER,) * len(values)
            self._known.add(values)
        return values


class Metrics(Observer):
    """Counts into a registry of its own, so that two services in one process do not meet."""

    def __init__(
        self,
        *,
        models: Callable[[], Mapping[str, object]] = dict,
        tools: Callable[[str], Iterable[str]] = lambda bot: (),
    ) -> None:
        """`models` gives the models in use, of which those with a `workload()` are watched; `tools` the names of a
        bot's tools, since a model may ask for one that nobody has."""
        self.registry = CollectorRegistry()
        self._tools = tools
        self._bots = Bounded(_BOTS)
        self._policies = Bounded(_NAMES)
        self._tool_names = Bounded(_NAMES)
        self._flows = Bounded(_NAMES)
        self._routes = Bounded(_NAMES)
        self._running: set[str] = set()
        self._define()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Workloads(models))
        build = Info("sartor_build", "Versions of what runs.", registry=self.registry)
        build.info({"version": version("sartor"), "python": python_version()})

    def _define(self) -> None:
        registry, bot = self.registry, ("tenant", "bot")
        self.turns = Counter("sartor_turns", "Turns that are over.", (*bot, "outcome"), registry=registry)
        self.turn_seconds = Histogram(
            "sartor_turn_seconds", "From a message to its committed turn.", buckets=_TURN_SECONDS, registry=registry
        )
        self.first_text_seconds = Histogram(
            "sartor_first_text_seconds",
            "From a message to the first text that its user was given.",
            buckets=_FIRST_SECONDS,
            registry=registry,
        )
        self.tokens = Counter(
            "sartor_tokens",
            "Tokens of models: cached ones are part of the prompt's.",
            (*bot, "model", "kind"),
            registry=registry,
        )
        self.model_calls = Counter(
            "sartor_model_calls", "Calls of models.", (*bot, "model", "error"), registry=registry
        )
        self.step_seconds = Histogram(
            "sartor_step_seconds", "Parts of turns.", ("kind",), buckets=_STEP_SECONDS, registry=registry
        )
        self.verdicts = Counter(
            "sartor_policy_verdicts",
            "Verdicts of policies, but for a plain allow.",
            (*bot, "policy", "stage", "kind"),
            registry=registry,
        )
        self.tool_calls = Counter("sartor_tool_calls", "Runs of tools.", (*bot, "tool", "error"), registry=registry)
        self.flows = Counter(
            "sartor_flows",
            "What became of flows: started, or how they ended.",
            (*bot, "flow", "event"),
            registry=registry,
        )
        self.refused = Counter(
            "sartor_turns_refused", "Turns that there was no room for.", ("reason",), registry=registry
        )
        self.running = Gauge("sartor_turns_running", "Turns under way.", registry=registry)
        self.running.set_function(lambda: len(self._running))
        self.requests = Counter(
            "sartor_http_requests", "HTTP requests.", ("method", "route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "sartor_http_request_seconds",
            "From an HTTP request to the end of its answer.",
            ("route",),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )

    # What happens in turns

    def turn_started(self, turn: Turn) -> None:
        self._running.add(turn.id)

    def step_finished(self, turn: Turn, step: Step) -> None:
        self.step_seconds.labels(step.kind).observe(step.seconds)
        bot, error = self._bots(turn.tenant, turn.bot), str(step.error).lower()
        if step.kind == "model":
            self.model_calls.labels(*bot, step.name, error).inc()
            for kind in ("prompt", "cached", "generated"):
                self.tokens.labels(*bot, step.name, kind).inc(getattr(step.usage, kind))
        elif step.kind == "tool":
            known = step.name in self._tools(f"{turn.tenant}/{turn.bot}")
            tool = self._tool_names(step.name) if known else (_OTHER,)
            self.tool_calls.labels(*bot, *tool, error).inc()

    def turn_finished(self, reply: Reply) -> None:
        self._running.discard(reply.turn.id)
        bot = self._bots(reply.turn.tenant, reply.turn.bot)
        self.turns.labels(*bot, reply.outcome.value).inc()
        self.turn_seconds.observe(reply.seconds.get("total", 0.0))
        if (first := reply.seconds.get("first_text")) is not None:
            self.first_text_seconds.observe(first)
        if (flow := reply.flow) is not None:
            for event in ("started",) * flow.began + (flow.stage,) * (flow.stage in _FLOW_ENDS):
                self.flows.labels(*bot, *self._flows(flow.name), event).inc()
        for verdict in reply.verdicts:
            self.verdicts.labels(*bot, *self._policies(verdict.policy), verdict.stage, verdict.kind).inc()

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        self._running.discard(turn.id)
        self.refused.labels("model" if isinstance(error, OverloadedError) else "conversation").inc()

    # What happens at the door

    def no_room(self) -> None:
        """A turn was not begun, since too many run."""
        self.refused.labels("service").inc()

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request is over. `route` is the template of its path, never the path."""
        (route,) = self._routes(route)
        self.requests.labels(method if method in _METHODS else _OTHER, route, f"{status // 100}xx").inc()
        self.request_seconds.labels(route).observe(seconds)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """All figures, in the format that `accept` asks for, and the content type of it."""
        encode, kind = choose_encoder(accept)
        return encode(_WithoutBirthdays(self.registry)), kind


class _Workloads(Collector):
    """How much runs in each model, and how much waits for it."""

    def __init__(self, models: Callable[[], Mapping[str, object]]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("sartor_model_running", "Requests that a model computes.", labels=["model"])
        waiting = GaugeMetricFamily("sartor_model_waiting", "Requests that wait for a model.", labels=["model"])
        for name, model in self._models().items():
            ask = getattr(model, "workload", None)
            told = ask() if callable(ask) else None
            if isinstance(told, Workload):
                running.add_metric([name], told.running)
                waiting.add_metric([name], told.waiting)
        return [running, waiting]

    def describe(self) -> Iterable[Metric]:
        return []


class _WithoutBirthdays(Collector):
    """A registry without the moments at which each of its counters was made: they would double its size."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
