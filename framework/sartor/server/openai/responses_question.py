"""What a request for a response asks of which bot, in whose name, going on from what."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sartor.bot import Bot
from sartor.errors import NamingError
from sartor.server.caller import Caller
from sartor.server.failures import Failure
from sartor.server.live import Question
from sartor.server.openai.callers import Steps, with_own_tools
from sartor.server.openai.responses_calls import answered, check_answers, waiting
from sartor.server.openai.responses_input import Said, what_was_said
from sartor.server.openai.responses_objects import (
    FunctionCallObject,
    FunctionCallOutputObject,
    Kept,
    MessageObject,
    input_items,
    restored,
)
from sartor.server.openai.responses_request import (
    FunctionCallItem,
    FunctionCallOutputItem,
    Item,
    ItemReference,
    MessageItem,
    ResponseRequest,
)
from sartor.server.openai.responses_settings import echo_of, model_options, tools_of
from sartor.server.service import Service
from sartor.store import StoredResponse, StoredTurn, TenantStore
from sartor.values import Exchange, Outcome, Reply, TurnOptions
from sartor.window import lately

__all__ = ["Asked", "find_response", "question_of", "turn_of"]

_UNASKED = 20
"""Turns at the end of a conversation that are looked past, since no user asked for them: what people said."""
_ITEM = re.compile(r"(?:msg|fc|fco)_([0-9a-f]{32})(?:_\w+)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what is kept of its request."""

    question: Question
    kept: Kept
    previous: str
    """The turn that it goes on from; empty: none."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What a question goes on from."""

    turns: Sequence[StoredTurn] = ()
    """The oldest first."""
    conversation: str = ""
    system: Sequence[str] = ()
    previous: str = ""
    """The turn of the response that is named."""
    user: str = ""
    audience: str = ""
    language: str = ""


def turn_of(response: str) -> str:
    """The turn of a response. Raises `Failure` 404 for what cannot be the id of one."""
    if not response.startswith("resp_") or len(response) > 200:
        raise _no_response(response)
    return response.removeprefix("resp_")


async def find_response(store: TenantStore, response: str, caller: Caller, limit: int = 1) -> list[StoredResponse]:
    """The response of that id and those that led to it, the latest first. Raises `Failure` 404 where there is none,
    or where the caller speaks for a user and it is another's."""
    found = await store.responses(turn_of(response), limit)
    if not found:
        raise _no_response(response)
    owner = found[0].turn.reply.turn.user
    if owner != caller.user and not caller.user.startswith("key:") and "read" not in caller.scopes:
        raise _no_response(response)
    return found


async def question_of(service: Service, asked: ResponseRequest, caller: Caller) -> Asked:
    """Raises `Failure` for what cannot be asked."""
    _refuse(asked)
    bot = _bot(service, caller, asked.model)
    limits = bot.spec.limits
    store = service.bots.store.tenant(caller.tenant)
    # a user whom the host signed is not another one because the body says so
    unsigned = caller.user.startswith("key:")
    speaker = caller.speaks_as(asked.user or asked.safety_identifier) if unsigned else caller
    before = await _before(store, bot, asked, speaker)
    speaker = replace(speaker, user=before.user or speaker.user)
    said = what_was_said(await _items(store, asked, speaker, service.spec.messages))
    said = replace(said, uses=await with_own_tools(store, bot, speaker.user, said.uses))
    latest = before.turns[-1].reply if before.turns else None
    text, uses = _taken_up(said, latest, strict=bool(before.previous))
    stored = _exchanges(before.turns)
    history = (*lately(stored, limits.history_turns, limits.history_step), *said.history)
    if asked.truncation == "disabled" and len(stored) + len(said.history) > limits.history_turns:
        message = f"the bot keeps {limits.history_turns} exchanges in mind, and truncation is disabled"
        raise Failure(400, message, code="context_length_exceeded", param="truncation")
    system = list(dict.fromkeys([*before.system, *said.system]))
    instructions = [*([asked.instructions] if asked.instructions else []), *system]
    tools, choice = tools_of(asked)
    goes_on = asked.store is not False and not uses and not said.history and await _goes_on(store, bot, before)
    options = TurnOptions(
        id=uuid.uuid4().hex,
        history=None if goes_on else history,
        instructions=tuple(filter(None, instructions)),
        tools=tools,
        tool_choice=choice,
        uses=uses,
        model=model_options(asked),
    )
    question = Question(
        bot_id=bot.info.id,
        text=text,
        user=speaker.user,
        conversation=before.conversation,
        audience=asked.audience or speaker.audience or (before.audience if unsigned else ""),
        language=asked.language or before.language,
        attributes=speaker.attributes,
        options=options,
    )
    return Asked(question, Kept(echo=echo_of(asked), system=system), before.previous)


def _bot(service: Service, caller: Caller, model: str) -> Bot:
    """The bot that `model` names. Raises `Failure` 404 in the same words whatever the reason."""
    try:
        return service.bots[caller.bot_id(model)]
    except NamingError as error:
        raise Failure(404, f"there is no bot {model[:100]!r}", code="model_not_found", param="model") from error


def _refuse(asked: ResponseRequest) -> None:
    refused = {
        "background": asked.background,
        "prompt": asked.prompt,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
    }
    for name, value in refused.items():
        if value:
            raise Failure(400, f"{name} is not supported here", code="unsupported_parameter", param=name)
    if asked.previous_response_id and asked.conversation:
        message = "give either previous_response_id or conversation"
        raise Failure(400, message, code="mutually_exclusive_parameters", param="conversation")


