"""What the YAML files may say: one pydantic model for each kind of file, nothing unknown allowed.

Vendors' options (of a model, an index, a policy) are no part of it: they stand under a plugin's name and are
checked by that plugin's own settings.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)

from sartor.errors import SpecError
from sartor.flows.spec import FlowName, FlowReplies, FlowSpec
from sartor.handover.spec import HandOverSpec
from sartor.isolationspec import IsolationSpec
from sartor.layers import Merged
from sartor.servicespec import ServiceSpec, UsersSpec, WebSpec
from sartor.specbase import Name, Settings, Spec, TimeZone
from sartor.texts import Text
from sartor.yamlfile import KeyPath

__all__ = [
    "AudienceSpec",
    "BotSpec",
    "Grounding",
    "IsolationSpec",
    "Limits",
    "PlanSpec",
    "PluginUse",
    "PriceSpec",
    "ProjectSpec",
    "Replies",
    "Retrieval",
    "ServiceSpec",
    "TemplateSpec",
    "TenantSpec",
    "UsersSpec",
    "ValueSpec",
    "WebSpec",
    "check",
]


class Replies(Spec):
    """The bot's own texts for moments in which the model does not speak, or must say exactly this."""

    greeting: Text = {
        "en": "Hello! How can I help you?",
        "fr": "Bonjour ! Comment puis-je vous aider ?",
    }
    """What the bot answers to a greeting."""
    unknown: Text = {
        "en": "I could not find that in our documents.",
        "fr": "Je n'ai pas trouvé cela dans nos documents.",
    }
    """What it says when the documents do not tell."""
    blocked: Text = {
        "en": "I cannot help with that here.",
        "fr": "Je ne peux pas vous aider sur ce point ici.",
    }
    """What it says when a policy blocks and names no message of its own."""
    failed: Text = {
        "en": "Sorry, something went wrong. Please try again later.",
        "fr": "Désolé, une erreur s'est produite. Veuillez réessayer plus tard.",
    }
    """What it says when the model fails, or the turn takes too long."""

    @field_validator("unknown", "blocked", "failed")
    @classmethod
    def _something(cls, value: Text) -> Text:
        texts = [value] if isinstance(value, str) else list(value.values())
        if not texts or not all(text.strip() for text in texts):
            raise ValueError("the bot must have something to say here")
        return value


class Grounding(Spec):
    """How replies are tied to the documents."""

    mode: Literal["quote", "free"] = "free"
    """``quote``: the reply consists of verbatim sentences of the passages, of tool results, and of `replies`.
    ``free``: the model writes, and citations that point to no passage are taken out."""
    max_quotes: int = Field(default=1, ge=1, le=5)
    """How many sentences a quoted reply may have."""
    candidates: int = Field(default=24, ge=1, le=200)
    """How many sentences of the passages the model chooses among: those that share most with the question."""
    prior: float | None = Field(default=None, ge=0, le=20)
    """How much the words that a sentence shares with the question count beside the model's own judgement. By
    default what the model suggests for itself (the built-in one 6), or 1."""
    doubt: float = Field(default=0.3, ge=0, le=1)
    """The share of the question's informative words at which a sentence weighs as much as saying that the documents
    do not tell. Higher: fewer wrong answers, and more questions left open."""
    tool_results: Literal["checked", "verbatim"] = "checked"
    """In mode ``quote``: ``checked`` lets the model phrase a tool's result, and shows the result itself when the
    phrase has a number, date, code or name that is neither in the result nor in the question. ``verbatim``
    always shows the result itself."""


def _short_grounding(value: object) -> object:
    return {"mode": value} if isinstance(value, str) else value


class Retrieval(Spec):
    """Which passages reach the model."""

    passages: int = Field(default=4, ge=0, le=50)
    """At most so many a turn; 0 switches retrieval off."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Passages that score lower are left out."""
    words: int = Field(default=120, ge=20, le=1000)
    """Words in a passage, when documents are cut at ingestion."""


