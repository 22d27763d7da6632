"""What a request for a response may say. Fields that are not here are ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag

__all__ = [
    "AllowedTools",
    "ConversationReference",
    "FunctionCallItem",
    "FunctionCallOutputItem",
    "FunctionTool",
    "ImagePart",
    "Item",
    "ItemReference",
    "MessageItem",
    "NamedTool",
    "Part",
    "ReasoningItem",
    "RefusalPart",
    "ResponseRequest",
    "TextConfig",
    "TextFormat",
    "TextPart",
]


class TextPart(BaseModel):
    """Text of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class RefusalPart(BaseModel):
    """A refusal that the bot gave earlier."""

    type: Literal["refusal"]
    refusal: str


class ImagePart(BaseModel):
    """An image: bots do not see it, and are told that there was one."""

    type: Literal["input_image"]


def _kind(value: object) -> str:
    """The `type` of what a client sent, or of what was made of it."""
    found = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return found if isinstance(found, str) else ""


def _kind_of_part(value: object) -> str:
    kind = _kind(value)
    return "text" if kind in ("input_text", "output_text") else kind


Part = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[RefusalPart, Tag("refusal")]
    | Annotated[ImagePart, Tag("input_image")],
    Discriminator(
        _kind_of_part,
        custom_error_type="unsupported",
        custom_error_message="content is text here: files are ingested as documents, and nothing else is read",
    ),
]


def _text_or_parts(value: object) -> str:
    return "text" if isinstance(value, str) else "parts"


Content = Annotated[Annotated[str, Tag("text")] | Annotated[list[Part], Tag("parts")], Discriminator(_text_or_parts)]


class MessageItem(BaseModel):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class FunctionCallItem(BaseModel):
    """A call of a tool of the caller's, as an earlier response gave it."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=64)
    arguments: str


class FunctionCallOutputItem(BaseModel):
    """What came of such a call."""

    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1, max_length=200)
    output: Content


class ItemReference(BaseModel):
    """An item of an earlier response, by its id."""

    type: Literal["item_reference"] | None = "item_reference"
    id: str = Field(min_length=1, max_length=200)


class ReasoningItem(BaseModel):
    """What a model thought: bots give none, and pass it over."""

    type: Literal["reasoning"]


def _kind_of_item(value: object) -> str:
    if kind := _kind(value):
        return kind
    has_role = "role" in value if isinstance(value, dict) else hasattr(value, "role")
    return "message" if has_role else "item_reference"


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(
        _kind_of_item,
        custom_error_type="unsupported",
        custom_error_message="items are message, function_call, function_call_output, item_reference, reasoning here",
    ),
]


def _text_or_items(value: object) -> str:
    return "text" if isinstance(value, str) else "items"


class FunctionTool(BaseModel):
    """A tool that the caller runs itself."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None
    """Told back only."""
    acts: bool = False
    """Whether it changes something: then text of documents and tools alone cannot call it; an addition of ours."""


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")],
    Discriminator(
        _kind,
        custom_error_type="unsupported",
        custom_error_message="tools are of type function here: what else a bot can do stands in its bot.yaml",
    ),
]


class NamedTool(BaseModel):
    """One tool, by its name."""

    type: Literal["function"] = "function"
    name: str = Field(min_length=1, max_length=64)


class AllowedTools(BaseModel):
    """The tools that may be used in this response."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "none", "required"] = "auto"
    tools: list[NamedTool] = Field(min_length=1, max_length=128)


class TextFormat(BaseModel):
    """How the text of the response has to look."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = Field(default="response", max_length=64)
    description: str | None = None
    json_schema: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextConfig(BaseModel):
    """How the response is written."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ConversationReference(BaseModel):
    """A conversation, by its id."""

    id: str = Field(min_length=1, max_length=300)


class ResponseRequest(BaseModel):
    """A request for a response."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1, max_length=200)
    """The bot: ``BOT`` or ``TENANT/BOT``."""
    input: (
        Annotated[Annotated[str, Tag("text")] | Annotated[list[Item], Tag("items")], Discriminator(_text_or_items)]
        | None
    ) = None
    instructions: str | None = None
    """Further instructions, as the tenant's own words, for this response only."""
    previous_response_id: str | None = Field(default=None, max_length=200)
    conversation: str | ConversationReference | None = None
    """A conversation to go on with, or to begin under this id."""
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | AllowedTools | None = None
    text: TextConfig | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    """No more than `limits.reply_tokens` of the bot."""
    max_tool_calls: int | None = Field(default=None, ge=1)
    """Told back only: `limits.tool_steps` of the bot counts."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=16
    )
    """Told back, and kept with the response."""
    stream: bool | None = None
    store: bool | None = None
    """False: the response cannot be found again through this API."""
    background: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = Field(default=None, max_length=300)
    """Who speaks, in the words of the host application."""
    safety_identifier: str | None = Field(default=None, max_length=300)
    """The same; `user` counts where both are given."""
    prompt_cache_key: str | None = Field(default=None, max_length=300)
    prompt: dict[str, JsonValue] | None = None
    audience: str | None = Field(default=None, max_length=63)
    """The kind of user; an addition of ours."""
    language: str | None = Field(default=None, max_length=35)
    """The language of the bot's own texts; an addition of ours."""
