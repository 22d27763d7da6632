"""How turns look in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from sartor.values import FlowNote, Outcome, Reply, ToolUse

__all__ = ["choices", "citations", "console", "flow_lines", "footer", "tool_line", "visible", "why"]

console = Console(highlight=False, emoji=False)

_MARKS = {
    Outcome.ANSWERED: ("answered", "green"),
    Outcome.UNKNOWN: ("not in the documents", "yellow"),
    Outcome.BLOCKED: ("blocked by policy", "red"),
    Outcome.FAILED: ("failed", "red"),
    Outcome.CALLS: ("wants a tool of the caller's", "yellow"),
    Outcome.HANDED_OVER: ("handed over to a person", "magenta"),
    Outcome.SILENT: ("passed on to a person", "magenta"),
    Outcome.CANCELLED: ("cancelled", "yellow"),
}


def citations(reply: Reply) -> Iterator[RenderableType]:
    """A line for each source that the reply cites."""
    for citation in reply.citations:
        yield Text.assemble(
            ("  ↳ ", "dim"),
            (f"[{citation.number}] ", "cyan"),
            (visible(citation.source), "cyan"),
            (f"  {visible(citation.title)}" if citation.title else "", "dim"),
        )


def tool_line(use: ToolUse) -> RenderableType:
    """A tool call and what it gave, on one line."""
    told = ", ".join(f"{name}={value!r}" for name, value in use.call.arguments.items())
    result = visible(use.result.text)
    result = result if len(result) < 160 else f"{result[:159]}…"
    return Text.assemble(
        ("  ⚙ ", "dim"),
        (f"{use.call.name}({told})", "magenta"),
        (" → ", "dim"),
        (result, "red" if use.result.error else "dim"),
    )


def footer(reply: Reply) -> RenderableType:
    """Outcome, tokens and seconds of a turn, on one line."""
    mark, colour = _MARKS[reply.outcome]
    usage = reply.usage
    tokens = f"{usage.prompt} prompt tokens ({usage.cached} cached), {usage.generated} generated"
    by = "".join(f" ({verdict.policy})" for verdict in reply.verdicts[-1:] if reply.outcome is Outcome.BLOCKED)
    return Text.assemble(
        ("  ", ""),
        (mark + by, colour),
        (f" · {tokens} · {reply.seconds.get('total', 0):.2f} s", "dim"),
        (f"\n  {reply.error}" if reply.error else "", "red"),
    )


def why(reply: Reply) -> RenderableType:
    """Everything that explains a turn: passages, verdicts, tool calls, tokens, times."""
    parts: list[RenderableType] = []
    for number, passage in enumerate(reply.passages, start=1):
        told = ", ".join(f"{kind} {share:.2f}" for kind, share in passage.parts.items())
        head = (f"[{number}] {visible(passage.source)}", "cyan"), (f"  {visible(passage.title)}", "dim")
        parts.append(
            Text.assemble(*head, (f"  {passage.score:.2f} ({told})" if told else f"  {passage.score:.2f}", ""))
        )
        text = " ".join(visible(passage.text).split())
        parts.append(Padding(Text(text if len(text) <= 240 else f"{text[:239]}…", "dim"), (0, 0, 0, 4)))
    parts += [tool_line(use) for use in reply.tools]
    if reply.flow:
        parts.append(flow_lines(reply.flow))
    for verdict in reply.verdicts:
        about = f" {visible(verdict.subject)}" if verdict.subject else ""
        told = f"⚖ {verdict.policy}: {verdict.kind} at {verdict.stage}{about}"
        parts.append(Text.assemble((told, "yellow"), (f"  {visible(verdict.reason)}", "dim")))
    times = " · ".join(f"{phase.replace('_', ' ')} {seconds:.3f} s" for phase, seconds in reply.seconds.items())
    parts.append(Text(f"{reply.turn.tenant}/{reply.turn.bot} · model {reply.model} · turn {reply.turn.id}", "dim"))
    parts.append(Text(times, "dim"))
    parts.append(footer(reply))
    return Padding(Group(*parts), (0, 0, 0, 2))


def choices(note: FlowNote, *, numbered: bool) -> Text:
    """What may be answered, with the numbers that a user of the terminal may type where they are `numbered`."""
    told = Text()
    for number, option in enumerate(note.options, start=1):
        told.append("  ").append(f"[{number}] " if numbered else "", "cyan").append(visible(option), "dim")
    return told


def flow_lines(note: FlowNote) -> Text:
    """A flow, what it waits for, and what it knows."""
    told = Text.assemble((f"⇢ {note.name}", "magenta"), f": {note.stage}{f' {note.slot}' if note.slot else ''}")
    for name, value in note.values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        told.append(f"\n    {name}: {visible(shown)}", "dim")
    return told


_CONTROLS = {code: None for code in (*range(9), *range(11, 32), *range(127, 160))}


def visible(text: str) -> str:
    """`text` without control characters, but for line feeds and tabs: a document must not steer the terminal."""
    return text.translate(_CONTROLS)