async def _before(store: TenantStore, bot: Bot, asked: ResponseRequest, speaker: Caller) -> _Before:
    """What the request says that it goes on from. Raises `Failure` for what is not there, or not the speaker's."""
    limit = 2 * bot.spec.limits.history_turns + 2
    if asked.previous_response_id:
        return await _previous(store, bot, asked.previous_response_id, speaker, limit)
    if asked.conversation:
        named = asked.conversation if isinstance(asked.conversation, str) else asked.conversation.id
        return await _conversation(store, bot, named, speaker, limit)
    return _Before()


async def _previous(store: TenantStore, bot: Bot, response: str, speaker: Caller, limit: int) -> _Before:
    param = "previous_response_id"
    try:
        chain = await find_response(store, response, replace(speaker, scopes=speaker.scopes - {"read"}), limit)
    except Failure as failure:
        message = f"there is no previous response {response[:100]!r}"
        raise Failure(failure.status, message, code="previous_response_not_found", param=param) from failure
    turn = chain[0].turn.reply.turn
    if turn.bot != bot.info.bot:
        message = f"the previous response is of the bot {turn.tenant}/{turn.bot}, not of {bot.info.id}"
        raise Failure(400, message, code="invalid_value", param=param)
    return _Before(
        turns=[one.turn for one in reversed(chain)],
        conversation=turn.conversation,
        system=Kept.model_validate(chain[0].told).system,
        previous=turn.id,
        user=turn.user,
        audience=turn.audience,
        language=turn.language,
    )


async def _conversation(store: TenantStore, bot: Bot, named: str, speaker: Caller, limit: int) -> _Before:
    row = await store.conversation(named)
    if row is None:
        return _Before(conversation=named)
    if (row.user, row.bot) != (speaker.user, bot.info.bot):
        raise Failure(404, "there is no such conversation", code="not_found", param="conversation")
    stored = await store.turns(row.id, limit, max(0, row.turns - limit))
    return _Before(stored, row.id)


async def _items(store: TenantStore, asked: ResponseRequest, speaker: Caller, most: int) -> str | Sequence[Item] | None:
    """The input, with references replaced by the items that they mean."""
    if asked.input is None or isinstance(asked.input, str):
        return asked.input
    if len(asked.input) > most:
        raise Failure(400, f"the input has more than {most} items", code="too_many_items", param="input")
    return [await _meant(store, item, speaker) if isinstance(item, ItemReference) else item for item in asked.input]


async def _meant(store: TenantStore, reference: ItemReference, speaker: Caller) -> Item:
    missing = Failure(404, f"there is no item {reference.id[:100]!r}", code="not_found", param="input")
    match = _ITEM.fullmatch(reference.id)
    if match is None:
        raise missing
    try:
        found = await find_response(store, f"resp_{match[1]}", speaker, 2)
    except Failure as failure:
        raise missing from failure
    given = input_items(found[0], found[1] if len(found) > 1 else None)
    for item in (*restored(found[0], speaker).output, *given):
        if item.id == reference.id:
            return _as_given(item)
    raise missing


def _as_given(item: MessageObject | FunctionCallObject | FunctionCallOutputObject) -> Item:
    match item:
        case MessageObject():
            return MessageItem.model_validate(item.model_dump(mode="json"))
        case FunctionCallObject():
            return FunctionCallItem.model_validate(item.model_dump(mode="json"))
        case FunctionCallOutputObject():
            return FunctionCallOutputItem.model_validate(item.model_dump(mode="json"))


def _taken_up(said: Said, before: Reply | None, *, strict: bool) -> tuple[str, Steps]:
    """The text of the turn, and the tools that it has led to already.

    Where the turn before waits for tools, their results continue it: its question is asked once more.
    """
    check_answers(said.answers, before)
    if before is None or not waiting(before) or not (said.answers or strict):
        return said.question, said.uses
    text = "\n\n".join(filter(None, (before.turn.text, said.question)))
    return text, (*answered(before, said.answers), *said.uses)


async def _goes_on(store: TenantStore, bot: Bot, before: _Before) -> bool:
    """Whether the conversation goes on where it stands: then flows do, and a person who has it keeps it. It does not
    where a request goes on from a response that is not the latest."""
    if not (bot.spec.flows or bot.spec.hand_over):
        return False
    if not before.previous or not before.conversation:
        return True
    stored = await store.last_turns(before.conversation, 2 * len(before.turns) + _UNASKED)
    asked, chain = ([one.reply.turn.id for one in turns if one.reply.turn.text] for turns in (stored, before.turns))
    same = min(len(asked), len(chain))
    return asked[len(asked) - same :] == chain[len(chain) - same :]


def _exchanges(turns: Sequence[StoredTurn]) -> list[tuple[int, Exchange]]:
    """What was said, each with its number, without turns that a further one took up again with the results of
    tools."""
    said = [(one.number, one.reply) for one in turns if one.reply.outcome is not Outcome.CALLS]
    return [(number, Exchange(one.turn.text, one.text)) for number, one in said if one.turn.text and one.text]


def _no_response(response: str) -> Failure:
    return Failure(404, f"there is no response {response[:100]!r}", code="not_found", param="response_id")
