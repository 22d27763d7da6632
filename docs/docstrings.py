"""What the source of a module says: its docstrings, those below attributes, and how they become Markdown."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache

__all__ = ["attribute_docs", "cell", "class_node", "markdown", "tree"]


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def class_node(cls: type) -> ast.ClassDef:
    """The syntax tree of a class."""
    body = tree(cls.__module__).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


def attribute_docs(node: ast.ClassDef | ast.Module) -> dict[str, tuple[ast.AnnAssign | ast.Assign, str]]:
    """The assignments in a body by name, each with the text that stands below it."""
    found: dict[str, tuple[ast.AnnAssign | ast.Assign, str]] = {}
    for at, item in enumerate(node.body):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name = item.target.id
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name = item.targets[0].id
        else:
            continue
        after = node.body[at + 1] if at + 1 < len(node.body) else None
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        found[name] = (item, inspect.cleandoc(said) if isinstance(said, str) else "")
    return found


def markdown(doc: str | None) -> str:
    """A docstring as Markdown: double backquotes become single, an indented block after ``::`` is fenced."""
    out: list[str] = []
    block: list[str] | None = None
    for line in [*inspect.cleandoc(doc or "").splitlines(), "end"]:
        if block is not None and line and not line.startswith(" "):
            for code in re.split(r"\n\n(?=\w)", inspect.cleandoc("\n".join(block))):
                language = "yaml" if re.match(r"[\w-]+:\n", code) else "text" if "├" in code else "python"
                out += [f"```{language}", code, "```", ""]
            block = None
        if block is not None:
            block.append(line)
        elif line.endswith("::"):
            block = []
            out += [f"{line[:-2].rstrip()}:", ""] if line != "::" else []
        else:
            out.append(line.replace("``", "`"))
    return "\n".join(out[:-1]).strip()


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
