"""The values that a turn is made of: small, frozen, without behaviour of their own.

Nothing here imports more than the standard library, so every other module and every plugin may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

__all__ = [
    "NO_USAGE",
    "ArgumentOrigins",
    "BotInfo",
    "CallerTool",
    "Choices",
    "Chunk",
    "Citation",
    "Delta",
    "Event",
    "Exchange",
    "Finished",
    "FlowNote",
    "HandOver",
    "Hit",
    "JSONValue",
    "Message",
    "Origin",
    "Outcome",
    "Part",
    "Passage",
    "Reply",
    "Started",
    "ToolCall",
    "ToolFinished",
    "ToolResult",
    "ToolStarted",
    "ToolUse",
    "ToolWanted",
    "Turn",
    "TurnOptions",
    "Usage",
    "VerdictRecord",
    "Workload",
]

JSONValue = str | int | float | bool | None | list["JSONValue"] | dict[str, "JSONValue"]


class Origin(StrEnum):
    """Who wrote a piece of text. Policies decide by it, so it is kept from the door to the prompt."""

    OPERATOR = "operator"
    """The company that runs Sartor: templates, `sartor.yaml`, plugins."""
    TENANT = "tenant"
    """The tenant's administrator: `bot.yaml`, values."""
    USER = "user"
    """The person who talks to the bot."""
    DOCUMENT = "document"
    """A passage of the tenant's documents: data, never instructions."""
    TOOL = "tool"
    """A result of a tool: data, never instructions."""
    MODEL = "model"
    """The model itself."""

    @property
    def trusted(self) -> bool:
        """Whether the text may give the model instructions."""
        return self in (Origin.OPERATOR, Origin.TENANT)


