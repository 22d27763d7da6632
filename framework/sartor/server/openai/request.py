"""The body of a chat request, as OpenAI's clients send it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sartor.server.failures import Failure

__all__ = ["ChatMessage", "ChatRequest", "ToolSpec", "refuse_unsupported"]

_FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
_Plain = r"^[^\x00-\x1f\x7f]*$"

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "web_search_options": (),
    "moderation": (),
}
"""Parameters that change what comes back in a way that no bot can do, and the values that change nothing."""


class ContentPart(BaseModel):
    """A part of a message. Only text can be read."""

    type: str = Field(max_length=64)
    text: str | None = None
    refusal: str | None = None


class CalledFunction(BaseModel):
    """The function of a tool call, and its arguments as JSON text."""

    name: str = Field(max_length=200)
    arguments: str = ""


class CallSpec(BaseModel):
    """A tool call that an earlier answer wanted."""

    id: str = Field(max_length=200)
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    """A message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[CallSpec] | None = None
    tool_call_id: str | None = Field(default=None, max_length=200)
    refusal: str | None = None


class FunctionSpec(BaseModel):
    """A function that the caller can run."""

    name: _FunctionName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    """A JSON Schema of an object."""
    acts: bool = False
    """Our own: whether it changes something. Then untrusted text alone (a document, a tool's result) cannot call it."""


class ToolSpec(BaseModel):
    """A tool of the caller's."""

    type: Literal["function"]
    function: FunctionSpec


class FunctionRef(BaseModel):
    """A function by its name."""

    name: str = Field(max_length=200)


class NamedTool(BaseModel):
    """The tool that must be used."""

    type: Literal["function"]
    function: FunctionRef


class AllowedTools(BaseModel):
    """The tools among which the model may choose."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedChoice(BaseModel):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class TextFormat(BaseModel):
    """A reply in plain text."""

    type: Literal["text"]


class ObjectFormat(BaseModel):
    """A reply that is any JSON object."""

    type: Literal["json_object"]


class NamedSchema(BaseModel):
    """A JSON Schema with a name."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(max_length=200)
    description: str | None = None
    told: dict[str, JsonValue] = Field(alias="schema")
    strict: bool | None = None


class SchemaFormat(BaseModel):
    """A reply that fits a JSON Schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class StreamOptions(BaseModel):
    """What a stream tells beside the reply."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """Messages to a bot. What is not listed here and changes nothing is ignored, as `metadata` or `service_tier`."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=200)
    """The bot: ``BOT`` or ``TENANT/BOT``."""
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[ToolSpec] | None = Field(default=None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    user: str | None = Field(default=None, max_length=300)
    """Who speaks, in the words of the host application."""
    safety_identifier: str | None = Field(default=None, max_length=300)
    """OpenAI's newer name of `user`."""
    conversation: str | None = Field(default=None, max_length=300, pattern=_Plain)
    """Our own: goes on with a stored conversation; earlier messages of this request are not read then."""
    audience: str | None = Field(default=None, max_length=63)
    """Our own: the kind of user."""
    language: str | None = Field(default=None, max_length=35)
    """Our own: the language of the bot's own texts."""


def refuse_unsupported(asked: ChatRequest) -> None:
    """Raises `Failure` 400 for a parameter that would have to change what comes back, and cannot."""
    for name, neutral in _NEUTRAL.items():
        value = (asked.model_extra or {}).get(name)
        if value is not None and value not in neutral:
            remedy = " Use `tools` instead." if name.startswith("function") else ""
            message = f"{name} is not supported by this server; leave it out.{remedy}"
            raise Failure(400, message, code="unsupported_parameter", param=name)