class Limits(Spec):
    """Bounds of one turn."""

    turn_seconds: float = Field(default=120, gt=0, le=3600)
    tool_seconds: float = Field(default=10, gt=0, le=600)
    tool_steps: int = Field(default=4, ge=0, le=32)
    """How often the model may ask for tools before it has to answer."""
    tool_characters: int = Field(default=4000, ge=100, le=200_000)
    """Longest tool result that the model is shown."""
    question_characters: int = Field(default=4000, ge=1, le=200_000)
    reply_tokens: int = Field(default=512, ge=1, le=32_768)
    history_turns: int = Field(default=6, ge=0, le=100)
    """Earlier turns of the conversation that the model is shown, at most. In longer ones the oldest are left out
    several at a time, so that the next prompts begin alike and need not be read from the start; half are always shown.
    """

    @property
    def history_step(self) -> int:
        """How many turns are left out at a time."""
        return max(1, self.history_turns // 2)


class AudienceSpec(Spec):
    """What differs for one kind of user."""

    instructions: list[str] | str = []


class BotSpec(Spec):
    """The effective `bot.yaml`: template and layers merged, placeholders filled."""

    template: str = ""
    """``NAME@VERSION`` of the template that the bot is made from."""
    values: Settings = {}
    title: str = ""
    """How the bot is called in front of users."""
    languages: list[str] = Field(default=["en"], min_length=1)
    """BCP 47 tags; the first is the default."""
    model: str = ""
    """A name under `models` in `sartor.yaml`; empty: the project's default."""
    instructions: list[str] | str = []
    """What the model is told about its part, one paragraph each. Layers append."""
    audiences: dict[Name, AudienceSpec] = {}
    replies: Replies = Replies()
    grounding: Annotated[Grounding, BeforeValidator(_short_grounding)] = Grounding()
    retrieval: Retrieval = Retrieval()
    limits: Limits = Limits()
    timezone: TimeZone = "UTC"
    """Where the bot's users are, as the IANA database calls it (``Europe/Paris``): what "tomorrow" means in a flow."""
    flows: dict[FlowName, FlowSpec] = {}
    """What must not be improvised, by name: what to ask for, to repeat, and to do."""
    flow_replies: FlowReplies = FlowReplies()
    """What flows say beside their own texts."""
    hand_over: HandOverSpec | None = None
    """How and when a person takes a conversation over; left out: never."""
    web: WebSpec = WebSpec()
    plugins: dict[str, Settings] = {}
    """The plugins of this bot and their settings; their policies are asked in this order."""


class PluginUse(BaseModel):
    """A part of the project that a plugin gives: its name, and beside it the plugin's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str

    @property
    def settings(self) -> Settings:
        return dict(self.__pydantic_extra__ or {})


class PlanSpec(Spec):
    """What the tenants of a plan may have."""

    share: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Of the model, where several tenants want more than there is: one with ``share: 2`` gets twice as many tokens
    computed as one with 1."""


class PriceSpec(Spec):
    """What a million tokens of a model cost, in a currency of your choice."""

    prompt: float = Field(default=0, ge=0)
    """Tokens of prompts that are computed."""
    cached: float | None = Field(default=None, ge=0)
    """Tokens of prompts that were computed before; by default as much as the others."""
    generated: float = Field(default=0, ge=0)
    """Tokens that the model says."""


class ProjectSpec(Spec):
    """`sartor.yaml`."""

    model: str = "builtin"
    """The entry of `models` that bots speak with unless they name another."""
    models: dict[str, PluginUse] = {"builtin": PluginUse.model_validate({"plugin": "llama", "path": "builtin"})}
    prices: dict[str, PriceSpec] = {}
    """What models cost, by their name under `models`: for `sartor compare` and the `cost` of a conversation test."""
    embeddings: PluginUse | None = PluginUse(plugin="ngrams")
    """Null: keyword search only."""
    index: PluginUse = PluginUse(plugin="chroma")
    readers: list[str] = ["documents"]
    """Plugins that read document files; the first that knows a suffix reads it."""
    state: str = "sqlite:///state/sartor.db"
    """The state database; a relative path counts from the project. ``env:NAME`` takes it from the environment."""
    data: str = "state/tenants"
    """Folder of the search indexes, one folder a tenant."""
    model_folder: str = "models"
    """Folder that `sartor model pull` puts model files into; a relative path counts from the project."""
    tenant_plugins: list[str] | None = None
    """The plugins that a `tenant.yaml` or `bot.yaml` may name, beside its template's and those of `bots`. Null: any."""
    isolated_plugins: dict[str, IsolationSpec] = {}
    """Plugins whose code is not trusted, by name: their tools run in processes of their own, within limits.
    No template, `tenant.yaml` or `bot.yaml` can take that off."""
    locked: bool = False
    """Whether only the plugins in `sartor.lock` may start, and those only as they were when it was written."""
    service: ServiceSpec = ServiceSpec()
    observers: dict[str, Settings] = {}
    """Plugins that are told what happens in turns, with their settings."""
    plans: dict[str, PlanSpec] = {}
    """Plans by name; a `tenant.yaml` names its own with `plan`."""
    bots: Settings = {}
    """The operator's layer over every template: keys of `bot.yaml`."""


class TenantSpec(Spec):
    """`tenants/NAME/tenant.yaml`."""

    name: str = ""
    """The company's name, for people."""
    plan: str = ""
    """One of `plans` in `sartor.yaml`; empty: what a plan without settings gives."""
    users: UsersSpec | None = None
    """How this tenant's application signs who its users are."""
    bots: Settings = {}
    """The tenant's layer over all of its bots: keys of `bot.yaml`."""


class ValueSpec(Spec):
    """A question that a template asks when a bot is made from it."""

    ask: str
    """The question, for a person."""
    type: Literal["text", "integer", "number", "boolean", "email", "url", "timezone", "choice"] = "text"
    default: JsonValue = None
    """Taken when nothing is given; without it, the value must be given."""
    choices: list[str] = []
    example: str = ""


class TemplateSpec(Spec):
    """`template.yaml`."""

    name: Name
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    """Semantic version; its first number is the one in ``NAME@VERSION``."""
    title: str
    description: str
    values: dict[str, ValueSpec] = {}
    public_instructions: bool = False
    """Whether the paragraphs of `instructions` in its `bot.yaml` that come before the first one with a value may be
    computed once for all tenants. They hold nothing of a tenant; from the time of a first answer one can learn that
    somebody else has such a bot."""


S = TypeVar("S", bound=BaseModel)


def check(model: type[S], merged: Merged, kind: str) -> S:
    """`merged.data` as a `model`. Raises `SpecError` that names file, line, key and remedy for every fault.

    `kind` is what the file is called in the message, such as ``bot.yaml``.
    """
    try:
        return model.model_validate(merged.data)
    except ValidationError as error:
        faults = [_fault(model, merged, dict(fault)) for fault in error.errors(include_url=False)]
    first, *others = dict.fromkeys(faults)
    where, what, remedy = first
    if not others:
        raise SpecError(what, where=where or kind, remedy=remedy)
    told = [(place or kind, f"{text} ({hint})" if hint else text) for place, text, hint in (first, *others)]
    more = "".join(f"\n{place}: {text}" for place, text in told[1:])
    raise SpecError(told[0][1] + more, where=told[0][0])


def _fault(model: type[BaseModel], merged: Merged, fault: dict[str, object]) -> tuple[str | None, str, str | None]:
    location: KeyPath = tuple(fault["loc"])  # type: ignore[arg-type]
    key = tuple(part for at, part in enumerate(location) if _in_data(merged.data, location[: at + 1]))
    shown = ".".join(map(str, key)) or "the file"
    where = merged.place(key)
    if fault["type"] == "extra_forbidden":
        name = str(location[-1])
        known = sorted(_fields(model, location[:-1]))
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
        return where, f"unknown key {name!r}", hint
    if fault["type"] == "missing":
        return where, f"{'.'.join(map(str, location))} is missing", None
    return where, f"{shown}: {str(fault['msg'])[:1].lower()}{str(fault['msg'])[1:]}", None


def _in_data(data: Any, key: KeyPath) -> bool:
    for part in key:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _fields(model: type[BaseModel], key: KeyPath) -> set[str]:
    """The keys that may stand where `key` points, found by walking the models along it."""
    current: object = model
    for part in key:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _model_in(fields[part].annotation)
        elif not isinstance(part, int) and current is None:
            return set()
    return set(getattr(current, "model_fields", {}))


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None
