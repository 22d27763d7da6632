"""What a request asks of the model and of its tools."""

from __future__ import annotations

from sartor.server.failures import Failure
from sartor.server.openai.callers import caller_tool
from sartor.server.openai.responses_objects import Echo
from sartor.server.openai.responses_request import AllowedTools, NamedTool, ResponseRequest, TextFormat
from sartor.values import CallerTool, JSONValue

__all__ = ["echo_of", "model_options", "tools_of"]


def tools_of(asked: ResponseRequest) -> tuple[tuple[CallerTool, ...], str]:
    """The caller's tools that may be used, and what is chosen among them."""
    tools = [
        caller_tool(tool.name, tool.description, tool.parameters, acts=tool.acts, place=f"tools.{at}")
        for at, tool in enumerate(asked.tools or ())
    ]
    match asked.tool_choice:
        case AllowedTools(mode=mode, tools=allowed):
            names = {tool.name for tool in allowed}
            if unknown := sorted(names - {tool.name for tool in tools}):
                message = f"tool_choice allows {unknown[0]!r}, and there is no such tool"
                raise Failure(400, message, code="invalid_value", param="tool_choice")
            return tuple(tool for tool in tools if tool.name in names), mode
        case NamedTool(name=name):
            if name not in {tool.name for tool in tools}:
                message = f"tool_choice names {name!r}, which is not among the tools"
                raise Failure(400, message, code="invalid_value", param="tool_choice")
            return tuple(tools), name
        case choice:
            return tuple(tools), choice or "auto"


def model_options(asked: ResponseRequest) -> dict[str, JSONValue]:
    """What the model is asked for."""
    told: dict[str, JSONValue] = {
        "max_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p if asked.top_p is None else max(asked.top_p, 1e-6),  # 0: nothing could be chosen
        "response_format": _response_format(asked.text.format if asked.text else None),
    }
    return {name: value for name, value in told.items() if value is not None}


def _response_format(format_: TextFormat | None) -> dict[str, JSONValue] | None:
    if format_ is None or format_.type == "text":
        return None
    if format_.type == "json_object":
        return {"type": "json_object"}
    if format_.json_schema is None:
        raise Failure(400, "a format of type json_schema needs a schema", code="missing", param="text.format.schema")
    schema: dict[str, JSONValue] = {"name": format_.name, "schema": format_.json_schema}
    return {"type": "json_schema", "json_schema": {**schema, "strict": bool(format_.strict)}}


def echo_of(asked: ResponseRequest) -> Echo:
    """What the request said, as it is told back and kept."""
    text = asked.text or None
    format_ = (text.format if text else None) or TextFormat()
    formatted: dict[str, JSONValue] = {"type": format_.type}
    if format_.type == "json_schema":  # the specification wants the schema itself to be null here
        formatted |= {"name": format_.name, "description": format_.description, "schema": None}
        formatted["strict"] = bool(format_.strict)
    told: dict[str, JSONValue] = {
        "instructions": asked.instructions,
        "tools": [tool.model_dump(mode="json") for tool in asked.tools or ()],
        "tool_choice": _shown_choice(asked),
        "text": {"format": formatted, **({"verbosity": text.verbosity} if text and text.verbosity else {})},
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "metadata": {**(asked.metadata or {})},
        "user": asked.user,
        "safety_identifier": asked.safety_identifier,
        "prompt_cache_key": asked.prompt_cache_key,
        "truncation": asked.truncation,
        "store": asked.store,
    }
    return Echo.model_validate({name: value for name, value in told.items() if value is not None})


def _shown_choice(asked: ResponseRequest) -> JSONValue:
    choice = asked.tool_choice
    return choice.model_dump(mode="json") if isinstance(choice, NamedTool | AllowedTools) else choice
