"""The settings that such plugins have in common."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator
from sartor.plugin import PluginSettings
from sartor.values import JSONValue

__all__ = ["ArgumentSettings", "Pattern", "RequestSettings", "ToolName", "ToolSettings", "schema_of"]


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_is_pattern)]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
"""What a model can call."""


class ToolSettings(PluginSettings):
    """One tool, whatever is behind it."""

    audiences: list[str] = Field(default_factory=list)
    """Only these audiences may use it; empty: all."""
    from_user: list[str] | dict[str, Pattern] = Field(default_factory=list)
    """Arguments that must be the user's own words, such as an order number. As a mapping, each with the regular
    expression of what it looks like."""
    bind: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments that the model can neither see nor set: ``turn:user``, ``turn:tenant``, ``turn:attributes.NAME``, or a
    value that is always the same."""
    timeout: float = Field(default=10, gt=0, le=600)
    """Seconds that one call may take, with everything that is tried again."""


class ArgumentSettings(PluginSettings):
    """One argument of a tool."""

    type: Literal["text", "integer", "number", "boolean", "date"] = "text"
    describe: str = ""
    """What it is, for the model."""
    pattern: Pattern = ""
    """What a text must look like as a whole, as a regular expression."""
    choices: list[str | int | float] = Field(default_factory=list)
    """The only values that it may have."""
    longest: int = Field(default=500, ge=1)
    """Characters that a text may have."""
    optional: bool = False
    """Whether the model may leave it out."""
    default: JsonValue = None
    """The value of an optional one that is left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.default is not None and not self.optional:
            raise ValueError("only an optional argument has a default")
        if self.pattern and self.type != "text":
            raise ValueError("only a text has a pattern")
        return self


_TYPES = {"text": "string", "date": "string"}


def schema_of(arguments: dict[str, ArgumentSettings]) -> dict[str, JSONValue]:
    """The JSON Schema of declared arguments."""
    properties: dict[str, JSONValue] = {}
    for name, told in arguments.items():
        one: dict[str, JSONValue] = {"type": _TYPES.get(told.type, told.type)}
        if told.describe:
            one["description"] = told.describe
        if told.choices:
            one["enum"] = list(told.choices)
        elif told.type == "text":
            one["maxLength"] = told.longest
        if told.pattern:
            one["pattern"] = f"^(?:{told.pattern})$"
        if told.type == "date":
            one["format"] = "date"
            one["pattern"] = r"^\d{4}-\d{2}-\d{2}$"
        properties[name] = one
    required: list[JSONValue] = [name for name, told in arguments.items() if not told.optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


class RequestSettings(PluginSettings):
    """How a service is asked."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of each request. A value, or its last word, may be a reference: ``Bearer env:CRM_TOKEN``,
    ``file:token``, or, for a credential of the user's own, ``Bearer turn:attributes.crm_token``."""
    query: dict[str, str] = Field(default_factory=dict)
    """Query parameters of each request, for services that want their key there. References as in `headers`."""
    basic: list[str] = Field(default_factory=list, max_length=2)
    """User and password for HTTP's basic authentication; each may be a reference."""
    retries: int = Field(default=2, ge=0, le=5)
    """How often a request is sent again when nobody answered, or with 429, 502, 503 or 504: one that changes nothing
    (GET, HEAD, OPTIONS, PUT, DELETE), one with an idempotency key, and any that cannot have arrived."""
    idempotency_header: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$")
    """The header in which the service takes an idempotency key, such as ``Idempotency-Key``. The same call in the same
    turn has the same key."""
    failures: int = Field(default=5, ge=1)
    """After so many failures in a row a tool is not tried again for `rest` seconds."""
    rest: float = Field(default=30, ge=0)
    response_bytes: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    """A longer answer is an error."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if len(self.basic) == 1:
            raise ValueError("`basic` is a list of two: user and password")
        return self
