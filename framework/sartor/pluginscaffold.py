"""Making a package for a plugin: written beside its place, and moved there whole."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from sartor.errors import DiskError, NamingError, UsageError
from sartor.names import check_name

__all__ = ["KINDS", "MadePlugin", "make_plugin"]

KINDS: Mapping[str, str] = {
    "tool": "A tool that tells working days.",
    "retrieval": "A source of passages: a list of terms and their meanings.",
    "policy": "A policy that puts other words in the place of some.",
    "model": "A model that answers from a table.",
    "channel": "A channel for messages as signed JSON.",
}
"""What the example of each kind of plugin is."""

_TAKEN = frozenset({"sartor", "sartor-plugins", "sartor-templates", "tests", "src", "test"})


@dataclass(frozen=True)
class MadePlugin:
    """What `make_plugin` made."""

    package: str
    directory: Path
    files: tuple[Path, ...]
    """Relative to `directory`."""


def make_plugin(name: str, kind: str, parent: Path) -> MadePlugin:
    """Write the package ``sartor-NAME`` with a plugin `name` of a kind of `KINDS` into a new folder below `parent`.

    Raises `NamingError` for a name that cannot be a plugin's, `UsageError` where the folder exists, `DiskError`.
    """
    check_name("plugin", name)
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r} of plugin", remedy=f"It is one of {', '.join(KINDS)}.")
    if name in _TAKEN or not name[0].isalpha():
        raise NamingError(f"{name!r} cannot be the name of a plugin", remedy="Begin with a letter: desk, acme-orders.")
    package = name if name.startswith("sartor-") else f"sartor-{name}"
    target = parent / package
    if target.exists():
        raise UsageError("exists already", where=str(target), remedy="Choose another name, or another --directory.")
    words = _words(name, kind, package)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        draft.chmod(0o755)
        try:
            for place, text in _files(kind, words).items():
                path = draft / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(target)) from error
    made = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
    return MadePlugin(package, target, tuple(made))


def _words(name: str, kind: str, package: str) -> dict[str, str]:
    plain = name.removeprefix("sartor-") or name
    return {
        "NAME": name,
        "PACKAGE": package,
        "MODULE": package.replace("-", "_"),
        "FUNCTION": plain.replace("-", "_"),
        "CLASS": "".join(part.capitalize() for part in plain.split("-")),
        "SUMMARY": KINDS[kind],
    }


def _files(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    root = files("sartor_templates") / "plugin"
    words = {**words, "USE": _filled(root / kind / "use.in", words).rstrip()}
    module = words["MODULE"]
    places = {
        "pyproject.toml": root / "common" / "pyproject.toml.in",
        "README.md": root / "common" / "README.md.in",
        ".gitignore": root / "common" / ".gitignore.in",
        f"src/{module}/__init__.py": root / kind / "src.in",
        f"tests/test_{module}.py": root / kind / "tests.in",
    }
    return {f"src/{module}/py.typed": "", **{place: _filled(file, words) for place, file in places.items()}}


def _filled(file: Traversable, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], file.read_text(encoding="utf-8"))
