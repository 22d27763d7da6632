"""A reply that streams, chunk by chunk, as OpenAI's clients read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sartor.server.caller import Caller
from sartor.server.openai.completion import extras, finish_reason, pages, tool_calls, usage_of
from sartor.server.sse import event_bytes
from sartor.values import Reply, ToolCall

__all__ = ["Chunks"]

DONE = event_bytes("[DONE]")


class Chunks:
    """Writes the chunks of one completion. The role is told with the first."""

    def __init__(self, turn: str, bot_id: str, created: int, *, usage: bool) -> None:
        self._frame: dict[str, object] = {
            "id": f"chatcmpl-{turn}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": bot_id,
        }
        self._turn = turn
        self._usage = usage
        self.begun = False

    def begin(self) -> bytes:
        """The first chunk; nothing where it was written already."""
        if self.begun:
            return b""
        self.begun = True
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def text(self, text: str) -> bytes:
        return self.begin() + self._chunk({"content": text})

    def calls(self, calls: Sequence[ToolCall]) -> Iterator[bytes]:
        """Each tool call: first its name, then its arguments."""
        for index, call in enumerate(tool_calls(self._turn, calls)):
            head = {"index": index, **call.model_dump(), "function": {"name": call.function.name, "arguments": ""}}
            rest = {"index": index, "function": {"arguments": call.function.arguments}}
            yield self.begin() + self._chunk({"tool_calls": [head]}) + self._chunk({"tool_calls": [rest]})

    def end(self, reply: Reply, caller: Caller) -> bytes:
        """The last chunks: why it ended, what it cost."""
        told = extras(reply, caller).model_dump(mode="json")
        cited = [page.model_dump() for page in pages(reply)]
        delta: dict[str, object] = {"annotations": cited} if cited else {}
        last = self.begin() + self._chunk(delta, finish_reason(reply), {"sartor": told})
        if self._usage:
            usage = usage_of(reply.usage).model_dump()
            last += event_bytes({**self._frame, "choices": [], "usage": usage})
        return last + DONE

    def _chunk(
        self, delta: dict[str, object], reason: str | None = None, more: dict[str, object] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._usage else {}
        return event_bytes({**self._frame, "choices": [choice], **usage, **(more or {})})
