"""How turns look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sartor.values import Outcome, Reply, ToolUse

__all__ = ["citations", "console", "footer", "tool_line", "why"]

console = Console(highlight=False, emoji=False)

_MARKS = {
    Outcome.ANSWERED: ("answered", "green"),
    Outcome.UNKNOWN: ("not in the documents", "yellow"),
    Outcome.BLOCKED: ("blocked by policy", "red"),
    Outcome.FAILED: ("failed", "red"),
    Outcome.CANCELLED: ("cancelled", "yellow"),
}


def citations(reply: Reply) -> Iterator[RenderableType]:
    """A line for each source that the reply cites."""
    for citation in reply.citations:
        yield Text.assemble(
            ("  ↳ ", "dim"),
            (f"[{citation.number}] ", "cyan"),
            (citation.source, "cyan"),
            (f"  {citation.title}" if citation.title else "", "dim"),
        )


def tool_line(use: ToolUse) -> RenderableType:
    """A tool call and what it gave, on one line."""
    told = ", ".join(f"{name}={value!r}" for name, value in use.call.arguments.items())
    result = use.result.text if len(use.result.text) < 160 else use.result.text[:159] + "…"
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
    passages = Table(title="Passages", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("", "score", "source", "title", "text"):
        passages.add_column(heading, overflow="ellipsis", no_wrap=heading != "text", max_width=50)
    for number, passage in enumerate(reply.passages, start=1):
        told = " ".join(f"{kind} {share:.2f}" for kind, share in passage.parts.items())
        passages.add_row(
            f"[{number}]",
            f"{passage.score:.2f}  {told}",
            escape(passage.source),
            escape(passage.title),
            escape(passage.text[:160]),
        )
    if reply.passages:
        parts.append(passages)
    parts += [tool_line(use) for use in reply.tools]
    if reply.verdicts:
        verdicts = Table(title="Verdicts", title_justify="left", box=None, pad_edge=False, header_style="dim")
        for heading in ("policy", "stage", "verdict", "reason", "about"):
            verdicts.add_column(heading)
        for verdict in reply.verdicts:
            about = (verdict.policy, verdict.stage, verdict.kind, verdict.reason, verdict.subject)
            verdicts.add_row(*map(escape, about))
        parts.append(verdicts)
    times = " · ".join(f"{phase.replace('_', ' ')} {seconds:.3f} s" for phase, seconds in reply.seconds.items())
    parts.append(Text(f"{reply.turn.tenant}/{reply.turn.bot} · model {reply.model} · turn {reply.turn.id}", "dim"))
    parts.append(Text(times, "dim"))
    parts.append(footer(reply))
    return Padding(Group(*parts), (0, 0, 0, 2))
