"""Real text, as passages of sentences, from packages of Debian and of this Python.

Nothing is kept in the repository: the packages are downloaded by name with `apt-get download`,
unpacked without installing, and read. Every document is `{lang, source, title, sentences}`.
"""

from __future__ import annotations

import html
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

__all__ = ["Document", "load_documents", "load_synonyms", "prepare"]

PACKAGES = (
    "libreoffice-help-en-us",
    "libreoffice-help-fr",
    "python3.11-doc",
    "wordnet-base",
)
Document = dict  # {"lang": str, "source": str, "title": str, "sentences": list[str]}

END = re.compile(r"(?<=[.!?…])[\"')»]*\s+(?=[\"'(«]*[A-ZÀ-Ý0-9])")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Dr|St|No|approx|p\.ex|ex|M|al)|\b[A-Z])\.$")


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph; a full stop after an abbreviation ends none."""
    found: list[str] = []
    for piece in END.split(text):
        if found and ABBREVIATION.search(found[-1]):
            found[-1] += " " + piece
        else:
            found.append(piece.strip())
    return found


def usable(sentence: str) -> bool:
    """Whether a line reads as a sentence: letters mostly, between 4 and 45 words."""
    words = sentence.split()
    if not 4 <= len(words) <= 45 or len(sentence) > 280:
        return False
    letters = sum(c.isalpha() or c in " ,'’-" for c in sentence)
    return letters >= 0.85 * len(sentence) and max(map(len, words)) < 24


def clean(text: str) -> str:
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r":[a-z:]+:`~?!?([^`<]*?)(?:\s*<[^>]*>)?`", r"\1", text)
    text = re.sub(r"`([^`<]*?)(?:\s*<[^>]*>)?`_*", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = text.replace("**", "").replace("`", "").replace("\u00a0", " ")
    return re.sub(r"\s+", " ", text).strip()


def chunk(lang: str, source: str, title: str, lines: list[str]) -> Iterator[Document]:
    """Documents of up to eight usable sentences from the paragraphs of one text."""
    sentences: list[str] = []
    for line in lines:
        sentences += [s for s in split_sentences(clean(line)) if usable(s)]
    sentences = list(dict.fromkeys(sentences))
    for i in range(0, len(sentences), 8):
        part = sentences[i : i + 8]
        if len(part) >= 2 and title:
            yield {"lang": lang, "source": source, "title": clean(title)[:70], "sentences": part}


# -- readers ----------------------------------------------------------------------------------


def read_help(root: Path, lang: str) -> Iterator[Document]:
    """LibreOffice help pages (MPL-2.0)."""
    tag = re.compile(r"<[^>]+>")
    for path in sorted(root.rglob("text/**/*.html")):
        page = path.read_text("utf-8", errors="replace")
        page = page[max(page.find("<h1"), 0) :]
        title, lines = "", []
        for kind, inner in re.findall(r"<(h[1-3]|p)\b[^>]*>(.*?)</\1>", page, re.S):
            text = html.unescape(tag.sub("", inner)).strip()
            if kind == "p":
                lines.append(text)
                continue
            yield from chunk(lang, "libreoffice-help", title, lines)
            title, lines = text, []
        yield from chunk(lang, "libreoffice-help", title, lines)


def read_rst(root: Path, source: str) -> Iterator[Document]:
    """Documentation in reStructuredText or Markdown: a heading and the paragraphs under it."""
    for path in sorted([*root.rglob("*.rst.txt"), *root.rglob("*.txt")]):
        yield from read_marked(path.read_text("utf-8", errors="replace"), source)


def read_marked(text: str, source: str) -> Iterator[Document]:
    title, lines, paragraph = "", [], []
    rows = text.split("\n")
    for i, row in enumerate(rows):
        below = rows[i + 1].strip() if i + 1 < len(rows) else ""
        if len(below) > 3 and len(set(below)) == 1 and below[0] in '=-~^*+#"' and row.strip():
            yield from chunk("en", source, title, [*lines, " ".join(paragraph)])
            title, lines, paragraph = row.strip(), [], []
        elif row.startswith("#"):
            yield from chunk("en", source, title, [*lines, " ".join(paragraph)])
            title, lines, paragraph = row.strip("# "), [], []
        elif not row.strip() or row.startswith(("    ", "..", "\t", ">>>", "|", "<", "[")):
            lines.append(" ".join(paragraph))
            paragraph = []
        elif re.match(r"\s*[*+-] |\s*\d+\. ", row):
            lines.append(" ".join(paragraph))
            paragraph = [re.sub(r"^\s*(?:[*+-]|\d+\.) ", "", row)]
        else:
            paragraph.append(row.strip())
    yield from chunk("en", source, title, [*lines, " ".join(paragraph)])


def read_descriptions(text: str, lang: str) -> Iterator[Document]:
    """Package descriptions of Debian, in English or as translated."""
    seen: set[str] = set()
    for entry in text.split("\n\n"):
        head, _, body = entry.partition(f"\nDescription-{lang}: ")
        title, _, long = body.partition("\n")
        name = re.search(r"^Package: (.*)$", head, re.M)
        if not name or long[:200] in seen:
            continue
        seen.add(long[:200])
        parts = re.split(r"\n \.\n", "\n" + long)
        lines = [" ".join(part.split()) for part in parts if not re.search(r"\n  ", part)]
        yield from chunk(lang, "debian-descriptions", f"{name[1]}: {title}", lines)


def read_metadata() -> Iterator[Document]:
    """The long descriptions of the Python packages that are installed here."""
    for path in sorted({p for root in sys.path for p in Path(root or ".").glob("*.dist-info/METADATA")}):
        message = Parser().parsestr(path.read_text("utf-8", errors="replace"))
        body = message.get_payload()
        if isinstance(body, str):
            yield from read_marked(body, "python-metadata")


def read_wordnet(root: Path) -> tuple[list[Document], dict[str, list[str]]]:
    """Glosses as sentences grouped by field, example sentences, and synonyms of first senses."""
    rng = random.Random(1)
    first: dict[str, str] = {}
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (root / f"index.{kind}").read_text().splitlines():
            if not line.startswith(" "):
                part = line.split()
                first[f"{part[0]}/{kind}"] = part[6 + int(part[3])]
    fields: dict[str, list[tuple[str, str]]] = {}
    examples: list[str] = []
    synonyms: dict[str, set[str]] = {}
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (root / f"data.{kind}").read_text().splitlines():
            if line.startswith(" ") or " | " not in line:
                continue
            data, gloss = line.split(" | ", 1)
            part = data.split()
            words = [part[4 + 2 * i].split("(")[0] for i in range(int(part[3], 16))]
            common = [w for w in words if first.get(f"{w.lower()}/{kind}") == part[0] and w.islower() and w.isalpha()]
            for w in common:
                synonyms.setdefault(w, set()).update(v for v in common if v != w)
            examples += [e[0].upper() + e[1:] + "." for e in re.findall(r'"([^"]{20,140})"', gloss) if e[0].isalpha()]
            meaning = re.sub(r'[;:]?\s*".*', "", gloss).strip(" ;")
            if kind == "noun" and 4 <= len(meaning.split()) <= 24:
                name = words[0].replace("_", " ")
                fields.setdefault(part[1] + name[0].lower(), []).append((name, meaning))
    documents: list[Document] = []
    forms = ("{A} {n} is {g}.", "{N}: {g}.", "{N} means {g}.", "{N}, that is {g}.")
    for pairs in fields.values():
        rng.shuffle(pairs)
        for i in range(0, len(pairs), 5):
            lines = []
            for name, meaning in pairs[i : i + 5]:
                form = rng.choice(forms if name.islower() else (*forms[1:2], "{n} was {g}.", "{n} is {g}."))
                article = "An" if name[0].lower() in "aeiou" else "A"
                lines.append(form.format(A=article, n=name, N=name[0].upper() + name[1:], g=meaning))
            documents += chunk("en", "wordnet", f"{pairs[i][0]} and others", lines)
    rng.shuffle(examples)
    for i in range(0, len(examples), 6):
        title = " ".join(examples[i].split()[:3]).strip(".,")
        documents += chunk("en", "wordnet-examples", title, examples[i : i + 6])
    return documents, {w: sorted(s) for w, s in synonyms.items() if s}


# -- the whole --------------------------------------------------------------------------------


def download(work: Path) -> Path:
    """The packages, unpacked below `work`, and the translated descriptions."""
    root = work / "packages"
    if (root / "done").exists():
        return root
    lists = (work / "lists").absolute()  # apt reads a relative folder as one below its own
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=root, check=True)
    for archive in root.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, root / archive.name.split("_")[0]], check=True)
    for lang in ("en", "fr"):
        options = ["-o", f"Acquire::Languages={lang}", "-o", f"Dir::State::lists={lists}"]
        subprocess.run(["apt-get", *options, "update"], check=True)
        found = max(lists.glob(f"*main*Translation-{lang}*"), key=lambda p: p.stat().st_size)
        text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", found], check=True, capture_output=True).stdout
        (root / f"Translation-{lang}").write_bytes(text)
    (root / "done").touch()
    return root


def prepare(work: Path) -> None:
    """Write `documents.jsonl` and `synonyms.json` into `work`, unless they lie there."""
    if (work / "synonyms.json").exists():
        return
    root = download(work)
    documents, synonyms = read_wordnet(root / "wordnet-base/usr/share/wordnet")
    documents += read_help(root / "libreoffice-help-en-us", "en")
    documents += read_help(root / "libreoffice-help-fr", "fr")
    documents += read_rst(root / "python3.11-doc", "python-docs")
    documents += read_metadata()
    for lang in ("en", "fr"):
        documents += read_descriptions((root / f"Translation-{lang}").read_text("utf-8"), lang)
    often = Counter(s for d in documents for s in d["sentences"])
    for d in documents:  # a sentence that stands in many documents says nothing about one
        d["sentences"] = [s for s in d["sentences"] if often[s] <= 2]
    documents = [d for d in documents if len(d["sentences"]) >= 2]
    random.Random(0).shuffle(documents)
    with (work / "documents.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(d, ensure_ascii=False) + "\n" for d in documents)
    (work / "synonyms.json").write_text(json.dumps(synonyms))


def load_documents(work: Path) -> list[Document]:
    with (work / "documents.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def load_synonyms(work: Path) -> dict[str, list[str]]:
    return json.loads((work / "synonyms.json").read_text())
