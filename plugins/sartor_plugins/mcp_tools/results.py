"""The result of a tool of an MCP server, as text for the model."""

from __future__ import annotations

import json

from mcp_types import AudioContent, CallToolResult, EmbeddedResource, ImageContent, ResourceLink, TextContent
from sartor.errors import ToolError
from sartor.values import JSONValue

__all__ = ["shown"]

_LONGEST = 1_000_000
"""Characters that are looked at; the bot's own limit is far below."""


def shown(result: CallToolResult) -> str:
    """Texts and structured content; of anything else, that it was left out. Raises `ToolError` for a result that is an
    error."""
    texts = [text for block in result.content if (text := _text(block))]
    if result.structured_content is not None and not _said(result.structured_content, texts):
        texts.append(json.dumps(result.structured_content, ensure_ascii=False, default=str))
    text = "\n".join(texts)[:_LONGEST]
    if result.is_error:
        raise ToolError(text or "the server says that it failed, and not why")
    return text or "done"


def _text(block: object) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return f"(an image, {block.mime_type}, is left out)"
        case AudioContent():
            return f"(a sound, {block.mime_type}, is left out)"
        case ResourceLink():
            return f"{block.name}: {block.uri}"
        case EmbeddedResource():
            told = getattr(block.resource, "text", None)
            return str(told) if told is not None else f"(a file, {block.resource.uri}, is left out)"
        case _:
            return "(something that is no text is left out)"


def _said(structured: JSONValue, texts: list[str]) -> bool:
    """Whether the texts say the same, as they should for clients that know no structured content."""
    inner = structured.get("result") if isinstance(structured, dict) and len(structured) == 1 else None
    parsed = [value for text in texts if (value := _json(text)) is not None]
    if isinstance(inner, list) and parsed == inner:
        return True
    return structured in parsed or (inner is not None and (inner in parsed or inner in texts or inner == texts))


def _json(text: str) -> JSONValue:
    try:
        value: JSONValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value
