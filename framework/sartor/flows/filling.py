"""Filling the slots of one flow: what a value must hold to, what there is to choose from, which slot is next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from sartor.flows.check import taken
from sartor.flows.finding import Kinds, fits
from sartor.flows.spec import FlowSpec, SlotSpec
from sartor.flows.state import Flow
from sartor.flows.wording import Wording, parts_of
from sartor.values import ArgumentOrigins, JSONValue, Origin, ToolCall, ToolUse

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["Filling", "TurnEnded"]

_OPTIONS = 100


class TurnEnded(Exception):
    """A policy or a fault has ended the turn; what is to be said was said."""


class Filling:
    """The slots of one flow in one turn."""

    def __init__(self, path: TurnPath, spec: FlowSpec, wording: Wording, today: date) -> None:
        self._path = path
        self._spec = spec
        self._wording = wording
        self._kinds = Kinds(path.turn.text, path.turn.language, today)
        self._today = today

    async def learn(self, flow: Flow, values: Mapping[str, JSONValue], said: list[str]) -> Flow:
        """Take values over as far as they hold; of each that does not, `said` is given a word. Raises `TurnEnded`."""
        given = {name: value for name, value in values.items() if self._of_host(self._spec.slots[name]) is None}
        for name in self._spec.slots:
            if name not in given:
                continue
            tried = self.without(flow, name, keep=given).knowing({name: given[name]})
            if (held := await self._held(tried, name)) is not None:
                flow = held
            else:
                said.append(self._wording.wrong(tried, name))
        return flow

    async def ahead(self, flow: Flow, former: Flow, said: list[str]) -> Flow:
        """The flow at the slot that is to be asked for next; at none when all is known, and stuck (`misses`) where
        there is nothing to choose from. `former` is the flow as it was: what was chosen then is kept where it is there
        still. Raises `TurnEnded`."""
        while name := self._missing(flow):
            slot = self._spec.slots[name]
            if (told := self._of_host(slot)) is not None:
                flow = flow.knowing({name: told})
                continue
            if not slot.choices_from:
                return replace(flow, asked=name, stage="asking")
            options = await self._options(flow, slot)
            flow = replace(flow, options={**flow.options, name: options})
            if not options:
                said.append(self._wording.none(flow, name))
                flow = self._before(flow, slot)
                continue
            chosen = self._chosen(flow, former, name)
            if chosen is None:
                return replace(flow, asked=name, stage="asking")
            flow = flow.knowing({name: chosen})
        return replace(flow, asked="", stage="confirming")

    def without(self, flow: Flow, name: str, keep: Mapping[str, JSONValue] | None = None) -> Flow:
        """With a slot unknown again, and what was chosen by it, but for `keep`."""
        slots, tools = self._spec.slots, self._path.parts.tools
        after = [n for n, slot in slots.items() if slot.choices_from and name in taken(tools[slot.choices_from])]
        return flow.without(name, *(n for n in after if n not in (keep or {})))

    async def call(self, tool: str, flow: Flow, call: str) -> ToolUse:
        """Call a tool with what the flow knows. Raises `TurnEnded`."""
        arguments = {name: flow.values[name] for name in taken(self._path.parts.tools[tool]) if name in flow.values}
        origins: ArgumentOrigins = {
            name: frozenset({Origin.USER if self._of_host(self._spec.slots[name]) is None else Origin.TENANT})
            for name in arguments
        }
        use = await self._path.tools.perform(ToolCall(call, tool, arguments, origins))
        if use is None:
            raise TurnEnded
        return use

    async def _held(self, flow: Flow, name: str) -> Flow | None:
        """The flow with what the slot's check told of its value; None where the value does not hold."""
        slot = self._spec.slots[name]
        if not fits(slot, flow.values[name], self._today):
            return None
        if not slot.check:
            return flow
        result = (await self.call(slot.check, flow, f"check_{name}_{flow.id}")).result
        return None if result.error else replace(flow, checked={**flow.checked, name: parts_of(result.text)})

    async def _options(self, flow: Flow, slot: SlotSpec) -> tuple[str, ...]:
        result = (await self.call(slot.choices_from, flow, f"choices_{flow.id}")).result
        try:
            given = None if result.error else json.loads(result.text)
        except ValueError:
            given = None
        if not isinstance(given, list):
            self._path.fail(f"{slot.choices_from} gave no list to choose from: {result.text[:200]}")
            raise TurnEnded
        return tuple(dict.fromkeys(str(option) for option in given))[:_OPTIONS]

    def _chosen(self, flow: Flow, former: Flow, name: str) -> JSONValue:
        """Of what there is to choose from, what the message names, else what had been chosen before."""
        options = flow.options[name]
        named = self._kinds.of(name, self._spec.slots[name], options=options)
        if len(named) == 1:
            return named[0].value
        return former.values[name] if former.values.get(name) in options and not named else None

    def _before(self, flow: Flow, slot: SlotSpec) -> Flow:
        """With the slot unknown again by which there was nothing to choose from. Raises `TurnEnded` where there is
        none, since nobody can answer then."""
        known = [name for name in taken(self._path.parts.tools[slot.choices_from]) if name in flow.values]
        asked = [name for name in known if self._of_host(self._spec.slots[name]) is None]
        if not asked:
            self._path.fail(f"{slot.choices_from} gives nothing to choose from")
            raise TurnEnded
        return self.without(flow, max(asked, key=[*self._spec.slots].index))

    def _missing(self, flow: Flow) -> str | None:
        return next((n for n in self._spec.slots if n not in flow.values and n not in flow.skipped), None)

    def _of_host(self, slot: SlotSpec) -> JSONValue:
        """What the host application says of the slot."""
        return self._path.turn.attributes.get(slot.attribute) if slot.attribute else None
