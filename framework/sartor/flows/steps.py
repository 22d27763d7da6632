"""The flows in a turn: whether the message is for one, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sartor.flows.check import begins
from sartor.flows.choosing import choose
from sartor.flows.filling import Filling, TurnEnded
from sartor.flows.finding import Kinds
from sartor.flows.reading import Act, Reader
from sartor.flows.signals import signals_of, wants, wishes
from sartor.flows.spec import FlowSpec
from sartor.flows.state import NOTHING, Flow, Standing
from sartor.flows.wording import Wording
from sartor.texts import in_language
from sartor.values import FlowNote, JSONValue

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["FlowSteps"]

_MISSES = 3


class FlowSteps:
    """The flows of one turn."""

    def __init__(self, path: TurnPath) -> None:
        self._path = path
        self._specs: Mapping[str, FlowSpec] = {
            name: spec
            for name, spec in path.spec.flows.items()
            if path.options.history is None and (not spec.audiences or path.turn.audience in spec.audiences)
        }
        self._stored: Mapping[str, JSONValue] | None = None
        self._standing = NOTHING
        self._between = False
        self._began = False
        self.reserved = frozenset(
            {spec.do for spec in path.spec.flows.values() if spec.do}
            | {name for name, tool in path.parts.tools.items() if tool.for_flows}
        )
        """Tools that only flows may call."""
        self.note: FlowNote | None = None
        """What became of a flow in this turn."""
        self.changed: Mapping[str, JSONValue] | None = None
        """Where the flows of the conversation stand after this turn; None: where they stood."""

    async def load(self) -> None:
        """Find out where the flows of the conversation stand."""
        if not self._specs:
            return
        turn, self._standing = self._path.turn, NOTHING
        self._stored = await self._path.parts.store.standing(turn.bot, turn.user, turn.conversation)
        if self._stored:
            hours = {name: spec.keep_hours for name, spec in self._specs.items()}
            self._standing = Standing.from_json(self._stored).fresh(self._now, hours)

    async def take(self) -> bool:
        """Let the flows have the message; false when it is none for them, or a question in between."""
        if await self._is_done_now() or await self._broke_off():
            return True
        active = self._standing.active
        if wanted := await self._wanted():
            await self.begin(wanted)
            return True
        return active is not None and await self._go_on(active)

    async def begin(self, name: str) -> None:
        """Begin a flow, go on with it, or take up the one of that name that waits."""
        active = self._standing.active
        if active is not None and active.name == name:
            return await self._learn(active, self._reader(replace(active, asked="")).first(), [])
        self._standing = self._standing.put_aside(left=False)
        known = self._standing.waits(name)
        self._began = known is None
        flow = replace(known or Flow(name, self._path.parts.new_id()), left=False)
        wording = self._wording(flow)
        said = [wording.own("back", title=wording.title)] if known else []
        await self._learn(flow, self._reader(flow).first(), said)

    async def remind(self) -> None:
        """After an answer to a question in between: what the flow waits for."""
        if self._between and (flow := self._standing.active):
            self._tell(flow, flow.stage)
            await self._path.add(self._back_to(flow))

    def over(self) -> None:
        """The turn is committed, or came to nothing."""
        self._path.parts.doing.end(self._path.turn.id)

    def offered(self) -> list[dict[str, JSONValue]]:
        """The flows that the model may begin, told as tools."""
        active = self._standing.active.name if self._standing.active else ""
        return [self._offer(name, spec) for name, spec in self._specs.items() if name != active and spec.by_model]

    def called(self, tool: str) -> str | None:
        """The flow that the model begins with `tool`."""
        return next((name for name in self._specs if begins(name) == tool), None)

    async def _go_on(self, flow: Flow) -> bool:
        reading = await self._reader(flow).read()
        match reading.act:
            case Act.ASK:
                self._between = True
                return False
            case Act.LEAVE:
                self._keep(self._standing.put_aside(left=True), flow, "left")
                await self._speak([self._wording(flow).own("left"), *self._resumed()])
            case Act.TELL:
                await self._learn(flow, reading.values, [])
            case Act.SKIP:
                without = self._filling(flow).without(flow, reading.slot)
                skipped = replace(without, skipped=without.skipped | {reading.slot}, misses=0)
                await self._ahead(skipped, flow, [])
            case Act.CHANGE:
                await self._ahead(self._filling(flow).without(flow, reading.slot), replace(flow, values={}), [])
            case Act.YES if flow.stage == "confirming":
                await self._do(flow)
            case Act.NO if flow.stage == "confirming":
                await self._wait(replace(flow, stage="changing", misses=0), [])
            case Act.NO if flow.stage == "changing":
                await self._wait(replace(flow, stage="confirming", misses=0), [])
            case _:
                asking = flow.stage == "asking"
                wording = self._wording(flow)
                await self._miss(flow, [wording.wrong(flow, flow.asked) if asking else wording.own("again")])
        return True

    async def _learn(self, flow: Flow, values: Mapping[str, JSONValue], said: list[str]) -> None:
        """Take values over, and go on."""
        words = len(said)
        try:
            learnt = await self._filling(flow).learn(flow, values, said)
        except TurnEnded:
            return
        if len(said) > words and learnt.values == flow.values and flow.asked:
            return await self._miss(flow, said)
        await self._ahead(replace(learnt, misses=0), flow, said)

    async def _ahead(self, flow: Flow, former: Flow, said: list[str]) -> None:
        """Ask for what is missing; when nothing is, have it confirmed, or do it."""
        try:
            flow = await self._filling(flow).ahead(flow, former, said)
        except TurnEnded:
            return
        spec = self._specs[flow.name]
        sure = not (spec.confirm or spec.hand_over or self._path.parts.tools[spec.do].acts)
        if flow.stage == "confirming" and sure:
            return await self._do(flow)
        await self._wait(flow, said)

    async def _do(self, flow: Flow) -> None:
        """Do what was confirmed: once, whatever happens meanwhile."""
        spec, wording = self._specs[flow.name], self._wording(flow)
        if not spec.do:
            return await self._hand_over(flow, wording.done(flow, ""))
        if self._path.parts.tools[spec.do].acts and not await self._claim(flow):
            await self.load()
            if not await self._is_done_now():
                self._path.fail(f"flow {flow.name}: another message of this conversation is being dealt with")
            return
        try:
            result = (await self._filling(flow).call(spec.do, flow, f"flow_{flow.id}")).result
        except TurnEnded:
            return self._keep(self._standing.with_active(None), flow, "blocked")
        if result.refused:
            reason = result.text.removeprefix(f"Error: {spec.do} failed: ").rstrip(".")
            self._keep(self._standing.with_active(replace(flow, stage="confirming")), flow, "refused")
            await self._speak([wording.own("refused", reason=reason)])
        elif result.error:
            self._path.error = result.text
            await self._end(flow, "unsure", wording.own("unsure"))
        elif spec.hand_over:
            await self._hand_over(flow, wording.done(flow, result.text))
        else:
            await self._end(flow, "done", wording.done(flow, result.text))

    async def _hand_over(self, flow: Flow, said: str) -> None:
        """Let a person go on with what the flow found out."""
        wording = self._wording(flow)
        self._keep(self._standing.with_active(None), flow, "done")
        if said:
            await self._path.give(said)
        await self._path.handover.begin(wording.title, wording.known(flow))

    async def _claim(self, flow: Flow) -> bool:
        """Write down that it is being done, so that no other turn does it as well, now or after a crash."""
        lease = self._path.parts.doing.begin(self._path.turn.id, self._now, self._path.spec.limits.turn_seconds)
        return await self._exchange(self._standing.with_active(replace(flow, stage="doing", lease=lease)))

    async def _exchange(self, standing: Standing) -> bool:
        """Write down where the flows stand, unless another turn has done so since this one looked."""
        turn, told = self._path.turn, standing.to_json(self._now)
        exchanged = await self._path.parts.store.exchange_standing(
            turn.bot, turn.user, turn.conversation, old=self._stored, new=told
        )
        if exchanged:
            self._standing, self._stored, self.changed = standing, told, told
        return exchanged

    async def _is_done_now(self) -> bool:
        """Ask for patience where another turn does what the flow leads to."""
        active = self._standing.active
        if active is None or not self._path.parts.doing.goes_on(active, self._now):
            return False
        self._tell(active, "doing")
        await self._speak([self._wording(active).own("doing")])
        return True

    async def _broke_off(self) -> bool:
        """Say so where nobody does any more what was begun, and nobody has written down how it ended."""
        active = self._standing.active
        if active is None or active.stage != "doing":
            return False
        if not await self._exchange(self._standing.with_active(None)):
            await self.load()  # it ended meanwhile
            return await self._is_done_now() or await self._broke_off()
        await self._end(active, "unsure", self._wording(active).own("unsure"))
        return True

    async def _miss(self, flow: Flow, said: list[str]) -> None:
        """Ask again, but not for ever."""
        flow = replace(flow, misses=flow.misses + 1)
        if flow.misses >= _MISSES:
            return await self._end(flow, "stuck", self._wording(flow).own("stuck"))
        await self._wait(flow, said)

    async def _wait(self, flow: Flow, said: Sequence[str]) -> None:
        """Put the question that the flow waits at."""
        self._keep(self._standing.with_active(flow), flow, flow.stage)
        await self._speak([*said, self._wording(flow).question(flow)])

    async def _end(self, flow: Flow, how: str, said: str) -> None:
        """Say how the flow ended, and take up the one that it interrupted."""
        self._keep(self._standing.with_active(None), flow, how)
        await self._speak([said, *self._resumed()])

    def _resumed(self) -> list[str]:
        flow = self._standing.interrupted
        if flow is None:
            return []
        self._standing = self._standing.with_active(flow)
        self.changed = self._standing.to_json(self._now)
        return [self._back_to(flow)]

    def _back_to(self, flow: Flow) -> str:
        wording = self._wording(flow)
        return f"{wording.own('back', title=wording.title)} {wording.question(flow)}"

    async def _speak(self, said: Sequence[str]) -> None:
        gap = "\n\n" if self._path.release.text else ""
        await self._path.give(gap + "\n\n".join(text for text in said if text), final=True)

    def _keep(self, standing: Standing, flow: Flow, stage: str) -> None:
        self._standing = standing
        self.changed = standing.to_json(self._now)
        self._tell(flow, stage)

    def _tell(self, flow: Flow, stage: str) -> None:
        asking = stage == "asking"
        options = tuple(self._wording(flow).options(flow)) if asking else ()
        slot = flow.asked if asking else ""
        self.note = FlowNote(flow.name, stage, slot, dict(flow.values), options, self._began)

    async def _wanted(self) -> str | None:
        """The flow that the message asks for in so many words."""
        active, text = self._standing.active, self._path.turn.text
        if active is not None and active.stage == "asking" and self._specs[active.name].slots[active.asked].free:
            return None  # whatever the user says is the answer
        said = {name: max((wants(text, p) for p in spec.phrases()), default=0) for name, spec in self._specs.items()}
        name = max(said, key=lambda name: said[name], default="")  # "cancel my appointment" is no "an appointment"
        if not said.get(name):
            return None
        return name if not signals_of(text).question or await self._means_it(name) else None

    async def _means_it(self, name: str) -> bool:
        """Whether a question about the matter is meant as a wish."""
        title = in_language(self._specs[name].title, self._path.turn.language)
        meanings = {"do": f"The user wants it now: {title}.", "ask": f"The user asks for information about: {title}."}
        likely = {"do": 0.5} if wishes(self._path.turn.text) else {"ask": 0.5}
        return await choose(self._path, title, meanings, likely) == "do"

    def _offer(self, name: str, spec: FlowSpec) -> dict[str, JSONValue]:
        language = self._path.turn.language
        told = spec.describe or "; ".join([in_language(spec.title, language), *spec.phrases(language)])
        function: dict[str, JSONValue] = {
            "name": begins(name),
            "description": f"Begin this when the user wants it: {told}",
            "parameters": {"type": "object", "properties": {}},
        }
        return {"type": "function", "function": function}

    def _reader(self, flow: Flow) -> Reader:
        async def chosen(meanings: Mapping[str, str], likely: Mapping[str, float]) -> str | None:
            return await choose(self._path, self._wording(flow).title, meanings, likely)

        turn = self._path.turn
        return Reader(self._specs[flow.name], flow, Kinds(turn.text, turn.language, self._today), chosen)

    def _filling(self, flow: Flow) -> Filling:
        return Filling(self._path, self._specs[flow.name], self._wording(flow), self._today)

    def _wording(self, flow: Flow) -> Wording:
        return Wording(self._specs[flow.name], self._path.spec.flow_replies, self._path.turn.language)

    @property
    def _now(self) -> datetime:
        return self._path.turn.started or datetime.now(UTC)

    @property
    def _today(self) -> date:
        return self._now.astimezone(ZoneInfo(self._path.spec.timezone)).date()
