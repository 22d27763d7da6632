"""A chat request as a question to a bot."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Sequence

from sartor.bot import Bot
from sartor.errors import NamingError
from sartor.server.caller import Caller
from sartor.server.failures import Failure
from sartor.server.live import Question
from sartor.server.openai.messages import read_messages
from sartor.server.openai.request import AllowedChoice, ChatRequest, NamedTool, SchemaFormat, ToolSpec
from sartor.server.service import Service
from sartor.store import TenantStore
from sartor.values import CallerTool, Event, JSONValue, ToolUse, TurnOptions

__all__ = ["ask", "bot_of", "call_id", "question_of"]

_CALL = re.compile(r"call_([0-9a-f]{32})_\d{1,3}")
_WORDS = frozenset({"auto", "none", "required"})


def bot_of(service: Service, caller: Caller, model: str) -> tuple[str, Bot]:
    """The bot that `model` names, with its id. Raises `Failure` 404 in the same words whatever the reason."""
    bot_id = caller.bot_id(model)
    try:
        return bot_id, service.bots[bot_id]
    except NamingError as error:
        message = f"there is no bot {model[:100]!r}"
        raise Failure(404, message, code="model_not_found", param="model") from error


def call_id(turn: str, number: int) -> str:
    """The id by which the caller knows a tool call: it leads back to the turn that wanted it."""
    return f"call_{turn}_{number}"


async def question_of(service: Service, caller: Caller, asked: ChatRequest) -> tuple[Bot, Question]:
    """What is asked, and of which bot. Raises `Failure`."""
    bot_id, bot = bot_of(service, caller, asked.model)
    talk = read_messages(asked.messages, service.spec.messages)
    # a user whom the host signed is not another one because the body says so
    speaker = caller if caller.signed else caller.speaks_as(asked.safety_identifier or asked.user)
    tools, choice = _tools(asked)
    uses = await _with_own(service.bots.store.tenant(caller.tenant), bot, speaker.user, talk.uses)
    return bot, Question(
        bot_id=bot_id,
        text=talk.text,
        user=speaker.user,
        conversation=asked.conversation or "",
        audience=asked.audience or speaker.audience,
        language=asked.language or "",
        attributes=speaker.attributes,
        options=TurnOptions(
            id=uuid.uuid4().hex,
            history=None if asked.conversation else talk.history,
            instructions=talk.instructions,
            tools=tools,
            tool_choice=choice,
            parallel_calls=asked.parallel_tool_calls is not False,
            uses=uses,
            model=_model_options(asked),
        ),
    )


def ask(bot: Bot, question: Question) -> AsyncGenerator[Event]:
    """The turn that answers `question`. Where a tool call needs a person's approval, it is refused: behind this API
    there is nobody who could be asked."""
    return bot.stream(
        question.text,
        user=question.user,
        conversation=question.conversation,
        audience=question.audience,
        language=question.language,
        attributes=question.attributes,
        options=question.options,
    )


def _tools(asked: ChatRequest) -> tuple[tuple[CallerTool, ...], str]:
    """The caller's tools that may be used, and which of them must be."""
    specs, choice = asked.tools or [], asked.tool_choice
    wanted: str
    if isinstance(choice, AllowedChoice):
        names = {tool.function.name for tool in choice.allowed_tools.tools}
        specs = [spec for spec in specs if spec.function.name in names]
        wanted = choice.allowed_tools.mode
    else:
        wanted = choice.function.name if isinstance(choice, NamedTool) else choice or "auto"
    if isinstance(choice, NamedTool) and wanted not in {spec.function.name for spec in specs}:
        message = f"tool_choice names {wanted!r}, which is not among the tools"
        raise Failure(400, message, code="invalid_value", param="tool_choice")
    return tuple(_tool(spec, f"tools.{at}") for at, spec in enumerate(specs)), wanted


def _tool(spec: ToolSpec, place: str) -> CallerTool:
    told = spec.function
    parameters: dict[str, JSONValue] = {"type": "object", "properties": {}, **(told.parameters or {})}
    if parameters["type"] != "object" or not isinstance(parameters["properties"], dict):
        what = f"{place}.function.parameters: a JSON Schema of an object is needed"
        raise Failure(400, what, code="invalid_value", param=f"{place}.function.parameters")
    if told.name in _WORDS:
        what = f"{place}.function.name: a tool cannot be called {told.name!r}"
        raise Failure(400, what, code="invalid_value", param=f"{place}.function.name")
    return CallerTool(told.name, told.description or "", parameters, told.acts)


def _model_options(asked: ChatRequest) -> dict[str, JSONValue]:
    told: dict[str, JSONValue] = {
        "max_tokens": asked.max_completion_tokens or asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p if asked.top_p is None else max(asked.top_p, 1e-6),  # 0: nothing could be chosen
        "seed": asked.seed if asked.seed is None else asked.seed & (2**63 - 1),
    }
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if any(stops):
        told["stop"] = [stop for stop in stops if stop]
    form = asked.response_format
    if isinstance(form, SchemaFormat):
        named = form.json_schema
        schema: dict[str, JSONValue] = {"name": named.name, "schema": named.told, "strict": bool(named.strict)}
        told["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form is not None and form.type == "json_object":
        told["response_format"] = {"type": "json_object"}
    return {name: value for name, value in told.items() if value is not None}


async def _with_own(
    store: TenantStore, bot: Bot, user: str, steps: Sequence[tuple[ToolUse, ...]]
) -> tuple[tuple[ToolUse, ...], ...]:
    """`steps`, each behind what the bot's own tools gave in the turn that wanted it: the caller was not told of
    them, and without them a tool that acts might be run a second time."""
    own = {tool.name for tool in bot.tools}
    turns = [found[1] if (found := _CALL.fullmatch(step[0].call.id)) else "" for step in steps]
    stored = await asyncio.gather(*(store.reply(turn) for turn in turns if turn)) if own else []
    replies = {
        one.reply.turn.id: one.reply
        for one in stored
        if one is not None and (one.reply.turn.bot, one.reply.turn.user) == (bot.info.bot, user)
    }
    found_steps: list[tuple[ToolUse, ...]] = []
    told: set[str] = set()
    for turn, step in zip(turns, steps, strict=True):
        before = [use for use in replies[turn].tools if use.call.name in own] if turn in replies else []
        new = tuple(use for use in before if use.call.id not in told)
        told.update(use.call.id for use in new)
        found_steps += [new, step] if new else [step]
    return tuple(found_steps)
