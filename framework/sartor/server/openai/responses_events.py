"""The events of a response that streams, in the order that the Open Responses specification gives them."""

from __future__ import annotations

from collections.abc import Iterator

from sartor.server.failures import Failure
from sartor.server.openai.responses_objects import (
    ErrorObject,
    FunctionCallObject,
    MessageObject,
    OutputText,
    RefusalText,
    ResponseObject,
)
from sartor.server.sse import event_bytes

__all__ = ["ResponseEvents"]

_DONE = event_bytes("[DONE]")


class ResponseEvents:
    """The events of one response, numbered from 0.

    With `behind`, text is told one piece late, so that what ends a reply can still be told as something else.
    """

    def __init__(self, response: ResponseObject, *, behind: bool) -> None:
        self._response = response
        self._behind = behind
        self._held = ""
        self._told = ""
        self._number = 0
        self._message = f"msg_{response.id.removeprefix('resp_')}"
        self._opened = False

    @property
    def opened(self) -> bool:
        """Whether some text was told."""
        return self._opened

    def begin(self) -> Iterator[bytes]:
        yield self._lifecycle("response.created", self._response)
        yield self._lifecycle("response.in_progress", self._response)

    def text(self, piece: str) -> Iterator[bytes]:
        """A further piece of the text."""
        if self._behind:
            piece, self._held = self._held, piece
        if piece:
            yield from self._delta(piece)

    def end(self, response: ResponseObject) -> Iterator[bytes]:
        """The rest, where `response` is what came of it."""
        for index, item in enumerate(response.output):
            if isinstance(item, MessageObject):
                yield from self._close(index, item)
            else:
                yield from self._call(index, item)
        yield self._lifecycle(f"response.{response.status}", response)
        yield _DONE

    def fail(self, failure: Failure) -> Iterator[bytes]:
        """The end of a response that came to nothing."""
        code = failure.code or "server_error"
        detail = failure.body["error"]
        yield self._event("error", code=code, message=failure.message, param=failure.param, error=detail)
        response = self._response.model_copy()
        response.status = "failed"
        response.error = ErrorObject(code=code, message=failure.message)
        yield self._lifecycle("response.failed", response)
        yield _DONE

    def _delta(self, piece: str) -> Iterator[bytes]:
        if not self._opened:
            yield from self._open(OutputText(text=""))
        self._told += piece
        yield self._of_part("response.output_text.delta", delta=piece, logprobs=[])

    def _open(self, part: OutputText | RefusalText) -> Iterator[bytes]:
        self._opened = True
        item = MessageObject(id=self._message, status="in_progress", role="assistant", content=[])
        yield self._event("response.output_item.added", output_index=0, item=item.model_dump(mode="json"))
        yield self._of_part("response.content_part.added", part=part.model_dump(mode="json"))

    def _close(self, index: int, item: MessageObject) -> Iterator[bytes]:
        part = item.content[0]
        if isinstance(part, RefusalText):
            yield from self._open(RefusalText(refusal=""))
            yield self._of_part("response.refusal.delta", delta=part.refusal)
            yield self._of_part("response.refusal.done", refusal=part.refusal)
        elif isinstance(part, OutputText):
            if rest := part.text[len(self._told) :]:
                yield from self._delta(rest)
            for at, annotation in enumerate(part.annotations):
                told = annotation.model_dump(mode="json")
                yield self._of_part("response.output_text.annotation.added", annotation_index=at, annotation=told)
            yield self._of_part("response.output_text.done", text=part.text, logprobs=[])
        yield self._of_part("response.content_part.done", part=part.model_dump(mode="json"))
        yield self._event("response.output_item.done", output_index=index, item=item.model_dump(mode="json"))

    def _call(self, index: int, item: FunctionCallObject) -> Iterator[bytes]:
        of_item = {"item_id": item.id, "output_index": index}
        started = item.model_copy(update={"arguments": "", "status": "in_progress"})
        yield self._event("response.output_item.added", output_index=index, item=started.model_dump(mode="json"))
        yield self._event("response.function_call_arguments.delta", **of_item, delta=item.arguments)
        yield self._event("response.function_call_arguments.done", **of_item, name=item.name, arguments=item.arguments)
        yield self._event("response.output_item.done", output_index=index, item=item.model_dump(mode="json"))

    def _of_part(self, kind: str, **told: object) -> bytes:
        return self._event(kind, item_id=self._message, output_index=0, content_index=0, **told)

    def _lifecycle(self, kind: str, response: ResponseObject) -> bytes:
        return self._event(kind, response=response.model_dump(mode="json"))

    def _event(self, kind: str, **told: object) -> bytes:
        event = event_bytes({"type": kind, "sequence_number": self._number, **told}, name=kind)
        self._number += 1
        return event
