"""Running the conversation tests of a bot."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sartor.bots import Bots
from sartor.parts import BotParts
from sartor.rehearsal.expect import Fault, Similarity, compare
from sartor.rehearsal.script import FIRST_MOMENT, Conversation, Said, Script, find_scripts
from sartor.rehearsal.stage import steady
from sartor.values import Reply, ToolCall

if TYPE_CHECKING:
    from sartor.rehearsal.tape import Tape

__all__ = ["Mode", "Result", "TurnResult", "rehearse", "tape_path"]

Mode = Literal["live", "record", "replay"]


@dataclass(frozen=True)
class TurnResult:
    """One turn and what was wrong with it."""

    say: str
    place: str
    reply: Reply
    faults: Sequence[Fault] = ()
    differences: Sequence[str] = ()
    """Where a recording is played: what the model or a tool was asked otherwise."""


@dataclass
class Result:
    """What came of one conversation."""

    bot: str
    name: str
    file: str
    model: str = ""
    turns: list[TurnResult] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    """Why it could not be had at all."""
    unfit: str = ""
    """Why it was not held: it is about a bot with other values."""

    @property
    def passed(self) -> bool:
        return not self.error and not any(turn.faults or turn.differences for turn in self.turns)

    @property
    def tokens(self) -> int:
        return sum(turn.reply.usage.prompt + turn.reply.usage.generated for turn in self.turns)


async def rehearse(
    bots: Bots,
    bot_id: str,
    *,
    mode: Mode = "live",
    model: str = "",
    only: str = "",
    at_once: int = 4,
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Hold every conversation of the bot's tests whose name contains `only`, some at once; results in their order.
    Those for a bot with other values are not held.

    `mode` ``record`` notes what model and tools say in the bot's `tests/recordings`, ``replay`` plays that again.
    `model` is a name under `models` in `sartor.yaml`, in place of the bot's own. Raises `SpecError` for a test that
    cannot be read, `NamingError` for a model that there is none.
    """
    parts = bots.parts(bot_id)
    if model:
        parts = replace(parts, model=bots.model(model), model_name=model)
    effective = bots.project.bot(bot_id)
    wanted = [
        (script, at, conversation)
        for script in find_scripts(effective)
        for at, conversation in enumerate(script.conversations)
        if only.casefold() in conversation.name.casefold()
    ]
    gate = asyncio.Semaphore(at_once)

    async def one(script: Script, at: int, conversation: Conversation) -> Result:
        async with gate:
            result = Result(bot_id, conversation.name, str(script.path), parts.model_name, unfit=script.unfit)
            began = time.perf_counter()
            try:
                if not result.unfit:
                    await _hold(bots, parts, result, (script, at), mode)
            except Exception as error:
                result.error = str(error) or type(error).__name__
            result.seconds = time.perf_counter() - began
        if progress:
            progress(result)
        return result

    return list(await asyncio.gather(*(one(*told) for told in wanted)))


async def _hold(bots: Bots, parts: BotParts, result: Result, which: tuple[Script, int], mode: Mode) -> None:
    script, at = which
    conversation = script.conversations[at]
    path = tape_path(parts.info.directory, conversation.name)
    tape: Tape | None = None
    if mode != "live":
        from sartor.rehearsal.tape import Tape

        tape = Tape.read(path) if mode == "replay" else Tape()
        parts = _taped(parts, tape, played=mode == "replay")
    bot = steady(parts, f"{path.stem}-{parts.model_name}", conversation.now or FIRST_MOMENT)
    price = bots.project.spec.prices.get(parts.model_name)
    talk, kept = "", dict[str, str]()

    async def approve(call: ToolCall, reason: str) -> bool:
        return conversation.approve

    for number, told in enumerate(conversation.turns):
        said = _filled(told, kept)
        reply = await bot.reply(
            said.say,
            user=conversation.user,
            conversation=talk,
            audience=conversation.audience,
            language=conversation.language,
            attributes=conversation.attributes,
            approve=approve,
        )
        talk = reply.turn.conversation
        if tape is not None:
            tape.reply(said.say, reply.text, played=mode == "replay")
        faults = await compare(said.expect, reply, _similarity(bots), timed=mode != "replay", price=price)
        faults += _kept(said, reply, kept)
        differences, place = tuple(tape.differences) if tape else (), script.place(at, number)
        result.turns.append(TurnResult(said.say, place, reply, tuple(faults), differences))
        if differences:  # what follows would only repeat it
            return
    if tape is not None and mode == "record":
        tape.write(path)


def _filled(said: Said, kept: Mapping[str, str]) -> Said:
    """With what was kept of earlier replies in the place of its names."""

    def fill(text: str) -> str:
        for name, value in kept.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    texts = [fill(text) for text in ([said.expect.text] if isinstance(said.expect.text, str) else said.expect.text)]
    expect = said.expect.model_copy(update={"text": texts})
    return said.model_copy(update={"say": fill(said.say), "expect": expect})


def _kept(said: Said, reply: Reply, kept: dict[str, str]) -> Iterator[Fault]:
    """Keep what `said` wants of the reply; a fault for what is not there."""
    for name, pattern in said.keep.items():
        if found := re.search(pattern, reply.text):
            kept[name] = found[0]
        else:
            yield Fault("keep", pattern, reply.text)


def tape_path(directory: Path, name: str) -> Path:
    """Where the recording of the conversation `name` of the bot in `directory` is kept."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:60]
    return directory / "tests" / "recordings" / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.json"


def _taped(parts: BotParts, tape: Tape, *, played: bool) -> BotParts:
    from sartor.rehearsal.tape import PlayedModel, RecordedModel, played_tool, recorded_tool

    wrap = played_tool if played else recorded_tool
    model = PlayedModel(tape) if played else RecordedModel(parts.model, tape)
    return replace(parts, model=model, tools={name: wrap(tool, tape) for name, tool in parts.tools.items()})


def _similarity(bots: Bots) -> Similarity | None:
    embeddings = bots.embeddings()
    if embeddings is None:
        return None

    async def alike(one: str, other: str) -> float:
        first, second = await embeddings.aembed_documents([one, other])
        size = math.sqrt(sum(x * x for x in first)) * math.sqrt(sum(x * x for x in second))
        return sum(x * y for x, y in zip(first, second, strict=True)) / size if size else 0.0

    return alike
