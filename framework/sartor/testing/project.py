"""Projects of tests: the bot ``acme/support`` with a model that plays a script, in a folder of its own."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.testing.script import told

if TYPE_CHECKING:
    from sartor.plugin import Plugin

__all__ = ["write_project"]

_FILES = {
    "plugins/scripted.py": """
        from sartor.testing.parts import ScriptedPlugin

        class Scripted(ScriptedPlugin):
            \"\"\"The model of the test.\"\"\"
        """,
    "plugins/memory_index.py": """
        from sartor.testing.parts import MemoryIndexPlugin

        class Memory(MemoryIndexPlugin):
            \"\"\"The index of the test.\"\"\"
        """,
}


def write_project(
    root: Path,
    script: Sequence[object] = (),
    *,
    plugins: Mapping[str, object] | None = None,
    files: Mapping[str, str] | None = None,
    classes: Mapping[str, type[Plugin]] | None = None,
    bot: Mapping[str, object] | None = None,
    choices: bool = False,
) -> None:
    """Write a project into `root`; what the arguments mean, `sartor.testing.fixtures.sartor_project` says."""
    model = {"plugin": "scripted", "script": [told(line) for line in script], "choices": choices}
    project = {"model": "scripted", "models": {"scripted": model}, "embeddings": None}
    content = {
        **_FILES,
        **{f"plugins/{name.replace('-', '_')}.py": _file_of(kind) for name, kind in (classes or {}).items()},
        "sartor.yaml": json.dumps({**project, "index": {"plugin": "memory-index"}}),
        "tenants/acme/support/bot.yaml": json.dumps({"title": "Acme", **(bot or {}), "plugins": plugins or {}}),
        **(files or {}),
    }
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


def _file_of(kind: type[Plugin]) -> str:
    """A file of a project's `plugins/` folder with a class that does what `kind` does."""
    origin = f"from {kind.__module__} import {kind.__name__} as Tested"
    return f"{origin}\n\n\nclass Own(Tested):\n    __doc__ = Tested.__doc__\n"
