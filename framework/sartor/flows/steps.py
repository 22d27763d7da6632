"""The flows in a turn: whether the message is for one, what it comes to, and what is asked next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sartor.flows.check import begins, taken
from sartor.flows.choosing import choose
from sartor.flows.finding import Kinds, fits
from sartor.flows.reading import Act, Reader, Reading
from sartor.flows.signals import signals_of, wants, wishes
from sartor.flows.spec import FlowSpec, SlotSpec
from sartor.flows.state import NOTHING, Flow, Standing
from sartor.flows.wording import Wording
from sartor.texts import in_language
from sartor.values import ArgumentOrigins, FlowNote, JSONValue, Origin, ToolCall, ToolUse

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["FlowSteps"]

_MISSES = 3
_OPTIONS = 20


class FlowSteps:
    """The flows of one turn."""

    def __init__(self, path: TurnPath) -> None:
        self._path = path
        audience = path.turn.audience
        self._specs: Mapping[str, FlowSpec] = {
            name: spec
            for name, spec in path.spec.flows.items()
            if path.options.history is None and (not spec.audiences or audience in spec.audiences)
        }
        self._stored: Mapping[str, JSONValue] | None = None
        self._standing = NOTHING
        self._between = False
        self.reserved = frozenset(spec.do for spec in path.spec.flows.values() if spec.do)
        """Tools that only flows may call."""
        self.note: FlowNote | None = None
        """What became of the flow in this turn."""
        self.changed: Mapping[str, JSONValue] | None = None
        """Where the flows of the conversation stand after this turn; None: where they stood."""

    async def load(self) -> None:
        """Find out where the flows of the conversation stand."""
        if not self._specs:
            return
        turn = self._path.turn
        self._stored = await self._path.parts.store.standing(turn.bot, turn.user, turn.conversation)
        if self._stored:
            hours = {name: spec.keep_hours for name, spec in self._specs.items()}
            self._standing = Standing.from_json(self._stored).fresh(self._now, hours)

    async def take(self) -> bool:
        """Let the flows have the message; false when it is none for them, or a question in between."""
        if not self._specs:
            return False
        active = self._standing.active
        if active is not None and active.stage == "doing":
            await self._end(active, "unsure", self._wording(active).own("unsure"))
            return True
        wanted = await self._wanted()
        if wanted and (active is None or wanted != active.name):
            await self.begin(wanted)
            return True
        if active is None:
            return False
        return await self._go_on(active)

    async def begin(self, name: str) -> None:
        """Begin a flow, or take up the one of that name that waits."""
        self._standing = self._standing.put_aside(left=False)
        known = self._standing.waits(name)
        flow = replace(known or Flow(name, self._path.parts.new_id()), left=False)
        first = Reader(self._specs[name], flow, self._kinds, self._choose(flow)).first()
        said = [self._wording(flow).own("back", title=self._wording(flow).title)] if known else []
        await self._learn(flow, first, said)

    async def remind(self) -> None:
        """After an answer to a question in between: what the flow waits for."""
        if self._between and (flow := self._standing.active):
            wording = self._wording(flow)
            back = wording.own("back", title=wording.title)
            await self._path.add(f"{back} {wording.question(flow)}")
            self._tell(flow, flow.stage)

    def offered(self) -> list[dict[str, JSONValue]]:
        """The flows that the model may begin, told as tools."""
        active = self._standing.active.name if self._standing.active else ""
        return [self._offer(name, spec) for name, spec in self._specs.items() if name != active]

    def called(self, tool: str) -> str | None:
        """The flow that the model begins with `tool`."""
        return next((name for name in self._specs if begins(name) == tool), None)

    async def _go_on(self, flow: Flow) -> bool:
        reading = await Reader(self._specs[flow.name], flow, self._kinds, self._choose(flow)).read()
        match reading.act:
            case Act.ASK:
                self._between = True
                return False
            case Act.LEAVE:
                await self._leave(flow)
            case Act.TELL:
                await self._learn(flow, reading.values, [])
            case Act.SKIP:
                await self._advance(replace(flow, skipped=flow.skipped | {flow.asked}, misses=0), [])
            case Act.CHANGE:
                await self._advance(self._without(flow, reading.slot), [])
            case Act.YES if flow.stage == "confirming":
                await self._do(flow)
            case Act.NO if flow.stage == "confirming":
                await self._wait(replace(flow, stage="changing", misses=0), [])
            case Act.NO if flow.stage == "changing":
                await self._wait(replace(flow, stage="confirming"), [])
            case _:
                await self._miss(flow, reading)
        return True

    async def _learn(self, flow: Flow, values: Mapping[str, JSONValue], said: list[str]) -> None:
        """Take values over as far as they hold, and go on."""
        spec, wording = self._specs[flow.name], self._wording(flow)
        given = {n: v for n, v in values.items() if self._of_host(spec.slots[n]) is None}
        for name in spec.slots:
            if name not in given:
                continue
            tried = self._without(flow, name, keep=given).knowing({name: given[name]})
            holds = await self._holds(tried, name)
            if holds is None:
                return
            if holds:
                flow = tried
            else:
                said.append(wording.wrong(tried, name))
        answered = not flow.asked or flow.asked in flow.values or not said
        flow = replace(flow, misses=0 if answered else flow.misses + 1)
        if flow.misses >= _MISSES:
            return await self._stuck(flow)
        await self._advance(flow, said)

    async def _advance(self, flow: Flow, said: list[str]) -> None:
        """Ask for what is missing; when nothing is, have it confirmed, or do it."""
        spec = self._specs[flow.name]
        while name := next((n for n in spec.slots if n not in flow.values and n not in flow.skipped), None):
            slot = spec.slots[name]
            if (told := self._of_host(slot)) is not None:
                flow = flow.knowing({name: told})
                continue
            if slot.choices_from:
                options = await self._options(flow, slot)
                if options is None:
                    return
                flow = replace(flow, options={**flow.options, name: options})
                if not options:
                    before = [n for n in taken(self._path.parts.tools[slot.choices_from]) if n in flow.values]
                    said.append(self._wording(flow).none(flow, name))
                    if not before:
                        return await self._end(flow, "stuck", *said)
                    flow = self._without(flow, max(before, key=[*spec.slots].index))
                    continue
                early = self._kinds.of(name, slot, options=options)
                if len(early) == 1:
                    flow = flow.knowing({name: early[0].value})
                    continue
            return await self._wait(replace(flow, asked=name, stage="asking"), said)
        flow = replace(flow, asked="", stage="confirming")
        if spec.confirm or spec.hand_over or self._path.parts.tools[spec.do].acts:
            return await self._wait(flow, said)
        await self._do(flow)

    async def _do(self, flow: Flow) -> None:
        """Do what was confirmed: once, whatever happens meanwhile."""
        spec, wording = self._specs[flow.name], self._wording(flow)
        if not spec.do:
            return await self._end(flow, "done", wording.done(flow, ""))
        if self._path.parts.tools[spec.do].acts and not await self._claim(flow):
            return self._path.fail(f"flow {flow.name}: another message of this conversation is being dealt with")
        use = await self._call(spec.do, flow, f"flow_{flow.id}")
        if use is None:  # a policy ended the turn
            self._keep(self._standing.with_active(None), flow, "blocked")
        elif use.result.refused:
            reason = use.result.text.removeprefix(f"Error: {spec.do} failed: ").rstrip(".")
            self._keep(self._standing.with_active(replace(flow, stage="confirming")), flow, "refused")
            await self._path.give(wording.own("refused", reason=reason), final=True)
        elif use.result.error:
            self._path.error = use.result.text
            await self._end(flow, "unsure", wording.own("unsure"))
        else:
            await self._end(flow, "done", wording.done(flow, use.result.text))

    async def _claim(self, flow: Flow) -> bool:
        """Write down that it is being done, so that no other turn does it as well, now or after a crash."""
        turn = self._path.turn
        doing = self._standing.with_active(replace(flow, stage="doing"))
        told = doing.to_json(self._now)
        if not await self._path.parts.store.exchange_standing(
            turn.bot, turn.user, turn.conversation, old=self._stored, new=told
        ):
            return False
        self._stored = self.changed = told
        self._standing = doing
        return True

    async def _call(self, tool: str, flow: Flow, call: str) -> ToolUse | None:
        """Call a tool with what the flow knows; None when a policy ended the turn."""
        arguments = {name: flow.values[name] for name in taken(self._path.parts.tools[tool]) if name in flow.values}
        slots = self._specs[flow.name].slots
        origins: ArgumentOrigins = {
            name: frozenset({Origin.USER if self._of_host(slots[name]) is None else Origin.TENANT})
            for name in arguments
        }
        return await self._path.tools.perform(ToolCall(call, tool, arguments, origins))

    async def _holds(self, flow: Flow, name: str) -> bool | None:
        """Whether a value may be; None when a policy ended the turn."""
        slot = self._specs[flow.name].slots[name]
        if not fits(slot, flow.values[name], self._today):
            return False
        if not slot.check:
            return True
        use = await self._call(slot.check, flow, f"check_{name}_{flow.id}")
        return None if use is None else not use.result.error

    async def _options(self, flow: Flow, slot: SlotSpec) -> tuple[str, ...] | None:
        """What a tool gives to choose from; None when the turn ended with that."""
        use = await self._call(slot.choices_from, flow, f"choices_{flow.id}")
        if use is None:
            return None
        try:
            given = json.loads(use.result.text) if not use.result.error else None
        except ValueError:
            given = None
        if not isinstance(given, list):
            self._path.fail(f"{slot.choices_from} gave no list to choose from: {use.result.text[:200]}")
            return None
        return tuple(dict.fromkeys(str(option) for option in given))[:_OPTIONS]

    async def _miss(self, flow: Flow, reading: Reading) -> None:
        flow = replace(flow, misses=flow.misses + 1)
        if flow.misses >= _MISSES:
            return await self._stuck(flow)
        wording = self._wording(flow)
        wrong = wording.wrong(flow, flow.asked) if flow.stage == "asking" else wording.own("again")
        await self._wait(flow, [wrong])

    async def _stuck(self, flow: Flow) -> None:
        await self._end(flow, "stuck", self._wording(flow).own("stuck"))

    async def _leave(self, flow: Flow) -> None:
        self._keep(self._standing.put_aside(left=True), flow, "left")
        await self._speak([self._wording(flow).own("left"), *self._resumed()])

    async def _end(self, flow: Flow, how: str, *said: str) -> None:
        """Say how the flow ended, and take up the one that it interrupted."""
        self._keep(self._standing.with_active(None), flow, how)
        await self._speak([*said, *self._resumed()])

    def _resumed(self) -> list[str]:
        flow = self._standing.interrupted
        if flow is None:
            return []
        self._standing = self._standing.with_active(flow)
        self.changed = self._standing.to_json(self._now)
        wording = self._wording(flow)
        return [f"{wording.own('back', title=wording.title)} {wording.question(flow)}"]

    async def _wait(self, flow: Flow, said: Sequence[str]) -> None:
        """Put the question that the flow waits at."""
        self._keep(self._standing.with_active(flow), flow, flow.stage)
        await self._speak([*said, self._wording(flow).question(flow)])

    async def _speak(self, said: Sequence[str]) -> None:
        gap = "\n\n" if self._path.release.text else ""
        await self._path.give(gap + "\n\n".join(text for text in said if text), final=True)

    def _keep(self, standing: Standing, flow: Flow, stage: str) -> None:
        self._standing = standing
        self.changed = standing.to_json(self._now)
        self._tell(flow, stage)

    def _tell(self, flow: Flow, stage: str) -> None:
        options = tuple(self._wording(flow).options(flow)) if stage == "asking" else ()
        slot = flow.asked if stage == "asking" else ""
        self.note = FlowNote(flow.name, stage, slot, dict(flow.values), options)

    async def _wanted(self) -> str | None:
        """The flow that the message asks for in so many words."""
        active, text = self._standing.active, self._path.turn.text
        if active is not None and active.stage == "asking":
            slot = self._specs[active.name].slots[active.asked]
            if slot.type == "text" and not slot.pattern:
                return None  # whatever the user says is the answer
        for name, spec in self._specs.items():
            phrases = spec.start if isinstance(spec.start, list) else [p for told in spec.start.values() for p in told]
            if not any(wants(text, phrase) for phrase in phrases):
                continue
            if not signals_of(text).question or await self._means_it(name):
                return name
        return None

    async def _means_it(self, name: str) -> bool:
        """Whether a question about the matter is meant as a wish."""
        title = in_language(self._specs[name].title, self._path.turn.language)
        meanings = {"do": f"The user wants it now: {title}.", "ask": f"The user asks for information about: {title}."}
        likely = {"do": 20.0} if wishes(self._path.turn.text) else {"ask": 20.0}
        return await choose(self._path, title, meanings, likely) == "do"

    def _without(self, flow: Flow, name: str, keep: Mapping[str, JSONValue] | None = None) -> Flow:
        """With a slot unknown again, and what was chosen by it."""
        slots, tools = self._specs[flow.name].slots, self._path.parts.tools
        after = [n for n, slot in slots.items() if slot.choices_from and name in taken(tools[slot.choices_from])]
        return flow.without(name, *(n for n in after if n not in (keep or {})))

    def _of_host(self, slot: SlotSpec) -> JSONValue:
        """What the host application says of the slot."""
        return self._path.turn.attributes.get(slot.attribute) if slot.attribute else None

    def _offer(self, name: str, spec: FlowSpec) -> dict[str, JSONValue]:
        language = self._path.turn.language
        phrases = spec.start if isinstance(spec.start, list) else spec.start.get(language.partition("-")[0], [])
        told = spec.describe or "; ".join([in_language(spec.title, language), *phrases])
        function: dict[str, JSONValue] = {
            "name": begins(name),
            "description": f"Begin this when the user wants it: {told}",
            "parameters": {"type": "object", "properties": {}},
        }
        return {"type": "function", "function": function}

    def _wording(self, flow: Flow) -> Wording:
        return Wording(self._specs[flow.name], self._path.spec.flow_replies, self._path.turn.language)

    def _choose(self, flow: Flow):
        async def chosen(meanings: Mapping[str, str], likely: Mapping[str, float]) -> str | None:
            return await choose(self._path, self._wording(flow).title, meanings, likely)

        return chosen

    @property
    def _kinds(self) -> Kinds:
        return Kinds(self._path.turn.text, self._path.turn.language, self._today)

    @property
    def _now(self) -> datetime:
        return self._path.turn.started or datetime.now(UTC)

    @property
    def _today(self) -> date:
        return self._now.astimezone(ZoneInfo(self._path.spec.timezone)).date()
