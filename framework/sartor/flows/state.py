"""Where a flow stands: small, frozen, and kept with its conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, cast

from sartor.values import JSONValue

__all__ = ["NOTHING", "Flow", "Lease", "Stage", "Standing"]

Stage = Literal["asking", "confirming", "changing", "doing"]


@dataclass(frozen=True)
class Lease:
    """Who does what a flow leads to."""

    by: str
    """One bot in one process."""
    turn: str
    until: str
    """When it is over at the latest, in ISO 8601 with a time zone."""


@dataclass(frozen=True)
class Flow:
    """A flow that has begun."""

    name: str
    id: str
    """Its own, and that of the tool call that it ends with."""
    values: Mapping[str, JSONValue] = field(default_factory=dict)
    """The slots that are known."""
    skipped: frozenset[str] = frozenset()
    asked: str = ""
    """The slot that the user was asked for."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By slot, what a tool gave to choose from."""
    checked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By slot, what its check told of it."""
    stage: Stage = "asking"
    misses: int = 0
    """How many answers in a row did not fit."""
    left: bool = False
    """Whether the user stopped it: then it is taken up again only when the user asks for it."""
    lease: Lease | None = None
    """At the stage ``doing``: who does it."""

    def knowing(self, values: Mapping[str, JSONValue]) -> Flow:
        """With further slots known."""
        return replace(self, values={**self.values, **values}, skipped=self.skipped - values.keys())

    def without(self, *names: str) -> Flow:
        """With slots unknown again."""
        kept = {name: value for name, value in self.values.items() if name not in names}
        checked = {name: told for name, told in self.checked.items() if name not in names}
        return replace(self, values=kept, checked=checked, skipped=self.skipped - set(names))


@dataclass(frozen=True)
class Standing:
    """The flows of a conversation: the one that is on, and those that wait, the latest last."""

    active: Flow | None = None
    waiting: tuple[Flow, ...] = ()
    at: str = ""
    """When it was written, in ISO 8601 with a time zone."""

    def fresh(self, now: datetime, hours: Mapping[str, float]) -> Standing:
        """Without the flows that waited for longer than they may, or that the bot has no more. `hours` tells for each
        flow how long it is kept."""
        age = now - datetime.fromisoformat(self.at) if self.at else timedelta(0)

        def holds(flow: Flow) -> bool:
            return flow.name in hours and age <= timedelta(hours=hours[flow.name])

        active = self.active if self.active and holds(self.active) else None
        return Standing(active, tuple(flow for flow in self.waiting if holds(flow)), self.at)

    def to_json(self, now: datetime) -> dict[str, JSONValue]:
        """As it is stored."""
        return {
            "at": now.isoformat(),
            "active": _to_json(self.active) if self.active else None,
            "waiting": [_to_json(flow) for flow in self.waiting],
        }

    @staticmethod
    def from_json(stored: Mapping[str, JSONValue]) -> Standing:
        """What `to_json` wrote."""
        active, waiting = stored.get("active"), stored.get("waiting")
        return Standing(
            active=_from_json(active) if isinstance(active, dict) else None,
            waiting=tuple(_from_json(flow) for flow in waiting if isinstance(flow, dict))
            if isinstance(waiting, list)
            else (),
            at=str(stored.get("at", "")),
        )

    def with_active(self, flow: Flow | None) -> Standing:
        """With `flow` on, which waits no longer; what was on before is over."""
        waiting = tuple(other for other in self.waiting if flow is None or other.name != flow.name)
        return Standing(flow, waiting, self.at)

    def put_aside(self, *, left: bool) -> Standing:
        """With the active flow among those that wait."""
        if self.active is None:
            return self
        others = tuple(other for other in self.waiting if other.name != self.active.name)
        return Standing(None, (*others, replace(self.active, left=left, misses=0)), self.at)

    def waits(self, name: str) -> Flow | None:
        """The flow of that name that waits."""
        return next((flow for flow in self.waiting if flow.name == name), None)

    @property
    def interrupted(self) -> Flow | None:
        """The flow that was on before the present one came between."""
        return next((flow for flow in reversed(self.waiting) if not flow.left), None)


NOTHING = Standing()


def _to_json(flow: Flow) -> dict[str, JSONValue]:
    return {
        "name": flow.name,
        "id": flow.id,
        "values": dict(flow.values),
        "skipped": [*sorted(flow.skipped)],
        "asked": flow.asked,
        "options": {name: [*given] for name, given in flow.options.items()},
        "checked": {name: dict(told) for name, told in flow.checked.items()},
        "stage": flow.stage,
        "misses": flow.misses,
        "left": flow.left,
        "lease": None if flow.lease is None else {**asdict(flow.lease)},
    }


def _from_json(stored: Mapping[str, JSONValue]) -> Flow:
    values, skipped, options = stored["values"], stored["skipped"], stored["options"]
    stage, misses, checked = stored["stage"], stored["misses"], stored.get("checked", {})
    assert isinstance(checked, dict)
    assert isinstance(values, dict) and isinstance(skipped, list) and isinstance(options, dict)
    assert isinstance(misses, int)
    return Flow(
        name=str(stored["name"]),
        id=str(stored["id"]),
        values=values,
        skipped=frozenset(map(str, skipped)),
        asked=str(stored["asked"]),
        options={name: tuple(map(str, given)) for name, given in options.items() if isinstance(given, list)},
        checked={
            name: {key: str(part) for key, part in told.items()}
            for name, told in checked.items()
            if isinstance(told, dict)
        },
        stage=cast("Stage", stage),
        misses=misses,
        left=stored["left"] is True,
        lease=Lease(**_texts(lease)) if isinstance(lease := stored.get("lease"), dict) else None,
    )


def _texts(told: Mapping[str, JSONValue]) -> dict[str, str]:
    return {name: str(value) for name, value in told.items()}
