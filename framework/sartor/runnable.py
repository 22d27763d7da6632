"""A bot as a step of LangChain code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

from sartor.values import Reply

__all__ = ["BotRunnable"]


class BotRunnable(Runnable[object, AIMessage]):
    """A bot as a LangChain `Runnable`.

    It takes a text, or ``{"text": …, "user": …, "conversation": …}``, and gives an `AIMessage` whose
    `response_metadata` has citations, outcome and conversation. No tracer sees into it; what a host's own chain
    hands to its own tracer is up to the host.
    """

    def __init__(self, answer: Callable[..., Awaitable[Reply]], bot_id: str) -> None:
        """`answer` is the bot's `reply`."""
        self._answer = answer
        self.name = f"sartor:{bot_id}"

    def invoke(self, input: object, config: RunnableConfig | None = None, **kwargs: object) -> AIMessage:
        raise TypeError("a bot answers in an event loop: use ainvoke, astream or abatch")

    async def ainvoke(self, input: object, config: RunnableConfig | None = None, **kwargs: object) -> AIMessage:
        options: Mapping[str, object] = input if isinstance(input, Mapping) else {"text": _text(input)}
        unknown = set(options) - {"text", "user", "conversation", "audience", "language"}
        if unknown or not isinstance(options.get("text"), str):
            raise TypeError(
                f"a bot takes a text or a mapping with `text`; not understood: {sorted(unknown) or input!r}"
            )
        reply = await self._answer(**options)
        return AIMessage(
            reply.text,
            response_metadata={
                "turn": reply.turn.id,
                "conversation": reply.turn.conversation,
                "outcome": reply.outcome.value,
                "citations": [
                    {"number": c.number, "source": c.source, "title": c.title, "quote": c.quote}
                    for c in reply.citations
                ],
            },
            usage_metadata={
                "input_tokens": reply.usage.prompt,
                "output_tokens": reply.usage.generated,
                "total_tokens": reply.usage.prompt + reply.usage.generated,
            },
        )


def _text(given: object) -> object:
    if isinstance(given, BaseMessage):
        return given.text
    if isinstance(given, list) and given and isinstance(given[-1], BaseMessage):
        return given[-1].text
    return given
