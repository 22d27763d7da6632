"""The page of policies: the stages, the verdicts, and the policies that come with Sartor."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping

from docstrings import attribute_docs, cell, class_node, markdown
from pydantic import BaseModel
from sartor import policy
from sartor.plugin import Plugin

__all__ = ["policies_page"]


def policies_page(plugins: Mapping[str, type[Plugin]], table: Callable[[type[BaseModel]], str]) -> str:
    """The page. `table` gives the settings of a plugin."""
    out = ["\n# Policies\n", markdown(policy.__doc__) + "\n"]
    out += ["How to write one: [Write a policy](../how-to/write-a-policy.md). Where they stand in a turn: [The turn]"]
    out[-1] += "(../explanation/turn.md).\n"
    out += ["## Stages\n", *stages(), "## Verdicts\n", *verdicts(), "## What a policy says of itself\n", *attributes()]
    out += ["## First-party policies\n"]
    for name, plugin in plugins.items():
        if hasattr(getattr(plugin, "sartor_policies", None), "sartor_impl"):
            out += [f"### {name}\n", *first_party(plugin), table(plugin.Settings) + "\n"]
    return "\n".join(out)


def stages() -> list[str]:
    """The methods, in the order of a turn."""
    rows = []
    for stage in policy.Stage:
        method = getattr(policy.Policy, stage.value)
        given = ", ".join(list(inspect.signature(method).parameters)[1:])
        rows.append(f"| `{stage.value}` | `{stage.value}({given})` | {cell(markdown(method.__doc__))} |")
    return ["| Stage | Method | Judges |", "|---|---|---|", *rows, ""]


def verdicts() -> list[str]:
    """The kinds, and what makes them."""
    said = {"allow": "Let it pass as it is."}
    rows = []
    for kind in policy.Kind:
        made = getattr(policy, kind.value, None)
        call = "ALLOW"
        if inspect.isfunction(made):
            said[kind.value] = inspect.getdoc(made) or ""
            given = inspect.signature(made).parameters.values()
            call = ", ".join(one.name + ("" if one.default is one.empty else f"={one.default!r}") for one in given)
            call = f"{kind.value}({call})"
        rows.append(f"| `{kind.value}` | `{call}` | {cell(markdown(said[kind.value]))} |")
    fields = attribute_docs(class_node(policy.Verdict))
    about = [f"- `{name}`: {cell(markdown(doc))}" for name, (_, doc) in fields.items() if doc]
    return ["| Kind | Made by | Means |", "|---|---|---|", *rows, "", "A verdict carries:\n", *about, ""]


def attributes() -> list[str]:
    """What a policy's class may set."""
    doc = markdown(inspect.getdoc(policy.Policy)).partition("\n\n")[2]
    rows = [
        f"| `{cell(ast.unparse(node))}` | {cell(markdown(said)) or cell(doc)} |"
        for node, said in attribute_docs(class_node(policy.Policy)).values()
    ]
    return ["| Attribute | Meaning |", "|---|---|", *rows, ""]


def first_party(plugin: type[Plugin]) -> list[str]:
    """What a plugin with policies is, and the stages at which each of its policies is asked."""
    home = importlib.import_module(plugin.__module__)
    out = [markdown(inspect.getdoc(home)) + "\n"]
    rows = []
    for module in {home, *(inspect.getmodule(cls) for _, cls in inspect.getmembers(home, inspect.isclass))}:
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, policy.Policy) or not cls.__module__.startswith(home.__name__):
                continue
            mine = [stage for stage in policy.Stage if getattr(cls, stage) is not getattr(policy.Policy, stage)]
            asked = [f"`{stage}`" for stage in mine]
            rows.append(f"| {cell(markdown(inspect.getdoc(cls)).partition(chr(10))[0])} | {', '.join(asked)} |")
    return [*out, "| Policy | Asked at |", "|---|---|", *sorted(set(rows)), ""]
