"""Having the model choose what a user means, out of statements that are all it may say."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sartor.grounding import PRIOR_SCALE
from sartor.values import Choices, JSONValue, Message, Origin, Part, Usage

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["choose"]

_TASK = (
    "A user and an assistant talk about: {title}. Which of the statements is true of the user's message? "
    "Answer with one of them, word for word."
)
_TOOL = "choose"
_TOKENS = 200


async def choose(path: TurnPath, title: str, meanings: Mapping[str, str], likely: Mapping[str, float]) -> str | None:
    """The key of what the user's message means, of `meanings`, as the model understands it. None where the model says
    none of them.

    `likely` tells how much speaks for each beforehand, from 0 (where nothing is told) to 1: as much as all informative
    words of a question speak for a sentence that has them, see `sartor.grounding`. Raises `ModelError`.
    """
    from sartor.langchain import say  # costs half a second, so not before the first message

    texts = [*dict.fromkeys(meanings.values())]
    listed = "".join(f"\n- {text}" for text in texts)
    messages = [
        Message("system", (Part(_TASK.format(title=title), Origin.OPERATOR),)),
        Message(
            "user",
            (
                Part("The user says: ", Origin.OPERATOR),
                Part(path.turn.text, Origin.USER),
                Part("\n\nStatements:", Origin.OPERATOR),
                Part(listed, Origin.TOOL),  # labels may be a tool's
            ),
        ),
    ]
    free = not getattr(path.parts.model, "supports_choices", False)
    prior = PRIOR_SCALE * getattr(path.parts.model, "suggested_prior", 1.0)
    weights = {text: math.exp(prior * likely.get(key, 0.0)) for key, text in reversed(list(meanings.items()))}
    said, called, counted = "", dict[str, JSONValue](), Usage()
    began, failed = time.perf_counter(), True
    stream = say(
        path.parts.model,
        messages,
        tools=[_tool(texts)] if free else (),
        tool_choice=_TOOL if free else "auto",
        choices=None if free else Choices(tuple(texts), tuple(weights[text] for text in texts)),
        asked={"max_tokens": _TOKENS},
        tenant=path.turn.tenant,
        share=path.parts.share,
    )
    try:
        async for piece in stream:
            said += piece.text
            counted += piece.usage
            called = dict(piece.calls[0].arguments) if piece.calls else called
        failed = False
    finally:
        await stream.aclose()
        path.usage += counted
        path.passed("model", path.parts.model_name, began, usage=counted, error=failed)
    answer = called.get("statement", said)
    return next((key for key, text in meanings.items() if text == str(answer).strip()), None)


def _tool(texts: list[str]) -> dict[str, JSONValue]:
    statement: JSONValue = {"type": "string", "enum": [*texts]}
    parameters: JSONValue = {"type": "object", "properties": {"statement": statement}, "required": ["statement"]}
    function: dict[str, JSONValue] = {
        "name": _TOOL,
        "description": "Tell which statement is true of the user's message.",
        "parameters": parameters,
    }
    return {"type": "function", "function": function}
