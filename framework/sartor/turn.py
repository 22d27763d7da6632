"""The path of one message, from the user's text to the committed turn. Read `TurnPath.walk`.

input policies → retrieval → passage policies → prompt → model ↔ tools → output policies → commit. Each turn runs in
a task of its own (see `sartor.bot.Bot.stream`), so that a deadline or a caller who goes away ends it wherever it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from sartor.errors import NamingError, OverloadedError, RunError, SartorError
from sartor.grounding import CitationFilter, Quotable, Readings, cited, quotable
from sartor.judge import Approver, Judge
from sartor.observing import Observers, Step
from sartor.origins import argument_origins, untrusted_arguments
from sartor.policy import ALLOW, Kind, Policy, Verdict, ask
from sartor.prompt import Persona, after_tools, compose
from sartor.settling import Settled, settle_phrase, settle_quotes
from sartor.spec import BotSpec
from sartor.texts import in_language
from sartor.toolbox import WAITING, check_call, offer, offer_callers, run_tool, storable, summary
from sartor.tools import Tool
from sartor.values import (
    NO_USAGE,
    BotInfo,
    CallerTool,
    Citation,
    Delta,
    Event,
    Exchange,
    Finished,
    JSONValue,
    Message,
    Origin,
    Outcome,
    Part,
    Passage,
    Reply,
    Started,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    ToolUse,
    ToolWanted,
    Turn,
    TurnOptions,
    Usage,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from sartor.retrieval import Retriever
    from sartor.store import TenantStore

__all__ = ["BotParts", "TurnPath"]

log = logging.getLogger("sartor.turn")

_CALLS_AT_ONCE = 8
"""Tool calls of one answer that are run; further ones are passed over."""


@dataclass(frozen=True)
class BotParts:
    """Everything that a bot is made of. All of it belongs to one tenant, but for the model."""

    info: BotInfo
    spec: BotSpec
    instructions: Sequence[Part]
    model: BaseChatModel
    model_name: str
    retrievers: Sequence[Retriever]
    tools: Mapping[str, Tool]
    policies: Sequence[Policy]
    store: TenantStore
    share: float = 1.0
    """The tenant's, of a model that many want at once."""
    observers: Observers = field(default_factory=Observers)
    readings: Readings = field(default_factory=Readings)
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class TurnPath:
    """One turn on its way."""

    def __init__(
        self,
        parts: BotParts,
        turn: Turn,
        options: TurnOptions,
        approve: Approver | None,
        emit: Callable[[Event], None],
    ) -> None:
        self.parts = parts
        self.spec = parts.spec
        self.raw = turn.text
        self.turn = replace(turn, text="")  # until the input policies have let it pass, there is no text to keep
        self.options = options
        self.callers: Mapping[str, CallerTool] = {tool.name: tool for tool in options.tools}
        self.emit = emit
        self.judge = Judge(parts.policies, self.turn, approve)
        self.release = self.judge.release()
        self.persona = _persona(parts, turn, options)
        self.passages: Sequence[Passage] = ()
        self.citations: Sequence[Citation] = ()
        self.uses: list[ToolUse] = []
        self.usage = Usage()
        self.seconds: dict[str, float] = {"retrieval": 0.0, "model": 0.0, "tools": 0.0}
        self.began = time.perf_counter()
        self.outcome = Outcome.ANSWERED
        self.gap = ""
        self.ending = ""
        self.error = ""
        self.cut = False

    async def run(self) -> None:
        """Walk the path within the turn's time, commit what came of it, and say that it is over."""
        deadline = asyncio.timeout(self.spec.limits.turn_seconds)
        self.emit(Started(self.turn))
        self.parts.observers.turn_started(self.turn)
        try:
            async with deadline:
                await self.walk()
        except asyncio.CancelledError:
            self.outcome = Outcome.CANCELLED
            await self.commit()
            raise
        except NamingError as error:  # the conversation is not this user's: nothing to answer, nothing to store
            self.parts.observers.turn_refused(self.turn, error)
            raise
        except SartorError as error:
            if isinstance(error, OverloadedError) and not self.uses:  # nothing was done yet: it can be tried again
                self.parts.observers.turn_refused(self.turn, error)
                raise
            self.fail(str(error))
        except Exception as error:
            if deadline.expired():
                self.fail(f"the turn took longer than {self.spec.limits.turn_seconds:g} seconds")
            else:
                log.exception("turn %s of %s failed", self.turn.id, self.parts.info.id)
                self.fail(f"{type(error).__name__}: {error}")
        self.emit(Finished(await self.commit()))

    async def commit(self) -> Reply:
        """Store what came of the turn, even when the caller goes away meanwhile."""
        reply = self.reply()
        storing = asyncio.ensure_future(self.parts.store.commit(reply))
        try:
            await asyncio.shield(storing)
        except asyncio.CancelledError:
            await storing
            raise
        finally:
            self.parts.observers.turn_finished(reply)
        return reply

    async def walk(self) -> None:
        steps = self.spec.limits.tool_steps
        (text, verdict), history = await asyncio.gather(self.judge.input(self.raw), self.earlier())
        if verdict.kind is not Kind.ALLOW:
            return self.block(verdict)
        self.know(replace(self.turn, text=text))
        if history:
            self.know(replace(self.turn, before=f"{history[-1].question} {history[-1].reply[:150]}"))
        self.passages = await self.judge.passages(await self.retrieve())
        messages = compose(self.persona, self.turn, history, self.passages)
        for brought in self.options.uses:
            if (resumed := await self.resume(brought)) is None:
                return
            messages = after_tools(messages, "", resumed)
        tools = self.offered(history)
        for step in range(steps + 1):
            said, calls = await self.speak(messages, tools if step < steps else ())
            if not calls or self.release.blocked:
                break
            if all(call.name in self.callers for call in calls):
                return await self.hand_over(calls, messages)
            uses: list[ToolUse] = []
            for call in [call for call in calls if call.name not in self.callers][:_CALLS_AT_ONCE]:
                if (use := await self.use(call, messages)) is None:
                    return
                uses.append(use)
            messages = after_tools(messages, said, uses)
        if self.release.blocked:
            self.block(self.release.blocked)
        elif not self.release.text and not self.ending and self.outcome is not Outcome.CALLS:
            self.fail("the model gave no answer")

    async def earlier(self) -> list[Exchange]:
        """What was said before: the stored conversation, or what the caller brings instead, as far as the input
        policies let it pass."""
        turn, limit = self.turn, self.spec.limits.history_turns
        if self.options.history is None:
            stored = await self.parts.store.history(turn.bot, turn.user, turn.conversation, limit)
            return [exchange for exchange in stored if exchange.question and exchange.reply]
        brought: list[Exchange] = []
        for exchange in self.options.history[-limit:] if limit else ():
            text, verdict = await self.judge.input(exchange.question)
            if verdict.kind is Kind.ALLOW:
                brought.append(replace(exchange, question=text))
        return brought

    async def resume(self, brought: Sequence[ToolUse]) -> list[ToolUse] | None:
        """Calls of the caller's tools with the results that it brings, after the policies; None when one ended it."""
        resumed: list[ToolUse] = []
        for use in brought:
            text, verdict = await self.judge.tool_result(use.call, use.result)
            if verdict.kind is not Kind.ALLOW:
                self.block(verdict)
                return None
            resumed.append(replace(use, result=replace(use.result, text=text[: self.spec.limits.tool_characters])))
        self.uses += resumed
        return resumed

    async def retrieve(self) -> list[Passage]:
        """The best passages of all retrievers, each checked to be this tenant's."""
        began = time.perf_counter()
        limit = self.spec.retrieval.passages
        best: dict[str, Passage] = {}
        for retriever in self.parts.retrievers if limit else ():
            for passage in await retriever.retrieve(self.turn, self.turn.text, limit):
                if passage.tenant != self.turn.tenant:
                    raise RunError(f"{type(retriever).__name__} returned a passage of another tenant")
                if passage.id not in best or best[passage.id].score < passage.score:
                    best[passage.id] = passage
        if limit and self.parts.retrievers:
            self.passed("retrieval", self.parts.info.id, began)
        fit = [passage for passage in best.values() if passage.score >= self.spec.retrieval.min_score]
        return sorted(fit, key=lambda passage: -passage.score)[:limit]

    def offered(self, history: Sequence[Exchange]) -> Sequence[dict[str, JSONValue]]:
        """The tools that the model is told of: those for this audience, and for what the user has said so far."""
        said = [*(exchange.question for exchange in history), self.turn.text]
        tools = self.parts.tools.values()
        if self.options.tool_choice == "none":
            return ()
        mine = [tool for tool in tools if not tool.audiences or self.turn.audience in tool.audiences]
        own = [told for tool in mine if (told := offer(tool, said)) is not None]
        return [*own, *map(offer_callers, self.callers.values())]

    async def speak(
        self, messages: Sequence[Message], tools: Sequence[dict[str, JSONValue]]
    ) -> tuple[str, Sequence[ToolCall]]:
        """Let the model answer: its text goes to the user as grounding and output policies allow, its tool calls
        are given back."""
        from sartor.langchain import say  # costs half a second, so not before the first message

        grounding = self.spec.grounding
        choice = self.options.tool_choice if not self.uses else "auto"
        forced = choice not in ("auto", "none")
        quotes = self.quotable(tools) if grounding.mode == "quote" and not self.uses and not forced else None
        whole = grounding.mode == "quote"
        numbers = CitationFilter(len(self.passages))
        text = ""
        pieces = 0
        counted = Usage()
        calls: Sequence[ToolCall] = ()
        began, first, failed = time.perf_counter(), None, True
        stream = say(
            self.parts.model,
            messages,
            tools=tools,
            tool_choice=choice,
            choices=quotes.choices if quotes else None,
            asked=self.asked(),
            tenant=self.turn.tenant,
            share=self.parts.share,
        )
        try:
            async for said in stream:
                text += said.text
                calls = said.calls or calls if tools else ()
                pieces += bool(said.text)
                counted += said.usage
                self.cut = said.cut
                if said.text and first is None:
                    first = time.perf_counter() - began
                if said.text and not whole:
                    gap, self.gap = self.gap, ""
                    if not await self.give(gap + numbers.feed(said.text)):
                        break
            failed = False
        finally:
            await stream.aclose()
            # A model that was stopped did not tell its tokens: then each piece counts as one.
            counted = counted if counted.calls else Usage(generated=pieces, calls=1)
            self.usage += counted
            self.passed("model", self.parts.model_name, began, usage=counted, error=failed, first_text=first)
        if calls:
            if text.strip() and not whole:
                await self.give(numbers.feed("", final=True).rstrip())
                self.gap = "\n\n"
            return text, calls
        if quotes is not None:
            text = self.settle(settle_quotes(quotes, text, self.persona.unknown))
        elif whole and self.uses:
            text = self.settle(self.phrased(text))
        elif whole:  # a tool was asked for, and the model wrote freely instead
            text = self.settle(Settled(self.persona.unknown, outcome=Outcome.UNKNOWN))
        else:
            self.citations = cited(text, self.passages)
            self.outcome = Outcome.UNKNOWN if text.strip() == self.persona.unknown else self.outcome
            text = numbers.feed("", final=True)
        await self.give(text, final=True)
        return text, ()

    def quotable(self, tools: Sequence[dict[str, JSONValue]]) -> Quotable:
        grounding = self.spec.grounding
        own = [text for text in (self.persona.greeting, self.persona.unknown) if text]
        return quotable(
            self.turn.text,
            self.passages,
            own,
            candidates=grounding.candidates,
            at_most=grounding.max_quotes,
            prior=getattr(self.parts.model, "suggested_prior", 1.0) if grounding.prior is None else grounding.prior,
            doubt=grounding.doubt,
            tools=[summary(tool) for tool in tools],
            readings=self.parts.readings,
        )

    def phrased(self, text: str) -> Settled:
        """What the model made of tool results."""
        return settle_phrase(
            text,
            self.uses,
            [self.turn.text, *(part.text for part in self.persona.instructions)],
            verbatim=self.spec.grounding.tool_results == "verbatim",
            failed=in_language(self.spec.replies.failed, self.turn.language),
        )

    def settle(self, settled: Settled) -> str:
        self.citations, self.outcome, self.error = settled.citations, settled.outcome, settled.error
        return settled.text

    def asked(self) -> dict[str, JSONValue]:
        """What the model is asked for beside the messages, within the bot's limits."""
        most = self.options.model.get("max_tokens")
        limit = self.spec.limits.reply_tokens
        return {**self.options.model, "max_tokens": min(most, limit) if isinstance(most, int) else limit}

    async def hand_over(self, calls: Sequence[ToolCall], messages: Sequence[Message]) -> None:
        """End the turn with calls of the caller's own tools, as far as the policies let them pass."""
        seen = _seen(messages)
        for said in calls[:_CALLS_AT_ONCE]:
            arguments = storable(said.arguments)
            call = replace(said, arguments=arguments, origins=argument_origins(arguments, seen))
            verdict = await self.judge.tool_call(call)
            if verdict.kind is Kind.ALLOW and self.callers[call.name].acts:
                verdict = await self.guard(call, seen)
            if verdict.kind is not Kind.ALLOW:
                return self.block(verdict)
            self.uses.append(ToolUse(call, ToolResult(call.id, call.name, WAITING)))
            self.emit(ToolWanted(call))
        self.outcome = Outcome.CALLS

    async def use(self, call: ToolCall, messages: Sequence[Message]) -> ToolUse | None:
        """Run one tool call between its policies; None when a policy ended the turn."""
        began = time.perf_counter()
        seen = _seen(messages)
        call = replace(call, origins=argument_origins(call.arguments, seen))
        checked = check_call(self.parts.tools, call, self.turn.audience)
        if isinstance(checked, ToolResult):
            result, call = checked, replace(call, arguments=storable(call.arguments))
        else:
            tool, arguments = checked
            verdict = await self.judge.tool_call(call)
            if verdict.kind is Kind.ALLOW and tool.acts:
                verdict = await self.guard(call, seen)
            if verdict.kind is not Kind.ALLOW:
                self.block(verdict)
                return None
            self.uses.append(ToolUse(call, ToolResult(call.id, call.name, "(not finished)", error=True)))
            self.emit(ToolStarted(call))
            result = await run_tool(tool, call, arguments, self.turn, self.spec.limits)
            self.uses.pop()
        text, verdict = await self.judge.tool_result(call, result)
        allowed = verdict.kind is Kind.ALLOW
        use = ToolUse(call, replace(result, text=text if allowed else "(withheld by a policy)"))
        self.uses.append(use)
        self.passed("tool", call.name, began, error=result.error)
        if not allowed:
            self.block(verdict)
            return None
        self.emit(ToolFinished(use.result))
        return use

    async def guard(self, call: ToolCall, seen: Sequence[Part]) -> Verdict:
        """Where the model has read a document or a tool result, a tool that acts runs only on what the user, the
        tenant or the operator said, unless a person approves."""
        if not any(part.origin in (Origin.DOCUMENT, Origin.TOOL) for part in seen):
            return ALLOW
        names = untrusted_arguments(call.arguments, call.origins)
        if call.arguments and not names:
            return ALLOW
        what = (
            f"{', '.join(names)} of {call.name} is not what the user said" if names else f"{call.name} has no argument"
        )
        reason = f"{what}, and the model has read documents or tool results"
        return ALLOW if await self.judge.approved(call, reason) else ask(reason)

    async def give(self, text: str, *, final: bool = False) -> bool:
        """Release what the output policies clear; false when one of them ended the reply."""
        if cleared := await self.release.feed(text, final=final):
            self.seconds.setdefault("first_text", time.perf_counter() - self.began)
            self.emit(Delta(cleared))
        return self.release.blocked is None

    def passed(
        self,
        kind: Literal["retrieval", "model", "tool"],
        name: str,
        began: float,
        *,
        usage: Usage = NO_USAGE,
        error: bool = False,
        first_text: float | None = None,
    ) -> None:
        """Count the seconds of a step that is over, and tell the observers of it."""
        seconds = time.perf_counter() - began
        self.seconds["tools" if kind == "tool" else kind] += seconds
        step = Step(kind, name, time.time() - seconds, seconds, usage, error, first_text)
        self.parts.observers.step_finished(self.turn, step)

    def know(self, turn: Turn) -> None:
        self.turn = self.judge.turn = turn

    def block(self, verdict: Verdict) -> None:
        self.end(Outcome.BLOCKED, verdict.message or in_language(self.spec.replies.blocked, self.turn.language))

    def fail(self, error: str) -> None:
        self.error = error
        self.end(Outcome.FAILED, in_language(self.spec.replies.failed, self.turn.language))

    def end(self, outcome: Outcome, message: str) -> None:
        """Close the reply with one of the bot's own texts, after whatever was released."""
        self.outcome = outcome
        self.citations = () if not self.release.text else self.citations
        self.ending = f"\n\n{message}" if self.release.text else message
        self.emit(Delta(self.ending))

    def reply(self) -> Reply:
        self.seconds["total"] = time.perf_counter() - self.began
        return Reply(
            turn=self.turn,
            text=self.release.text + self.ending,
            outcome=self.outcome,
            citations=tuple(
                citation if citation.quote in self.release.text else replace(citation, quote="")
                for citation in self.citations
            ),
            passages=tuple(self.passages),
            tools=tuple(self.uses),
            verdicts=tuple(self.judge.records),
            usage=self.usage,
            seconds=dict(self.seconds),
            model=self.parts.model_name,
            error=self.error,
            cut=self.cut,
        )


def _seen(messages: Sequence[Message]) -> list[Part]:
    """The parts of a prompt that may hold a value, which the numbers of passages do not."""
    return [
        part
        for message in messages
        for part in message.parts
        if message.role == "system" or part.origin is not Origin.OPERATOR
    ]


def _persona(parts: BotParts, turn: Turn, options: TurnOptions) -> Persona:
    spec = parts.spec
    told = list(parts.instructions)
    if turn.audience:
        extra = spec.audiences[turn.audience].instructions
        told += [Part(text, Origin.TENANT) for text in ([extra] if isinstance(extra, str) else extra)]
    told += [Part(text, Origin.TENANT) for text in options.instructions]
    return Persona(
        instructions=tuple(told),
        greeting=in_language(spec.replies.greeting, turn.language),
        unknown=in_language(spec.replies.unknown, turn.language),
        quotes=spec.grounding.max_quotes if spec.grounding.mode == "quote" else 0,
    )
