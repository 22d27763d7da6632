"""What the tools of a bot take and give over the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from mcp_types import CallToolResult, ContentBlock, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.bot import Bot
from sartor.shelf import Found
from sartor.values import Outcome, Reply

__all__ = ["ASK", "SEARCH", "Query", "Question", "answered", "found", "input_schema", "refused", "tools", "wrong"]

ASK = "ask"
SEARCH = "search"


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, description="The question, as a person would put it.")
    conversation: str = Field(
        default="",
        max_length=200,
        description="Continues an earlier conversation: the id that its result told. Leave it out to begin a new one.",
    )


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, description="What to look for, in plain words.")
    limit: int = Field(default=5, ge=1, le=20, description="At most so many passages.")


class Cited(BaseModel):
    number: int = Field(description="What the answer shows in brackets.")
    title: str
    source: str
    quote: str = Field(description="The sentence as the document has it; empty where the bot put it in other words.")


class Answer(BaseModel):
    answer: str
    outcome: Outcome
    citations: list[Cited]
    conversation: str = Field(description="Give it with the next question to continue this conversation.")
    turn: str


class FoundPassage(BaseModel):
    title: str
    source: str
    text: str
    score: float


class Passages(BaseModel):
    passages: list[FoundPassage]


def input_schema(tool: str) -> dict[str, object] | None:
    """What a tool takes, as a JSON Schema."""
    takes = {ASK: Question, SEARCH: Query}.get(tool)
    return _schema(takes) if takes else None


def tools(bot: Bot, documents: bool) -> list[Tool]:
    """The tools of a bot: `ask`, and where its documents may be read, `search`."""
    title = bot.spec.title or bot.info.id
    ask = Tool(
        name=ASK,
        title=title,
        description=f"Ask {title}. It answers from its own documents and tools, and cites its sources.",
        input_schema=_schema(Question),
        output_schema=_schema(Answer),
        annotations=ToolAnnotations(
            read_only_hint=not any(tool.acts for tool in bot.tools), open_world_hint=bool(bot.tools)
        ),
    )
    search = Tool(
        name=SEARCH,
        title=f"{title}: search",
        description=f"Find passages in the documents of {title}, the best first, without an answer.",
        input_schema=_schema(Query),
        output_schema=_schema(Passages),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
    return [ask, search] if documents else [ask]


def answered(reply: Reply) -> CallToolResult:
    """A turn. A refusal is an answer; a turn that failed is an error, in the bot's own words."""
    answer = Answer(
        answer=reply.text,
        outcome=reply.outcome,
        citations=[
            Cited(number=cited.number, title=cited.title, source=cited.source, quote=cited.quote)
            for cited in reply.citations
        ],
        conversation=reply.turn.conversation,
        turn=reply.turn.id,
    )
    lines = [f"[{cited.number}] {cited.source} ({cited.title})" for cited in reply.citations]
    told = "\n".join([*lines, f"conversation: {reply.turn.conversation}"])
    return _result(answer, [reply.text, told], error=reply.outcome is Outcome.FAILED)


def found(result: Found) -> CallToolResult:
    """What a search gave."""
    if result.refusal:
        return refused(result.refusal)
    passages = [
        FoundPassage(title=one.title, source=one.source, text=one.text, score=round(one.score, 4))
        for one in result.passages
    ]
    texts = [f"{one.source} ({one.title})\n{one.text}" for one in passages]
    return _result(Passages(passages=passages), texts or ["Nothing was found."])


def refused(why: str) -> CallToolResult:
    """An error that the caller's model may read."""
    return CallToolResult(content=[TextContent(text=why)], is_error=True)


def wrong(tool: str, error: ValidationError) -> CallToolResult:
    """Arguments that the tool does not take."""
    faults = (f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in error.errors())
    return refused(f"{tool} was called wrongly: {'; '.join(faults)}")


def _result(structured: BaseModel, texts: Sequence[str], *, error: bool = False) -> CallToolResult:
    content: list[ContentBlock] = [TextContent(text=text) for text in texts if text]
    return CallToolResult(content=content, structured_content=structured.model_dump(mode="json"), is_error=error)


@cache
def _schema(model: type[BaseModel]) -> dict[str, object]:
    return model.model_json_schema()
