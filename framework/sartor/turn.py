"""The path of one message, from the user's text to the committed turn. Read `TurnPath.walk`.

input policies → retrieval → passage policies → prompt → model ↔ tools → output policies → commit. Each turn runs in
a task of its own (see `sartor.bot.Bot.stream`), so that a deadline or a caller who goes away ends it wherever it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from sartor.errors import NamingError, OverloadedError, RunError, SartorError
from sartor.flows.steps import FlowSteps
from sartor.handover.steps import HandOverSteps
from sartor.judge import Approver, Judge
from sartor.observing import Step
from sartor.parts import BotParts, persona_of
from sartor.policy import ALLOW, Kind, Verdict
from sartor.prompt import after_tools, compose, spoken
from sartor.speech import Speech
from sartor.texts import in_language
from sartor.tooluse import ToolSteps
from sartor.values import (
    NO_USAGE,
    Citation,
    Delta,
    Event,
    Exchange,
    Finished,
    Outcome,
    Passage,
    Reply,
    Started,
    ToolUse,
    Turn,
    TurnOptions,
    Usage,
)
from sartor.window import lately

__all__ = ["TurnPath"]

log = logging.getLogger("sartor.turn")

_SPOKEN = (Outcome.ANSWERED, Outcome.UNKNOWN, Outcome.HANDED_OVER)


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
        self.emit = emit
        self.judge = Judge(parts.policies, self.turn, approve)
        self.release = self.judge.release()
        self.persona = persona_of(parts, turn, options)
        self.passages: Sequence[Passage] = ()
        self.citations: Sequence[Citation] = ()
        self.uses: list[ToolUse] = []
        self.usage = Usage()
        self.seconds: dict[str, float] = {"retrieval": 0.0, "model": 0.0, "tools": 0.0}
        self.began = time.perf_counter()
        self.outcome = Outcome.ANSWERED
        self.ending = ""
        self.error = ""
        self.cut = False
        self.tools = ToolSteps(self)
        self.speech = Speech(self)
        self.flows = FlowSteps(self)
        self.handover = HandOverSteps(self)

    async def run(self) -> Reply:
        """Walk the path within the turn's time, commit what came of it, and say that it is over."""
        self.emit(Started(self.turn))
        self.parts.observers.turn_started(self.turn)
        try:
            await self.walk_in_time()
            await self.handover.afterwards()
        except asyncio.CancelledError:
            self.outcome = Outcome.CANCELLED
            await self.commit()
            raise
        else:
            reply = await self.commit()
        finally:
            self.flows.over()
        self.emit(Finished(reply))
        return reply

    async def walk_in_time(self) -> None:
        """Walk the path until its end or that of the turn's time. What fails on the way ends the reply in words."""
        deadline = asyncio.timeout(self.spec.limits.turn_seconds)
        try:
            async with deadline:
                await self.walk()
        except NamingError as error:  # the conversation is not this user's: nothing to answer, nothing to store
            self.parts.observers.turn_refused(self.turn, error)
            raise
        except SartorError as error:
            if isinstance(error, OverloadedError) and not self.tools.ran:  # nothing was done yet: try it again
                self.parts.observers.turn_refused(self.turn, error)
                raise
            self.fail(str(error))
        except Exception as error:
            if deadline.expired():
                self.fail(f"the turn took longer than {self.spec.limits.turn_seconds:g} seconds")
            else:
                log.exception("turn %s of %s failed", self.turn.id, self.parts.info.id)
                self.fail(f"{type(error).__name__}: {error}")

    async def commit(self) -> Reply:
        """Store what came of the turn, even when the caller goes away meanwhile."""
        reply = self.reply()
        storing = asyncio.ensure_future(self.parts.store.commit(reply))
        try:
            stored = await asyncio.shield(storing)
            self.handover.stored(stored)
            reply = replace(reply, handover=stored)
        except asyncio.CancelledError:
            await storing
            raise
        finally:
            self.parts.observers.turn_finished(reply)
        if self.handover.notice is not None and self.parts.alerts is not None:
            self.parts.alerts.send(self.handover.notice)
        return reply

    async def walk(self) -> None:
        steps = self.spec.limits.tool_steps
        history = await self.earlier()
        await self.flows.load()
        await self.handover.load()
        text, verdict = await self.judge.input(self.raw)
        if verdict.kind is not Kind.ALLOW:
            return self.block(verdict)
        before = f"{history[-1].question} {history[-1].reply[:150]}" if history else ""
        self.know(replace(self.turn, text=text, before=before))
        if await self.handover.take() or await self.flows.take():
            return self.finish()
        self.passages = await self.judge.passages(await self.retrieve())
        messages = compose(self.persona, self.turn, history, self.passages)
        for brought in self.options.uses:
            if (resumed := await self.tools.resume(brought)) is None:
                return
            messages = after_tools(messages, "", resumed)
        tools = self.tools.offered(history)
        for step in range(steps + 1):
            said, calls = await self.speech.speak(messages, tools if step < steps else ())
            if not calls or self.release.blocked:
                break
            if (uses := await self.tools.run(calls, messages)) is None:
                break
            messages = after_tools(messages, said, uses)
        self.finish()
        await self.flows.remind()

    async def earlier(self) -> list[Exchange]:
        """What was said before: the stored conversation, or what the caller brings instead, as far as the input
        policies let it pass."""
        turn, limits = self.turn, self.spec.limits
        limit, step = limits.history_turns, limits.history_step
        if self.options.history is None:
            return spoken(await self.parts.store.history(turn.bot, turn.user, turn.conversation, limit, step))
        brought: list[Exchange] = []
        for exchange in lately(list(enumerate(self.options.history, 1)), limit, step):
            text, verdict = await self.judge.input(exchange.question) if exchange.question else ("", ALLOW)
            if verdict.kind is Kind.ALLOW and exchange.reply:
                brought.append(replace(exchange, question=text))
        return brought

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

    def finish(self) -> None:
        """Say how it ended, where that is not said yet."""
        if self.release.blocked and self.outcome is not Outcome.BLOCKED:
            self.block(self.release.blocked)
        elif not self.release.text and not self.ending and self.outcome not in (Outcome.CALLS, Outcome.SILENT):
            self.fail("the model gave no answer")

    async def give(self, text: str, *, final: bool = False) -> bool:
        """Release what the output policies clear; false when one of them ended the reply."""
        if cleared := await self.release.feed(text, final=final):
            self.seconds.setdefault("first_text", time.perf_counter() - self.began)
            self.emit(Delta(cleared))
        return self.release.blocked is None

    async def add(self, text: str) -> None:
        """Put a paragraph of the bot's own after the answer, as far as the output policies let it pass."""
        release = self.judge.release()
        cleared = await release.feed(text, final=True)
        if release.blocked is None and cleared and self.outcome in _SPOKEN:
            self.ending += f"\n\n{cleared}"
            self.emit(Delta(f"\n\n{cleared}"))

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
        self.emit(Delta(self.ending, closing=True))

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
            flow=self.flows.note,
            standing=self.flows.changed,
            handover=self.handover.new,
        )
