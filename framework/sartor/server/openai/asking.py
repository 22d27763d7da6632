"""A chat request as a question to a bot."""

from __future__ import annotations

import uuid

from sartor.bot import Bot
from sartor.errors import NamingError
from sartor.server.caller import Caller
from sartor.server.failures import Failure
from sartor.server.live import Question
from sartor.server.openai.callers import caller_tool, with_own_tools
from sartor.server.openai.messages import read_messages
from sartor.server.openai.request import AllowedChoice, ChatRequest, NamedTool, SchemaFormat
from sartor.server.service import Service
from sartor.values import CallerTool, JSONValue, TurnOptions

__all__ = ["bot_of", "question_of"]


def bot_of(service: Service, caller: Caller, model: str) -> tuple[str, Bot]:
    """The bot that `model` names, with its id. Raises `Failure` 404 in the same words whatever the reason."""
    bot_id = caller.bot_id(model)
    try:
        return bot_id, service.bots[bot_id]
    except NamingError as error:
        message = f"there is no bot {model[:100]!r}"
        raise Failure(404, message, code="model_not_found", param="model") from error


async def question_of(service: Service, caller: Caller, asked: ChatRequest) -> tuple[Bot, Question]:
    """What is asked, and of which bot. Raises `Failure`."""
    bot_id, bot = bot_of(service, caller, asked.model)
    talk = read_messages(asked.messages, service.spec.messages)
    # a user whom the host signed is not another one because the body says so
    speaker = caller if caller.signed else caller.speaks_as(asked.safety_identifier or asked.user)
    tools, choice = _tools(asked)
    uses = await with_own_tools(service.bots.store.tenant(caller.tenant), bot, speaker.user, talk.uses)
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
    told = [spec.function for spec in specs]
    tools = [
        caller_tool(one.name, one.description, one.parameters, acts=one.acts, place=f"tools.{at}.function")
        for at, one in enumerate(told)
    ]
    return tuple(tools), wanted


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
