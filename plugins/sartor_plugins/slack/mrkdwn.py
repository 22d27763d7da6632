"""Markdown as Slack's mrkdwn, in pieces that fit into a block.

What a reply says must not become a mention of a person or of everybody, nor a link under a false name: all that is
special to Slack is escaped, and only links to ``http``, ``https`` and ``mailto`` are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["escape", "mrkdwn", "split"]

_SPAN = 500
"""Longest stretch in bold, italics and so on: a mark without its pair must not be searched for to the end."""
_LABEL, _TARGET = 250, 1500
"""Longest label and address of a link: together they must fit into a block."""
_ADDRESS = r"(?:https?://|mailto:)[^\s<>|]"
_INLINE = re.compile(
    rf"""
      \\(?P<literal>[\\`*_{{}}\[\]()\#+\-.!~>|<])
    | (?P<ticks>`+)(?P<code>.{{1,{_SPAN}}}?)(?<!`)(?P=ticks)(?!`)
    | !?\[(?P<label>[^\[\]\n]{{0,{_SPAN}}})\]
      \(\s*<?(?P<target>[^\s()<>]{{0,{_SPAN}}}(?:\([^\s()<>]{{0,200}}\)[^\s()<>]{{0,200}})?)>?
      (?:\s+"[^"\n]{{0,200}}")?\s*\)
    | <(?P<angled>{_ADDRESS}{{1,{_SPAN}}})>
    | (?P<address>(?<![\w/])https?://[^\s<>|`*\[\]"']{{1,{_SPAN}}}[^\s<>|`*\[\]"'.,;:!?)_~])
    | (?P<strong>\*\*|(?<!\w)__)(?=\S)(?P<bold>.{{1,{_SPAN}}}?)(?<=\S)(?P=strong)(?!\w)
    | ~~(?=\S)(?P<struck>.{{1,{_SPAN}}}?)(?<=\S)~~
    | (?P<emphasis>(?<![\w*])\*|(?<![\w_])_)(?=[^\s*_])(?P<italic>.{{1,{_SPAN}}}?)(?<=[^\s*_])(?P=emphasis)(?![\w*])
    """,
    re.VERBOSE,
)
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*)")
_BULLET = re.compile(r"(\s*)[-*+]\s+(?!\s)(.*)")
_QUOTE = re.compile(r"\s{0,3}>[>\s]*(.*)")
_RULE = re.compile(r"\s{0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})")
_TABLE = re.compile(r"\s*\|.*\|\s*")
_WHOLE = re.compile(r"<[^<>\n]*>|&(?:amp|lt|gt);|```")
"""What may not be cut through."""


def escape(text: str) -> str:
    """`text` without anything that is special to Slack but its marks for bold and the like."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(text: str) -> str:
    """Markdown as mrkdwn. Bold, italics, struck text, code, links, headings, lists and quotes are kept; a table
    becomes a block of code."""
    return "\n".join(_lines(text.replace("\r\n", "\n").split("\n")))


def split(text: str, most: int) -> list[str]:
    """mrkdwn in pieces of at most `most` characters, cut between paragraphs, lines or words where there are any. A
    block of code that is cut goes on as one."""
    pieces: list[str] = []
    rest = text.strip("\n")
    while len(rest) > most:
        at = _cut(rest, most - 4)
        piece, rest = rest[:at].rstrip(), rest[at:].lstrip("\n")
        if piece.count("```") % 2:
            piece, rest = f"{piece}\n```", f"```\n{rest}"
        pieces.append(piece)
    return [piece for piece in [*pieces, rest] if piece.strip()]


def _cut(text: str, most: int) -> int:
    start = most // 2
    for mark in ("\n\n", "\n", " "):
        if (at := text.rfind(mark, start, most)) > 0 and not _inside(text, at):
            return at
    begun = _inside(text, most)
    return begun if begun > 8 else most


def _inside(text: str, at: int) -> int:
    """Where the link, entity or fence begins that `at` would cut; 0 for none, or one that begins the text."""
    found = (match for match in _WHOLE.finditer(text, max(0, at - 3000), at + 3000))
    return next((match.start() for match in found if match.start() < at < match.end()), 0)


def _lines(lines: list[str]) -> Iterator[str]:
    fence, table = "", False
    for line in lines:
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
                yield "```"
            else:
                yield _code(line)
            continue
        if table != bool(_TABLE.fullmatch(line)):
            table = not table
            yield "```"
        if table:
            yield _code(line)
        elif opened:
            fence = opened[1]
            yield "```"
        else:
            yield _line(line)
    if fence or table:
        yield "```"


def _line(line: str) -> str:
    if match := _HEADING.fullmatch(line):
        title = _inline(match[1].strip().rstrip("#").rstrip().replace("**", "").replace("__", ""))
        return f"*{title}*" if title.strip() else ""
    if match := _QUOTE.fullmatch(line):
        return f"> {_line(match[1])}"
    if _RULE.fullmatch(line):
        return "———"
    if match := _BULLET.fullmatch(line):
        return f"{match[1]}• {_inline(match[2])}"
    return _inline(line)


def _inline(text: str, depth: int = 0) -> str:
    out: list[str] = []
    at = 0
    for match in _INLINE.finditer(text) if depth < 4 else ():
        out += [_code(text[at : match.start()]), _marked(match, depth)]
        at = match.end()
    return _unfenced("".join([*out, _code(text[at:])]))  # marks of code beside others could make one


def _marked(match: re.Match[str], depth: int) -> str:
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    if "literal" in found:
        return escape(found["literal"])
    if "code" in found:
        return f"`{_code(found['code'].strip(' ').replace('`', 'ˋ'))}`"
    if "target" in found:
        return _link(found["target"], found["label"])
    if "angled" in found or "address" in found:
        return _link(found.get("angled") or found["address"], "")
    for name, mark in (("bold", "*"), ("struck", "~"), ("italic", "_")):
        if name in found:
            return f"{mark}{_inline(found[name], depth + 1)}{mark}"
    raise AssertionError(match)


def _link(target: str, label: str) -> str:
    shown = escape(" ".join(re.sub(r"[*_~`|]", "", label).split())[:_LABEL])
    if not re.fullmatch(rf"{_ADDRESS}+", target) or len(escape(target)) > _TARGET:
        return f"{shown} ({escape(target)})" if shown and target else shown or escape(target)
    address = target.replace("&", "&amp;")
    return f"<{address}|{shown}>" if shown and shown != address else f"<{address}>"


def _code(text: str) -> str:
    """`text` escaped, and without a fence."""
    return escape(_unfenced(text))


def _unfenced(text: str) -> str:
    return text.replace("```", "ˋˋˋ")
