"""The same conversations on several models, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sartor.rehearsal.cost import cost_of
from sartor.rehearsal.expect import flow_line
from sartor.rehearsal.run import Result
from sartor.spec import PriceSpec
from sartor.values import Reply

__all__ = ["Standing", "as_page", "standing"]


@dataclass(frozen=True)
class Standing:
    """How one model did."""

    model: str
    passed: int
    total: int
    turns: int
    prompt: int
    """Tokens of prompts."""
    generated: int
    seconds: float
    """Of all turns, one after the other."""
    cost: float | None
    """None where `sartor.yaml` gives no price."""


def standing(model: str, results: Sequence[Result], price: PriceSpec | None) -> Standing:
    """The sums over the conversations that were held with `model`."""
    replies = [turn.reply for result in results for turn in result.turns]
    return Standing(
        model,
        sum(result.passed for result in results),
        len(results),
        len(replies),
        sum(reply.usage.prompt for reply in replies),
        sum(reply.usage.generated for reply in replies),
        sum(reply.seconds.get("total", 0.0) for reply in replies),
        sum(cost_of(reply.usage, price) for reply in replies) if price else None,
    )


def as_page(standings: Sequence[Standing], results: Mapping[str, Sequence[Result]]) -> str:
    """A page that needs nothing else: bars for each figure, and every conversation with what each model said."""
    bars = "".join(
        _chart(title, [(one.model, value, told) for one, value, told in figures])
        for title, figures in (
            ("Conversations passed", [(one, one.passed, f"{one.passed} of {one.total}") for one in standings]),
            ("Seconds a turn", [(one, _each(one.seconds, one), f"{_each(one.seconds, one):.2f}") for one in standings]),
            ("Tokens a turn", [(one, _each(one.prompt + one.generated, one), _tokens(one)) for one in standings]),
            ("Cost", [(one, one.cost, f"{one.cost:.4f}") for one in standings if one.cost is not None]),
        )
        if figures
    )
    models = [one.model for one in standings]
    by_name: dict[tuple[str, str], dict[str, Result]] = {}
    for model in models:
        for result in results[model]:
            by_name.setdefault((result.bot, result.name), {})[model] = result
    head = "".join(f"<th>{escape(model)}</th>" for model in models)
    rows = "".join(_row(bot, name, [held.get(model) for model in models]) for (bot, name), held in by_name.items())
    return _PAGE.format(bars=bars, head=head, rows=rows)


def _each(value: float, one: Standing) -> float:
    return value / one.turns if one.turns else 0.0


def _tokens(one: Standing) -> str:
    return f"{_each(one.prompt, one):.0f} read, {_each(one.generated, one):.0f} said"


def _chart(title: str, figures: Sequence[tuple[str, float, str]]) -> str:
    most = max((value for _, value, _ in figures), default=0) or 1
    lines = "".join(
        f'<div class="bar"><span class="who">{escape(model)}</span>'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * value / most:.1f}" height="10" rx="1"/></svg><span>{escape(told)}</span></div>'
        for model, value, told in figures
    )
    return f"<section><h2>{escape(title)}</h2>{lines}</section>"


def _row(bot: str, name: str, held: Sequence[Result | None]) -> str:
    cells = "".join(f"<td>{_cell(result)}</td>" for result in held)
    return f"<tr><th scope=row>{escape(name)}<small>{escape(bot)}</small></th>{cells}</tr>"


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    mark = "<b class=ok>passed</b>" if result.passed else "<b class=no>failed</b>"
    said = "".join(
        f"<p><q>{escape(turn.say)}</q>{escape(turn.reply.text)}{_flow(turn.reply)}</p>"
        + "".join(f"<p class=no>{escape(f.key)}: expected {escape(f.expected)}</p>" for f in turn.faults)
        for turn in result.turns
    )
    return f"{mark} <small>{result.seconds:.1f} s, {result.tokens} tokens</small>{said}{escape(result.error)}"


def _flow(reply: Reply) -> str:
    return f"<small> {escape(flow_line(reply.flow))}</small>" if reply.flow else ""


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Models compared</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#1d2430, #e8eaf0); --soft: light-dark(#667085, #9aa3b5);
  --line: light-dark(#e4e7ee, #2c3342); --bar: light-dark(#3b6fd4, #7aa2f7); --page: light-dark(#fff, #14181f);
  --ok: light-dark(#157f3b, #6bd48f); --no: light-dark(#b42318, #ff8a80); }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1rem; margin: 1.2rem 0 .4rem }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2.5rem }}
.bar {{ display: grid; grid-template-columns: 8rem 1fr 9rem; gap: .6rem; align-items: center; margin: .2rem 0 }}
.bar svg {{ height: .9rem; width: 100% }} rect {{ fill: var(--bar) }} .who {{ font-weight: 600 }}
table {{ border-collapse: collapse; width: 100%; margin-top: 2rem }}
th, td {{ text-align: left; vertical-align: top; padding: .6rem; border-top: 1px solid var(--line) }}
small {{ color: var(--soft); font-weight: 400 }} th small {{ display: block }}
q {{ color: var(--soft); display: block }} p {{ margin: .4rem 0; overflow-wrap: anywhere }}
.ok {{ color: var(--ok) }} .no {{ color: var(--no) }}
</style>
<h1>Models compared</h1><div class="charts">{bars}</div>
<table><thead><tr><th>Conversation</th>{head}</tr></thead><tbody>{rows}</tbody></table></html>
"""
