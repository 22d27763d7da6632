"""What is wrong with a built site: pages that nobody reaches, links and anchors that lead nowhere, foreign hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["faults"]

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "link": "href",
    "video": "src",
    "audio": "src",
}
"""What a browser loads without being asked, and the attribute that says from where."""


@dataclass
class Seen(HTMLParser):
    """What a page holds."""

    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    navigation: set[str] = field(default_factory=set)
    """The links of the navigation at the left."""
    loads: set[str] = field(default_factory=set)
    _nav: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        told = {name: value or "" for name, value in attrs}
        self._nav += tag == "nav" and (self._nav > 0 or "md-nav--primary" in told.get("class", ""))
        self.anchors |= {told[name] for name in ("id", "name") if told.get(name)}
        if tag == "a" and told.get("href"):
            (self.navigation if self._nav else self.links).add(told["href"])
        if told.get(LOADS.get(tag, "")) and told.get("rel") != "canonical":
            self.loads.add(told[LOADS[tag]])
        if "mermaid" in told.get("class", "").split():  # the theme's script would look for one that draws
            self.loads.add("https://unpkg.com/mermaid")
        self.loads |= set(re.findall(r"url\(['\"]?([^'\")]+)", told.get("style", "")))

    def handle_endtag(self, tag: str) -> None:
        """Note where the navigation ends."""
        self._nav -= tag == "nav" and self._nav > 0


def faults(site: Path, pages: Sequence[Path]) -> list[str]:
    """What is wrong, a line each. `pages` are the Markdown files that the site must hold, relative to their folder."""
    seen = {file: read(file) for file in sorted(site.rglob("*.html"))}
    out = [f"{page}: it is not in the site" for page in pages if site / page.with_suffix(".html") not in seen]
    index = seen.get(site / "index.html", Seen())
    reached = {(site / unquote(urlsplit(link).path)).resolve() for link in index.navigation} | {site / "index.html"}
    for page in pages:
        if (site / page.with_suffix(".html")).resolve() not in {place.resolve() for place in reached}:
            out.append(f"{page}: the navigation does not lead to it; link it from docs/index.md")
    for file, about in seen.items():
        if file.name != "404.html":  # its links count from the root of a server
            out += [f"{file.relative_to(site)}: {fault}" for fault in leads(site, file, about, seen)]
    for file in sorted(site.rglob("*.css")):
        found = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", file.read_text(encoding="utf-8"))
        out += [f"{file.relative_to(site)}: it loads {address} from elsewhere" for address in found]
    return out


def read(file: Path) -> Seen:
    """What a page holds."""
    seen = Seen()
    seen.feed(file.read_text(encoding="utf-8"))
    return seen


def leads(site: Path, file: Path, about: Seen, seen: dict[Path, Seen]) -> Iterator[str]:
    """The links of a page that lead nowhere, and what it loads from elsewhere."""
    for address in sorted(about.loads):
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") or parts.netloc:
            yield f"it loads {address} from elsewhere"
        elif not parts.scheme and not (file.parent / unquote(parts.path)).is_file():
            yield f"it loads {address}, which is not there"
    for address in sorted(about.links | about.navigation):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file() or not target.is_relative_to(site.resolve()):
            yield f"its link {address} leads nowhere"
        elif parts.fragment and target.suffix == ".html":
            anchors = next(other.anchors for place, other in seen.items() if place.resolve() == target)
            if unquote(parts.fragment) not in anchors:
                yield f"its link {address} leads to no heading"
