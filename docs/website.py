"""Builds `docs/` to a site in `build/site`, or says what is wrong with it.

    python docs/website.py                  build and check; exit code 1 when something is wrong
    python docs/website.py --to FOLDER      build elsewhere

The navigation is `docs/index.md`: its headings are the groups, the pages that it links are in them. The pages are
copied to `build/site-source` and made fit for the site there: links to files that are no pages become plain text,
since the site has pages only, and diagrams become lists. Zensical makes HTML of them. Then every page is read again.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from flowchart import steps
from sitecheck import faults

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NOTE = re.compile(r"<!-- .*? -->\n", re.DOTALL)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
FRAME = "https://unpkg.com/iframe-worker/shim"
"""What Zensical's pages would load for the search of pages that are opened from a disk; we have one of our own."""
FILES = ("*.md", "*.png", "*.svg", "schema/*.json", "grafana/*.json")


def navigation() -> list[dict[str, object]]:
    """What `docs/index.md` says: the groups, and the pages in each."""
    found: list[dict[str, object]] = [{"Documentation": "index.md"}]
    for section in re.split(r"^## ", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        group, _, body = section.partition("\n")
        links = [(text, target) for text, target in LINK.findall(body) if target.endswith(".md")]
        if links:
            found.append({group.strip(): [{text: target} for text, target in links]})
    return found


def fit(text: str, page: Path) -> str:
    """The text of `page`, as the site needs it."""

    def linked(match: re.Match[str]) -> str:
        words, target = match.groups()
        if re.match(r"[a-z]+:|#", target) or (page.parent / target.partition("#")[0]).resolve().is_relative_to(DOCS):
            return match[0]
        place = (page.parent / target).resolve().relative_to(ROOT)
        return words if words.strip("`").endswith(place.name) else f"{words} (`{place}` in the repository)"

    out, at = [], 0
    for fence in FENCE.finditer(text):
        out += [LINK.sub(linked, NOTE.sub("", text[at : fence.start()])), drawn(fence[0])]
        at = fence.end()
    return "".join([*out, LINK.sub(linked, NOTE.sub("", text[at:]))])


def drawn(fence: str) -> str:
    """A fenced block; a flowchart as a list, since drawing one would load a script from elsewhere."""
    language, _, body = fence.removeprefix("```").removesuffix("```").partition("\n")
    return (steps(body) or f"```text\n{body}```") if language == "mermaid" else fence


def prepare(source: Path) -> None:
    """Copy the pages, and write the settings."""
    shutil.rmtree(source, ignore_errors=True)
    for pattern in FILES:
        for file in sorted(DOCS.rglob(pattern)):
            made = source / "pages" / file.relative_to(DOCS)
            if made.relative_to(source / "pages").parts[0] == "site":
                continue
            made.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".md":
                made.write_text(fit(file.read_text(encoding="utf-8"), file), encoding="utf-8")
            else:
                shutil.copyfile(file, made)
    (source / "pages/assets").mkdir(exist_ok=True)
    for name in ("logo.svg", "sartor.css", "search-frame.js"):
        shutil.copyfile(DOCS / "site" / name, source / "pages/assets" / name)
    settings = (DOCS / "site/zensical.toml").read_text(encoding="utf-8")
    assert "\nnav = []\n" in settings
    settings = settings.replace("\nnav = []\n", f"\nnav = {toml(navigation())}\n")
    (source / "zensical.toml").write_text(settings, encoding="utf-8")


def toml(value: object) -> str:
    """Lists, mappings and texts as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def build(folder: Path) -> list[str]:
    """Build the site in `folder`; what is wrong with it, a line each."""
    source = folder.with_name(f"{folder.name}-source")
    prepare(source)
    settings = source / "zensical.toml"
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(settings)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told, _, _ = f"{done.stdout}\n{done.stderr}".partition("Traceback")
        return [re.sub(r"\x1b\[[\d;]*m", "", told).strip() or done.stderr]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(source / "site", folder)
    for file in folder.rglob("*.html"):
        up = "../" * (len(file.relative_to(folder).parts) - 1)
        text = file.read_text(encoding="utf-8").replace(FRAME, f"{up}assets/search-frame.js")
        file.write_text(text, encoding="utf-8")
    return faults(folder, [page.relative_to(DOCS) for page in sorted(DOCS.rglob("*.md"))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "build/site", help="the folder that is made anew")
    folder = parser.parse_args(arguments).to.resolve()
    wrong = build(folder)
    print("\n".join(wrong) if wrong else f"built {folder}: open {folder / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
