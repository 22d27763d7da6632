"""Whether the flows of a bot fit its tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sartor.errors import SpecError
from sartor.flows.spec import FlowSpec
from sartor.spec import BotSpec
from sartor.tools import Tool
from sartor.yamlfile import KeyPath

__all__ = ["begins", "check_flows", "taken"]

Place = Callable[[KeyPath], str | None]
"""``FILE:LINE`` of a key."""


def begins(flow: str) -> str:
    """What a model calls to begin the flow."""
    return f"begin_{flow}"


def taken(tool: Tool) -> list[str]:
    """The names of the tool's arguments."""
    return [*tool.arguments.model_fields]


def check_flows(spec: BotSpec, tools: Mapping[str, Tool], place: Place) -> None:
    """Raises `SpecError` for a flow that names a tool or an audience that there is not, a tool that wants what the flow
    does not know, or a hand-over where the bot has none."""
    audiences = spec.audiences
    for name, flow in spec.flows.items():
        if flow.hand_over and spec.hand_over is None:
            raise SpecError(
                f"flow {name} hands over to a person, and the bot does not say how",
                where=place(("flows", name, "hand_over")),
                remedy="Add `hand_over: {}` to the bot.yaml.",
            )
        at: KeyPath = ("flows", name)
        if begins(name) in tools:
            raise SpecError(f"flow {name}: a tool is called {begins(name)} already", where=place(at))
        for audience in flow.audiences:
            if audience not in audiences:
                raise SpecError(
                    f"flow {name} is for the audience {audience!r}, which the bot does not know",
                    where=place((*at, "audiences")),
                    remedy=f"It knows: {', '.join(audiences) or 'none'}.",
                )
        for key, tool, known in _named(flow):
            _check_tool(f"{name}.{'.'.join(key)}", tool, tools, known, place((*at, *key)))


def _named(flow: FlowSpec) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """The tools that a flow names: the key, the tool, and the slots that are known when it is called."""
    names = [*flow.slots]
    for at, (slot_name, slot) in enumerate(flow.slots.items()):
        if slot.choices_from:
            yield ("slots", slot_name, "choices_from"), slot.choices_from, names[:at]
        if slot.check:
            yield ("slots", slot_name, "check"), slot.check, names[: at + 1]
    if flow.do:
        yield ("do",), flow.do, names


def _check_tool(key: str, name: str, tools: Mapping[str, Tool], known: list[str], where: str | None) -> None:
    if name not in tools:
        raise SpecError(
            f"flows.{key} names the tool {name!r}, and no plugin of the bot brings it",
            where=where,
            remedy=f"Its tools: {', '.join(tools) or 'none'}.",
        )
    fields = tools[name].arguments.model_fields
    missing = [field for field, told in fields.items() if told.is_required() and field not in known]
    if missing:
        raise SpecError(
            f"flows.{key}: {name} needs {', '.join(missing)}, which the flow does not know there",
            where=where,
            remedy=f"Slots that are known there: {', '.join(known) or 'none'}. A slot is an argument of its own name.",
        )
