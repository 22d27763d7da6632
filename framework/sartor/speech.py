"""What the model says in a turn: asked, tied to its sources, and given on as far as the policies clear it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sartor.grounding import CitationFilter, Quotable, cited, quotable
from sartor.settling import Settled, settle_phrase, settle_quotes
from sartor.texts import in_language
from sartor.toolbox import summary
from sartor.values import JSONValue, Message, Outcome, ToolCall, Usage

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["Speech"]


class Speech:
    """The answers of the model in one turn."""

    def __init__(self, path: TurnPath) -> None:
        self._path = path
        self._gap = ""
        self._spoke = False

    async def speak(
        self, messages: Sequence[Message], tools: Sequence[dict[str, JSONValue]]
    ) -> tuple[str, Sequence[ToolCall]]:
        """Let the model answer: its text goes to the user as grounding and output policies allow, its tool calls
        are given back."""
        from sartor.langchain import say  # costs half a second, so not before the first message

        path = self._path
        grounding = path.spec.grounding
        choice = self.choice(tools)
        whole = grounding.mode == "quote"
        quotes = self.quotable(tools) if whole and not path.uses and choice == "auto" else None
        numbers = CitationFilter(None if self.formatted() else len(path.passages))
        text = ""
        pieces = 0
        counted = Usage()
        calls: Sequence[ToolCall] = ()
        began, first, failed = time.perf_counter(), None, True
        stream = say(
            path.parts.model,
            messages,
            tools=tools,
            tool_choice=choice,
            choices=quotes.choices if quotes else None,
            asked=self.asked(),
            tenant=path.turn.tenant,
            share=path.parts.share,
        )
        try:
            async for said in stream:
                text += said.text
                calls = said.calls or calls if tools else ()
                pieces += bool(said.text)
                counted += said.usage
                path.cut = said.cut
                if said.text and first is None:
                    first = time.perf_counter() - began
                if said.text and not whole:
                    gap, self._gap = self._gap, ""
                    if not await path.give(gap + numbers.feed(said.text)):
                        break
            failed = False
        finally:
            await stream.aclose()
            # A model that was stopped did not tell its tokens: then each piece counts as one.
            counted = counted if counted.calls else Usage(generated=pieces, calls=1)
            path.usage += counted
            path.passed("model", path.parts.model_name, began, usage=counted, error=failed, first_text=first)
        if calls:
            if text.strip() and not whole:
                await path.give(numbers.feed("", final=True).rstrip())
                self._gap = "\n\n"
            return text, calls
        text = self.tied(quotes, text, numbers)
        await path.give(text, final=True)
        return text, ()

    def choice(self, tools: Sequence[dict[str, JSONValue]]) -> str:
        """Which tool the model must use: what the caller wants of the first answer, where it was offered."""
        asked = "auto" if self._spoke else self._path.options.tool_choice
        self._spoke = True
        offered = {told["name"] for tool in tools if isinstance(told := tool["function"], dict)}
        return asked if asked in offered or (asked == "required" and tools) else "auto"

    def formatted(self) -> bool:
        """Whether the reply is to be JSON, in which brackets are no citations."""
        form = self._path.options.model.get("response_format")
        return isinstance(form, dict) and form.get("type") != "text"

    def tied(self, quotes: Quotable | None, said: str, numbers: CitationFilter) -> str:
        """What may still be given of an answer: in mode `quote` all of it, tied to its sources; in mode `free` what
        `numbers` holds back."""
        path = self._path
        if quotes is not None:
            return self.settle(settle_quotes(quotes, said, path.persona.unknown))
        if path.spec.grounding.mode == "quote" and path.uses:
            return self.settle(self.phrased(said))
        if path.spec.grounding.mode == "quote":  # a tool was asked for, and the model wrote freely instead
            return self.settle(Settled(path.persona.unknown, outcome=Outcome.UNKNOWN))
        path.citations = () if self.formatted() else cited(said, path.passages)
        path.outcome = Outcome.UNKNOWN if said.strip() == path.persona.unknown else path.outcome
        return numbers.feed("", final=True)

    def quotable(self, tools: Sequence[dict[str, JSONValue]]) -> Quotable:
        path = self._path
        grounding = path.spec.grounding
        own = [text for text in (path.persona.greeting, path.persona.unknown) if text]
        return quotable(
            path.turn.text,
            path.passages,
            own,
            candidates=grounding.candidates,
            at_most=grounding.max_quotes,
            prior=getattr(path.parts.model, "suggested_prior", 1.0) if grounding.prior is None else grounding.prior,
            doubt=grounding.doubt,
            tools=[summary(tool) for tool in tools],
            readings=path.parts.readings,
        )

    def phrased(self, text: str) -> Settled:
        """What the model made of tool results."""
        path = self._path
        return settle_phrase(
            text,
            path.uses,
            [path.turn.text, *(part.text for part in path.persona.instructions)],
            verbatim=path.spec.grounding.tool_results == "verbatim",
            failed=in_language(path.spec.replies.failed, path.turn.language),
        )

    def settle(self, settled: Settled) -> str:
        path = self._path
        path.citations, path.outcome, path.error = settled.citations, settled.outcome, settled.error
        return settled.text

    def asked(self) -> dict[str, JSONValue]:
        """What the model is asked for beside the messages, within the bot's limits."""
        most = self._path.options.model.get("max_tokens")
        limit = self._path.spec.limits.reply_tokens
        return {**self._path.options.model, "max_tokens": min(most, limit) if isinstance(most, int) else limit}
