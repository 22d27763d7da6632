"""The page of the HTTP API: every route of the service, and every object that it takes or gives."""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Iterator
from datetime import datetime

from docstrings import attribute_docs, cell, class_node, markdown
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sartor.server import app, caller, failures

__all__ = ["http_page"]

INTRODUCTION = """
# HTTP API

What [`sartor serve`](cli.md#serve) answers; an application that [mounts the service](../how-to/mount.md) has it below a
prefix of its own. The same as OpenAPI is at `/openapi.json`, with a page to try it at `/docs`.

Send an API key, or the token of a session, as `Authorization: Bearer …`. Who may do what, and what a user sees:
[The service](../explanation/service.md). Bodies are JSON. In our own API, a field that is not listed is an error; where
OpenAI's is spoken, it is passed over. Lists come in pages: `after` takes the `next` of the page before.

How to use it: [our own API](../how-to/use-the-api.md), [OpenAI's clients](../how-to/use-openai-clients.md),
[the Responses API](../how-to/use-responses.md).
"""
GROUPS = {
    "sessions": "Sessions",
    "conversations": "Conversations",
    "turns": "Turns",
    "approvals": "Approvals",
    "handovers": "Hand-overs to a person",
    "documents": "Documents",
    "openai": "OpenAI's API",
    "responses": "Responses",
    "": "Pages, channels, MCP",
    "operations": "Operations",
}
"""The headings, by the tag of routes."""

PARAMETERS = {
    "limit": "At most so many on a page.",
    "after": "The `next` of the page before.",
    "idempotency-key": "Asking again with the same key gives the first answer.",
    "last-event-id": "The number of the last event that was seen.",
}
"""Meanings of parameters that have none in the code."""

KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", datetime: "time", bytes: "file"}


