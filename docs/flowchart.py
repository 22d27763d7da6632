"""A Mermaid flowchart as a list of its steps, for a page that loads no script from elsewhere."""

from __future__ import annotations

import re
from html import escape

__all__ = ["steps"]

NODE = r"(\w+)(?:\(\[(.*?)\]\)|\[\((.*?)\)\]|\[(.*?)\]|\{(.*?)\}|\((.*?)\))?"
EDGE = re.compile(rf"^\s*{NODE}\s*-[-.]*->\s*(?:\|(.*?)\|)?\s*{NODE}\s*;?$")


def steps(chart: str) -> str:
    """The chart as HTML: its nodes in the order in which it says where they lead. Empty for other charts."""
    head, _, body = chart.strip().partition("\n")
    edges = [EDGE.match(line) for line in body.splitlines() if line.strip()]
    if not re.match(r"(flowchart|graph)\b", head) or None in edges:
        return ""
    names: dict[str, str] = {}
    asks: set[str] = set()
    leads: dict[str, list[tuple[str, str]]] = {}
    for edge in filter(None, edges):
        found = edge.groups()
        for node in (found[:6], found[7:]):
            names[node[0]] = next(filter(None, node[1:]), names.get(node[0], node[0]))
            asks |= {node[0]} if node[4] else set()
        leads.setdefault(found[0], []).append((found[6] or "", found[7]))
    order = [*leads, *(node for node in names if node not in leads)]
    items = [item(names, leads.get(node, []), node, node in asks, after(order, node)) for node in order]
    return f'<ol class="flow">{"".join(items)}</ol>'


def after(order: list[str], node: str) -> str:
    """The node that stands below."""
    at = order.index(node) + 1
    return order[at] if at < len(order) else ""


def item(names: dict[str, str], leads: list[tuple[str, str]], node: str, asks: bool, below: str) -> str:
    """A node, and where it leads: the one below needs no words."""
    rows = [
        f"<li>{f'<em>{escape(label, quote=False)}</em> ' if label else ''}→ {escape(names[target], quote=False)}</li>"
        for label, target in leads
        if label or target != below
    ]
    more = f"<ul>{''.join(rows)}</ul>" if rows else ""
    on = ' class="on"' if any(target == below for _, target in leads) else ""
    return f"<li{on}><strong{' class=asks' if asks else ''}>{escape(names[node], quote=False)}</strong>{more}</li>"
