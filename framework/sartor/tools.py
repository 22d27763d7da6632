"""What a tool is: a Python function with typed arguments that the model may ask for.

::

    @tool
    async def opening_hours(city: str) -> dict:
        "Opening hours of the shop in a city."

The arguments are validated by pydantic before the function runs. `acts=True` marks a tool that changes
something (books, pays, sends): its arguments may not come from documents or tool results alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, overload

from sartor.errors import PluginError
from sartor.values import JSONValue

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Tool", "tool"]


@dataclass(frozen=True)
class Tool:
    """A tool as the core runs it. Make one with `@tool`, or give a LangChain `BaseTool` instead."""

    name: str
    description: str
    function: Callable[..., object]
    """Sync functions run in a thread, async ones in the event loop. What it returns is shown to the model: text
    as it is, anything else as JSON. A parameter named `turn` is given the `Turn` and hidden from the model."""
    arguments: type[BaseModel]
    acts: bool = False
    timeout: float | None = None
    """Seconds; None: the bot's `limits.tool_seconds`."""
    audiences: frozenset[str] = field(default_factory=frozenset)
    """Only these audiences may use it; empty: all."""
    from_user: frozenset[str] = field(default_factory=frozenset)
    """Text arguments that must be the user's own words, such as an order number: the model may only pick them out
    of what the user wrote (those that fit the argument's ``pattern``, where it has one), so that it cannot make
    one up. Where the user wrote nothing that fits, the tool is not offered."""
    for_flows: bool = False
    """Only the bot's flows may call it: the model is not told of it."""

    @cached_property
    def schema(self) -> dict[str, JSONValue]:
        """The JSON Schema of the arguments."""
        return self.arguments.model_json_schema()

    @property
    def takes_turn(self) -> bool:
        return "turn" in inspect.signature(self.function).parameters


@overload
def tool(function: Callable[..., object], /) -> Tool: ...
@overload
def tool(
    *,
    name: str = "",
    description: str = "",
    acts: bool = False,
    timeout: float | None = None,
    audiences: frozenset[str] = frozenset(),
    from_user: frozenset[str] = frozenset(),
    for_flows: bool = False,
) -> Callable[[Callable[..., object]], Tool]: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str = "",
    description: str = "",
    acts: bool = False,
    timeout: float | None = None,
    audiences: frozenset[str] = frozenset(),
    from_user: frozenset[str] = frozenset(),
    for_flows: bool = False,
) -> Tool | Callable[[Callable[..., object]], Tool]:
    """Make a `Tool` of a function; name, description and argument types are read from it.

    Raises `PluginError` when a parameter has no type, or neither docstring nor `description` says what the
    tool is for (the model chooses by that text).
    """

    def make(function: Callable[..., object]) -> Tool:
        told = description or (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
        label = name or function.__name__
        if not told:
            raise PluginError(f"tool {label!r} has no description", remedy="Give its function a docstring.")
        return Tool(label, told, function, _arguments(label, function), acts, timeout, audiences, from_user, for_flows)

    return make if function is None else make(function)


def _arguments(label: str, function: Callable[..., object]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    fields: dict[str, object] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name == "turn":
            continue
        if parameter.annotation is parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise PluginError(
                f"tool {label!r}: parameter {parameter.name!r} has no type",
                remedy="Annotate every parameter; *args and **kwargs cannot be described to a model.",
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (parameter.annotation, default)
    made: type[BaseModel] = create_model(  # type: ignore[call-overload]
        f"{label}_arguments", __config__=ConfigDict(extra="forbid"), **fields
    )
    return made