def http_page() -> str:
    """The page."""
    routes = [route for router in app._ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    names = named(models_of(routes))
    out = [INTRODUCTION]
    for tag, title in GROUPS.items():
        found = [route for route in routes if (route.tags or [""])[0] == tag]
        assert found, f"no route has the tag {tag!r}"
        out += [f"## {title}\n", *(line for route in found for line in about(route, names))]
    assert {(route.tags or [""])[0] for route in routes} <= set(GROUPS), "a route has a tag that is not in GROUPS"
    out += ["## How requests fail\n", f"Every error is an [ErrorBody](#{slug(names[failures.ErrorBody])}).\n"]
    out += ["| Status | |", "|---|---|"]
    out += [f"| {status} | {cell(str(told['description']))} |" for status, told in failures.RESPONSES.items()]
    out += ["\n## Objects\n", *(line for model, name in names.items() for line in described(model, name, names))]
    return "\n".join(out)


# Routes


def about(route: APIRoute, names: dict[type[BaseModel], str]) -> Iterator[str]:
    """A route: what it does, who may ask, what it takes and gives."""
    path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
    yield f"### {' or '.join(sorted(route.methods or ()))} {path}\n"
    yield markdown(inspect.getdoc(route.endpoint)) + "\n"
    yield f"Needs {who(route)}.\n"
    rows = list(parameters(route))
    if rows:
        yield from ["| Parameter | In | Type | Default | Meaning |", "|---|---|---|---|---|", *rows, ""]
    if (body := body_of(route)) is not None:
        if body in names:
            yield f"Body: {linked(body, names)}.\n"
        else:
            fields = [f"`{name}`, {written(field.annotation, names)}" for name, field in body.model_fields.items()]
            yield f"Body: a form with {' and '.join(fields)}.\n"
    yield f"Answer: {answer(route, names)}.\n"


def who(route: APIRoute) -> str:
    """Who may ask, by what the route depends on and what its code asks of the caller."""
    calls = list(dependencies(route.dependant))
    for call in calls:
        scope = inspect.getclosurevars(call).nonlocals.get("scope") if inspect.isfunction(call) else None
        if scope:
            return f"an API key with the scope `{scope}`"
    if caller.caller not in calls:
        return "no key"
    home = inspect.getmodule(route.endpoint)
    code = inspect.getsource(route.endpoint)
    for name in set(re.findall(r"\b(_\w+)\(", code)):
        helper = getattr(home, name, None)
        code += (
            inspect.getsource(helper)
            if inspect.isfunction(helper) and helper.__module__ == route.endpoint.__module__
            else ""
        )
    more = " with the scope `chat`" if ".may_chat()" in code else ""
    return f"a session, or an API key{more}"


def dependencies(dependant: typing.Any) -> Iterator[object]:
    """What a route depends on, outermost first."""
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependencies(inner)


def parameters(route: APIRoute) -> Iterator[str]:
    """The rows of the parameters in path, query and headers."""
    seen: set[str] = set()
    stack = [route.dependant]
    while stack:
        dependant = stack.pop(0)
        stack += dependant.dependencies
        for place in ("path", "query", "header"):
            for field in getattr(dependant, f"{place}_params"):
                info = field.field_info
                if field.alias in seen:
                    continue
                seen.add(field.alias)
                default = "*must be given*" if info.is_required() else value(info.get_default())
                name = field.alias.title().replace("-Id", "-ID") if place == "header" else field.alias
                said = info.description or PARAMETERS.get(field.alias, "")
                kind = cell(written(info.annotation, {}))
                yield f"| `{name}` | {place} | {kind} | {default} | {cell(said)} |"


def body_of(route: APIRoute) -> type[BaseModel] | None:
    """The model of the body."""
    found = route.body_field.field_info.annotation if route.body_field is not None else None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def answer(route: APIRoute, names: dict[type[BaseModel], str]) -> str:
    """What comes back when all is well."""
    status = route.status_code or 200
    model = route.response_model
    given = linked(model, names) if isinstance(model, type) and issubclass(model, BaseModel) else "no object"
    told = route.responses.get(200, {})
    if "text/event-stream" in told.get("content", {}):
        events = "server-sent events"
        given = f"{given}, or {events} with `stream`" if model is not None else events
    elif model is None and status != 204:
        given = "as its kind is"
    return f"{status}, {given}"


# Objects


def models_of(routes: list[APIRoute]) -> list[type[BaseModel]]:
    """Every model that is taken or given, as it is first met."""
    found: dict[type[BaseModel], None] = {}
    stack: list[object] = [failures.ErrorBody]
    for route in routes:
        stack += [body_of(route), route.response_model]
    while stack:
        annotation = stack.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation in found:
                continue
            if not annotation.__module__.startswith("fastapi"):
                found[annotation] = None
            stack[:0] = [field.annotation for field in annotation.model_fields.values()]
        else:
            stack[:0] = typing.get_args(getattr(annotation, "__value__", annotation))
    return list(found)


def named(models: list[type[BaseModel]]) -> dict[type[BaseModel], str]:
    """Each model with a name of its own."""
    out: dict[type[BaseModel], str] = {}
    for model in models:
        twice = sum(model.__name__ == other.__name__ for other in models) > 1
        home = model.__module__.removeprefix("sartor.server.").split(".")[0]
        name = f"{model.__name__} ({home})" if twice else model.__name__
        name = f"{model.__name__} ({model.__module__.rpartition('.')[2]})" if name in out.values() else name
        assert name not in out.values(), f"two objects are called {name}"
        out[model] = name
    return out


def described(model: type[BaseModel], name: str, names: dict[type[BaseModel], str]) -> Iterator[str]:
    """An object: what it is, and its fields."""
    yield f"### {name}\n"
    said = markdown(model.__doc__) if class_node(model).body and model.__doc__ else ""
    extra = model.model_config.get("extra")
    note = " Further fields are passed over." if extra == "ignore" else ""
    yield f"{said}{note}\n"
    if model.model_fields:
        yield from ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
        yield from (row(model, key, field, names) for key, field in model.model_fields.items())
    yield ""


def row(model: type[BaseModel], key: str, field: FieldInfo, names: dict[type[BaseModel], str]) -> str:
    """A field."""
    docs = [attribute_docs(class_node(cls)) for cls in model.__mro__ if cls.__module__.startswith("sartor.")]
    said = next((told[key][1] for told in docs if key in told and told[key][1]), field.description or "")
    default = "*always there*" if field.is_required() else value(field.get_default(call_default_factory=True))
    kind = cell(written(field.annotation, names))
    return f"| `{field.alias or key}` | {kind} | {cell(default)} | {cell(markdown(said))} |"


def value(default: object) -> str:
    """A default."""
    if default in ("", None, [], {}, ()):
        return "none"
    return "see there" if isinstance(default, BaseModel) else f"`{str(default).lower()}`"


def written(annotation: object, names: dict[type[BaseModel], str]) -> str:
    """A type as a reader of JSON calls it; objects are links."""
    annotation = getattr(annotation, "__value__", annotation)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{text}`" for text in inner)
    if origin in (typing.Union, types.UnionType):
        kinds = [written(one, names) for one in inner if one is not type(None)]
        return " or ".join(dict.fromkeys(kinds)) + (" or null" if type(None) in inner else "")
    if origin in (list, tuple, dict, typing.Annotated):
        held = {list: "list of ", tuple: "list of ", dict: "mapping of "}.get(origin, "")
        return held + written(inner[origin is dict], names)
    return plain(annotation, names)


def plain(annotation: object, names: dict[type[BaseModel], str]) -> str:
    """A type without others inside."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return linked(annotation, names)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    return next((word for cls, word in KINDS.items() if annotation is cls), "anything")


def linked(model: type[BaseModel], names: dict[type[BaseModel], str]) -> str:
    """A link to an object."""
    return f"[{names[model]}](#{slug(names[model])})"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
