"""What a server's tools say of themselves, held against what was allowed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mcp_types import Tool as McpTool
from sartor.values import JSONValue

from sartor_plugins.mcp_tools.settings import ServerSettings

__all__ = ["Told", "faults_of", "keep", "kept", "told_of"]

log = logging.getLogger("sartor.mcp-tools")

_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Told:
    """One tool, as its server describes it."""

    name: str
    description: str
    schema: dict[str, JSONValue]
    reads: bool
    """Whether the server says that it only reads."""

    @property
    def sha256(self) -> str:
        """The hash of everything that is told, but for the order of keys."""
        text = json.dumps([self.name, self.description, self.schema, self.reads], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def told_of(tool: McpTool) -> Told:
    """`tool` without what nobody is shown."""
    reads = tool.annotations is not None and tool.annotations.read_only_hint is True
    return Told(tool.name, (tool.description or "").strip(), tool.input_schema, reads)


def faults_of(name: str, settings: ServerSettings, listed: Mapping[str, Told]) -> dict[str, str]:
    """The allowed tools that may not be offered, each with the reason and what to do."""
    faults: dict[str, str] = {}
    for tool, wanted in settings.tools.items():
        told = listed.get(tool)
        if told is None:
            known = ", ".join(sorted(listed)) or "none"
            faults[tool] = f"the server {name!r} has no tool {tool!r}; it has: {known}"
        elif not wanted.sha256:
            faults[tool] = (
                f"the tool {tool!r} of {name!r} is not pinned, so it is not offered. It says: {_short(told)}\n"
                f"If that is what you want, write under the tool  sha256: {told.sha256}"
            )
        elif wanted.sha256.lower() != told.sha256:
            faults[tool] = (
                f"the tool {tool!r} of {name!r} is not what it was when it was pinned, so it is not offered. "
                f"Now it says: {_short(told)}\n"
                f"If that is what you want, write under the tool  sha256: {told.sha256}"
            )
    return faults


def _short(told: Told) -> str:
    arguments = told.schema.get("properties")
    names = ", ".join(arguments) if isinstance(arguments, dict) else ""
    text = " ".join(told.description.split())
    return f"{text[:300]!r}, and takes: {names or 'nothing'}"


def kept(path: Path) -> dict[str, Told]:
    """The list of an earlier time; empty where there is none. It is believed only as far as the pins go."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        found = [Told(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return {told.name: told for told in found}


def keep(path: Path, listed: Sequence[Told]) -> None:
    """Keep the list for the next time that the bot is built. What keeps it from that is logged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([asdict(told) for told in listed]), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        log.warning("the list of tools cannot be kept in %s: %s", path, error.strerror or error)
