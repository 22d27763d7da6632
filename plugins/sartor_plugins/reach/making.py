"""Making a tool of a JSON Schema and something that is called with JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError as Mismatch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model, model_validator
from pydantic_core import PydanticCustomError
from referencing import Registry
from sartor.errors import PluginError
from sartor.tools import Tool
from sartor.values import JSONValue, Turn

from sartor_plugins.reach.breaker import Breaker, Outage
from sartor_plugins.reach.settings import ToolSettings
from sartor_plugins.reach.sources import bound, check_source

__all__ = ["Arguments", "Work", "make_tool"]

Arguments = Mapping[str, JSONValue]
Work = Callable[[Turn, Arguments], Awaitable[JSONValue]]
"""What a tool does. What it is given are the arguments by their own names, those that are bound among them."""

_NUMBERS = {"integer": r"^-?\d{1,18}$", "number": r"^-?\d{1,15}([.,]\d{1,9})?$"}
_MOST_FAULTS = 5
_LEFT_OUT = object()


def make_tool(
    name: str,
    describe: str,
    schema: Mapping[str, JSONValue],
    work: Work,
    settings: ToolSettings,
    *,
    acts: bool,
    breaker: Breaker,
) -> Tool:
    """A tool whose arguments are what `schema` says, less those that are bound.

    Raises `PluginError` when the settings name arguments that there are not, or the schema is none.
    """
    shown, numbers = _shown(name, schema, settings)
    model, names = _model(name, shown, frozenset(settings.from_user))

    async def run(turn: Turn, **given: object) -> JSONValue:
        arguments = {names[key]: cast("JSONValue", value) for key, value in given.items() if value is not _LEFT_OUT}
        for key in numbers & arguments.keys():
            told = str(arguments[key]).replace(",", ".")
            arguments[key] = float(told) if "." in told else int(told)
        arguments |= {key: bound(value, turn) for key, value in settings.bind.items()}
        with breaker.guard():
            try:
                async with asyncio.timeout(settings.timeout):
                    return await work(turn, arguments)
            except TimeoutError as error:
                raise Outage(f"there was no result within {settings.timeout:g} seconds") from error

    # A second more, so that the time limit is told and counted here.
    return Tool(
        name,
        describe,
        run,
        model,
        acts=acts,
        timeout=settings.timeout + 1,
        audiences=frozenset(settings.audiences),
        from_user=frozenset(settings.from_user),
    )


def _shown(
    name: str, schema: Mapping[str, JSONValue], settings: ToolSettings
) -> tuple[dict[str, JSONValue], frozenset[str]]:
    """`schema` as the model sees it, and the numbers that are picked out of the user's words."""
    told = schema.get("properties")
    properties = dict(told) if isinstance(told, dict) else {}
    wanted = schema.get("required")
    required = [key for key in wanted if isinstance(key, str)] if isinstance(wanted, list) else []
    for kind, keys in (("from_user", settings.from_user), ("bind", settings.bind)):
        if unknown := sorted(set(keys) - properties.keys()):
            raise PluginError(
                f"{kind} of the tool {name!r} names {unknown[0]!r}, and there is no such argument",
                remedy=f"Its arguments are: {', '.join(properties) or 'none'}.",
            )
    for key, value in settings.bind.items():
        check_source(value, f"bind of the tool {name!r}")
        if key in settings.from_user:
            raise PluginError(f"{key!r} of the tool {name!r} stands under both bind and from_user")
        del properties[key]
    numbers = set()
    for key in settings.from_user:
        found = properties[key]
        one = dict(found) if isinstance(found, dict) else {}
        said = one.get("type", "string")
        kinds = [each for each in (said if isinstance(said, list) else [said]) if each != "null"]
        taken = str(kinds[0]) if kinds else "string"
        if taken in _NUMBERS:
            one = {key: value for key, value in one.items() if key in ("description", "title")}
            one["pattern"] = _NUMBERS[taken]
            numbers.add(key)
        elif taken != "string":
            raise PluginError(f"from_user of the tool {name!r} names {key!r}, which is neither a text nor a number")
        one["type"] = "string"
        if isinstance(settings.from_user, dict) and settings.from_user[key]:
            one["pattern"] = f"^(?:{settings.from_user[key]})$"
        properties[key] = one
    left: list[JSONValue] = [key for key in required if key in properties]
    rest = {key: value for key, value in schema.items() if key in ("$defs", "definitions")}
    shown: dict[str, JSONValue] = {"type": "object", "properties": properties, "required": left, **rest}
    shown["additionalProperties"] = False
    return shown, frozenset(numbers)


def _model(
    name: str, schema: dict[str, JSONValue], from_user: frozenset[str]
) -> tuple[type[BaseModel], dict[str, str]]:
    """A pydantic model that takes what `schema` allows, and its fields with the names of the arguments. What users
    write may be in letters of either case.

    The fields have names of their own, since an argument may be called ``class`` or ``filter[name]``.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise PluginError(f"the arguments of the tool {name!r} have no valid schema: {error.message}") from error
    # With a registry of its own, a reference to elsewhere is never fetched.
    validator = Draft202012Validator(
        _either_case(schema, from_user), registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER
    )

    class Checked(BaseModel):
        model_config = ConfigDict(extra="forbid")

        @model_validator(mode="before")
        @classmethod
        def _fits(cls, given: object) -> object:
            try:
                faults = list(validator.iter_errors(given))
            except Exception as error:  # a reference to nowhere, a pattern that Python does not know
                what = "the tool's own schema cannot be used: {why}"
                raise PydanticCustomError("schema", what, {"why": type(error).__name__}) from error
            if faults:
                told = "; ".join(_fault(fault) for fault in faults[:_MOST_FAULTS])
                raise PydanticCustomError("schema", "{faults}", {"faults": told})
            return given

        @classmethod
        def model_json_schema(cls, *args: object, **kwargs: object) -> dict[str, JSONValue]:
            return schema

    properties = schema["properties"]
    assert isinstance(properties, dict)
    names = {f"a{number}": key for number, key in enumerate(properties)}
    fields: dict[str, object] = {
        field: (JsonValue, Field(default=_LEFT_OUT, alias=key)) for field, key in names.items()
    }
    model: type[BaseModel] = create_model(f"{name}_arguments", __base__=Checked, **fields)  # type: ignore[call-overload]
    return model, names


def _either_case(schema: dict[str, JSONValue], names: frozenset[str]) -> dict[str, JSONValue]:
    """`schema` with patterns of `names` that take letters of either case."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    changed: dict[str, JSONValue] = dict(properties)
    for name in names:
        told = properties[name]
        if isinstance(told, dict) and isinstance(pattern := told.get("pattern"), str):
            changed[name] = {**told, "pattern": f"(?i:{pattern})"}
    return {**schema, "properties": changed}


def _fault(fault: Mismatch) -> str:
    place = ".".join(map(str, fault.absolute_path))
    told = fault.message if len(fault.message) <= 200 else f"{fault.message[:200]}…"
    return f"{place}: {told}" if place else told