@dataclass(frozen=True, slots=True)
class BotInfo:
    """Which bot a plugin is building parts for: all that a building hook may know of it."""

    tenant: str
    bot: str
    directory: Path
    """The bot's folder in the project (`tenants/acme/support`), to be read only."""
    data: Path
    """The tenant's own folder for indexes; erasing the tenant removes it."""
    language: str = "en"
    """The bot's first language, as a BCP 47 tag."""
    values: Mapping[str, JSONValue] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`tenant/bot`, as users write it."""
        return f"{self.tenant}/{self.bot}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a user and whose it is. Policies, tools and retrievers are given it."""

    id: str
    conversation: str
    tenant: str
    bot: str
    user: str
    """The user's id as the host application gave it; ``anonymous`` when it gave none."""
    text: str
    """What the user wrote, after the input policies."""
    audience: str = ""
    language: str = "en"
    started: datetime | None = None
    """When the turn began, with a time zone."""
    before: str = ""
    """What was said just before in this conversation: the last question and the beginning of its reply. Retrievers
    may use it to understand a question such as "And abroad?"."""
    attributes: Mapping[str, JSONValue] = field(default_factory=dict)
    """What the host application says of the user, such as a customer number; never what the user says."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document, as it is indexed. Ids are derived from content, so that ingesting twice is safe."""

    id: str
    tenant: str
    bot: str
    source: str
    """Where the text is from, relative to the bot's knowledge folder: ``delivery.md``, ``prices.pdf#page=3``."""
    title: str
    """The document's title and the headings above the text: ``Delivery › Abroad``."""
    text: str
    position: int
    """The chunk's number within its document, from 0."""
    audience: str = ""
    """The only audience that may see it; empty for everybody."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What an index found: the id of a chunk, how well it fits (0 to 1, higher is better), and why."""

    chunk: str
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """The share of each kind of search, such as ``{"keywords": 0.8, "vectors": 0.6}``."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a tenant's document, found for a turn."""

    id: str
    tenant: str
    source: str
    title: str
    text: str
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    origin: Origin = Origin.DOCUMENT


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a statement of a reply comes from: `number` is what the text shows in brackets."""

    number: int
    passage: str
    source: str
    title: str
    quote: str = ""
    """The sentence as the document has it; empty where the model wrote freely."""


ArgumentOrigins = Mapping[str, frozenset[Origin]]
"""For each argument of a tool call: in whose text its value was found (empty: the model made it up)."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants to use, before the policies were asked."""

    id: str
    name: str
    arguments: Mapping[str, JSONValue]
    origins: ArgumentOrigins = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back, as the model sees it: text, bounded, of origin `tool`."""

    call: str
    name: str
    text: str
    error: bool = False
    seconds: float = 0.0
    refused: bool = False
    """Whether the tool itself said that it could not do it (`ToolError`), so that nothing was done. It is not stored.
    """


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a prompt and who wrote it."""

    text: str
    origin: Origin
    public: bool = False
    """Whether it is the same for every tenant, and what a model computes for it may serve all of them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt: its role, and the parts that it is made of.

    Roles: ``system``, ``user``, ``assistant``, ``tool``. `calls` are the tool calls of an assistant's
    message; `call` is the id that a tool's message answers.
    """

    role: str
    parts: tuple[Part, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call: str = ""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a reply may consist of, where the model may not write freely.

    A model whose attribute `supports_choices` is true takes it as the keyword argument `choices` of
    `astream`, and answers with one of `texts` (up to `at_most` of them, joined by a blank, none twice) or,
    when tools are bound, with a tool call. Others are free, and their reply is checked afterwards.
    """

    texts: tuple[str, ...]
    weights: tuple[float, ...] = ()
    """Prior weight of each text, greater than 0; all equal when empty. Only texts from 0 to `quotes` may be
    combined; later ones stand alone (a greeting, "I do not know")."""
    quotes: int = 0
    at_most: int = 1
    call: float = 1.0
    """Prior weight of a tool call, where tools are bound."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn, summed over its model calls."""

    prompt: int = 0
    cached: int = 0
    """Those of `prompt` that were not computed again."""
    generated: int = 0
    calls: int = 0
    """How often the model was called."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.generated + other.generated,
            self.calls + other.calls,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Workload:
    """How busy a model is. One that has a method `workload()` which gives this is watched: see `/metrics`."""

    running: int
    """Requests that it computes."""
    waiting: int
    """Requests that wait for it."""


class Outcome(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    UNKNOWN = "unknown"
    """The documents do not tell."""
    BLOCKED = "blocked"
    """A policy said no."""
    FAILED = "failed"
    """The model failed, or the deadline passed; the user was told so."""
    CALLS = "calls"
    """The model wants tools that the caller brought: their results are expected in a further turn."""
    HANDED_OVER = "handed_over"
    """A person was called, who has the conversation from now on."""
    SILENT = "silent"
    """A person has the conversation: the message was passed on, and the bot did not answer."""
    CANCELLED = "cancelled"
    """The caller went away; the text is what had been released by then."""


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict other than a plain allow, for the audit: which policy said what, where, and why."""

    policy: str
    stage: str
    kind: str
    reason: str
    subject: str = ""
    """What was judged, where it has a name: a passage's id, a tool's name. Never text."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call and what came of it, after the policies."""

    call: ToolCall
    result: ToolResult


@dataclass(frozen=True, slots=True)
class FlowNote:
    """What became of a flow in a turn."""

    name: str
    stage: str
    """What it waits for: ``asking`` (for a slot), ``confirming``, ``changing`` (what to change). ``doing``: another
    turn is about to do it. Or how it ended: ``done``, ``left`` (by the user), ``stuck`` (three answers did not fit),
    ``unsure`` (the tool failed in a way that tells nothing), ``blocked`` (by a policy). ``refused``: the tool said no,
    and the flow waits for what to do."""
    slot: str = ""
    """The slot that was asked for."""
    values: Mapping[str, JSONValue] = field(default_factory=dict)
    """The slots that are known."""
    options: tuple[str, ...] = ()
    """What a user may answer, as they may write it: the choices, yes and no, that the slot is skipped."""
    began: bool = False
    """Whether it began in this turn."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """A conversation that a person has, or had."""

    id: str
    tenant: str
    bot: str
    user: str
    conversation: str
    reason: str
    """Why a person was called."""
    summary: str
    """What was said and done until then, for the person. Much of it is what the user wrote."""
    since: datetime
    taken_by: str = ""
    """Who spoke to the user first; empty: nobody did yet."""
    waited: bool = False
    """Whether the user was told that nobody has answered yet."""
    released: datetime | None = None
    """When the bot was given the conversation back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a turn: the text that the user was given, and everything that explains it."""

    turn: Turn
    text: str
    outcome: Outcome
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    """The passages that the model saw."""
    tools: tuple[ToolUse, ...] = ()
    verdicts: tuple[VerdictRecord, ...] = ()
    usage: Usage = NO_USAGE
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time by phase (``retrieval``, ``model``, ``tools``, ``first_text``, ``total``), in seconds."""
    model: str = ""
    """The name in `sartor.yaml` of the model that spoke."""
    error: str = ""
    """What failed, for the operator; empty unless `outcome` is ``failed``."""
    cut: bool = False
    """Whether the model was stopped by its limit of tokens. It is not stored."""
    flow: FlowNote | None = None
    """What became of a flow, where the turn was of one."""
    author: str = ""
    """The person who said it, where it was not the bot."""
    handover: HandOver | None = None
    """The hand-over that the turn led to or changed."""
    standing: Mapping[str, JSONValue] | None = None
    """Where the flows of the conversation stand from now on, as it is stored with the conversation; None: as before.
    """


@dataclass(frozen=True, slots=True)
class Started:
    """The turn has begun: its id and that of its conversation are known. Always the first event of a stream.

    The turn has no text yet, since no policy has seen it."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Delta:
    """A further piece of the reply's text, cleared by every output policy."""

    text: str
    closing: bool = False
    """Whether it is the bot's own text that ends a reply which was blocked or failed."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call that the policies let pass is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool gave a result, or an error."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class ToolWanted:
    """The model wants a tool that the caller brought, and the policies let it. The turn ends with that."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over and committed. Always the last event of a stream."""

    reply: Reply


Event = Started | Delta | ToolStarted | ToolFinished | ToolWanted | Finished


@dataclass(frozen=True, slots=True)
class Exchange:
    """An earlier turn of a conversation, as the policies let it be stored."""

    question: str
    """Empty where the bot spoke first."""
    reply: str
    author: str = ""
    """The person who said it, where it was not the bot."""


@dataclass(frozen=True, slots=True)
class CallerTool:
    """A tool that the caller of one turn brings and runs itself: the turn ends where the model wants it."""

    name: str
    description: str
    parameters: Mapping[str, JSONValue]
    """A JSON Schema of the arguments."""
    acts: bool = False
    """Whether it changes something: then untrusted text alone cannot call it, see `sartor.tools.Tool.acts`."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """What a program may bring to one turn, beside the message and who speaks.

    It is for programs that hold the tenant's key, not for users: `instructions` count as the tenant's own words.
    """

    id: str = ""
    """The turn's id, one that was never used; empty: one is made."""
    history: tuple[Exchange, ...] | None = None
    """What was said before, in place of the stored conversation."""
    instructions: tuple[str, ...] = ()
    """Further paragraphs, after those of the bot."""
    tools: tuple[CallerTool, ...] = ()
    tool_choice: str = "auto"
    """``auto``, ``none``, ``required``, or the name of a tool: for the first answer of the model in this turn."""
    parallel_calls: bool = True
    """Whether the turn may end with several calls of the caller's tools at once."""
    uses: tuple[tuple[ToolUse, ...], ...] = ()
    """The caller's tools that this message has led to already: for each answer of the model that wanted some, the
    calls and their results. Results are of origin `tool`, whoever brings them."""
    model: Mapping[str, JSONValue] = field(default_factory=dict)
    """What the model is asked for, where it knows how: ``max_tokens`` (no more than `limits.reply_tokens`),
    ``temperature``, ``top_p``, ``seed``, ``stop`` (a list), ``response_format``."""
