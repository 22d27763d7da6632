"""An OpenAPI description, as far as calling its operations needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sartor.errors import PluginError, SartorError
from sartor.values import JSONValue
from sartor.yamlfile import read_yaml

__all__ = ["Description", "Operation", "Parameter", "read_description"]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_MOST_BYTES = 8 * 1024 * 1024
_DEEPEST = 12
_LARGEST = 100_000
_IGNORED_HEADERS = ("accept", "authorization", "content-type")

Place = Literal["path", "query", "header", "body"]


@dataclass(frozen=True)
class Parameter:
    """One argument of an operation, and where it goes."""

    argument: str
    name: str
    """How the service calls it; empty: the whole body."""
    place: Place
    schema: JSONValue
    required: bool = False
    apart: bool = True
    """Whether the items of a list are sent as parameters of their own."""


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    describe: str
    parameters: Sequence[Parameter] = field(default_factory=tuple)

    @property
    def schema(self) -> dict[str, JSONValue]:
        """The JSON Schema of all arguments."""
        properties = {one.argument: one.schema for one in self.parameters}
        required: list[JSONValue] = [one.argument for one in self.parameters if one.required]
        return {"type": "object", "properties": properties, "required": required}


class Description:
    """A description that was read. What cannot be used is told when an operation is asked for."""

    def __init__(self, document: Mapping[str, JSONValue], where: str) -> None:
        """Raises `PluginError` for a version that is not known."""
        self._document = document
        self._where = where
        version = str(document.get("openapi", ""))
        if not version.startswith(("3.0", "3.1", "3.2")):
            raise self._fault(f"is no OpenAPI 3 description (openapi: {version or 'nothing'})")
        self._old = version.startswith("3.0")

    @property
    def url(self) -> str:
        """The first server's address, if it is a whole one."""
        servers = _list(self._document.get("servers"))
        server = _dict(servers[0]) if servers else {}
        url = str(server.get("url", ""))
        for name, told in _dict(server.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(_dict(told).get("default", "")))
        return url if url.startswith(("http://", "https://")) else ""

    def operation(self, wanted: str) -> Operation:
        """The operation with that id, or that method and path. Raises `PluginError`."""
        known = []
        for path, item in _dict(self._document.get("paths")).items():
            for method in _METHODS:
                told = _dict(_dict(item).get(method))
                if not told:
                    continue
                known.append(str(told.get("operationId") or f"{method.upper()} {path}"))
                if wanted in (told.get("operationId"), f"{method.upper()} {path}"):
                    return self._operation(method.upper(), path, _dict(item), told)
        shown = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
        raise self._fault(f"has no operation {wanted!r}", f"It has: {shown or 'none'}.")

    def _operation(
        self, method: str, path: str, item: Mapping[str, JSONValue], told: Mapping[str, JSONValue]
    ) -> Operation:
        label = str(told.get("operationId") or f"{method} {path}")
        parameters: dict[tuple[str, str], Parameter] = {}
        for each in (*_list(item.get("parameters")), *_list(told.get("parameters"))):
            one = self._parameter(label, _dict(self._resolved(each)))
            if one is not None:
                parameters[one.place, one.name] = one
        found = [*parameters.values()]
        found += self._body(label, told, {one.argument for one in found})
        describe = str(told.get("summary") or told.get("description") or "").strip()
        names = [one.argument for one in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise self._fault(f"{label} has two arguments {twice[0]!r}")
        return Operation(label, method, path, " ".join(describe.split()), tuple(found))

    def _parameter(self, label: str, told: Mapping[str, JSONValue]) -> Parameter | None:
        name, place, required = str(told.get("name", "")), told.get("in"), told.get("required") is True
        if place == "header" and name.lower() in _IGNORED_HEADERS:
            return None
        style = told.get("style", "form" if place in ("query", "cookie") else "simple")
        known = {"path": "simple", "header": "simple", "query": "form"}
        if place not in known or style != known[str(place)] or "schema" not in told:
            if required:
                raise self._fault(f"{label} needs {name!r} in a way that is not known ({place}, {style})")
            return None
        schema = self._schema(told["schema"])
        if isinstance(schema, dict) and told.get("description") and "description" not in schema:
            schema = {**schema, "description": told["description"]}
        if isinstance(schema, dict) and schema.get("type") == "object":
            raise self._fault(f"{label} takes an object as {name!r} outside its body, which is not known")
        where: Place = "path" if place == "path" else "query" if place == "query" else "header"
        explode = told.get("explode", style == "form") is True
        return Parameter(name, name, where, schema, required or where == "path", explode)

    def _body(self, label: str, told: Mapping[str, JSONValue], taken: set[str]) -> list[Parameter]:
        body = _dict(self._resolved(told.get("requestBody")))
        if not body:
            return []
        content = _dict(body.get("content"))
        kind = next((kind for kind in content if kind.partition(";")[0].strip() == "application/json"), None)
        needed = body.get("required") is True
        if kind is None:
            if needed:
                raise self._fault(f"{label} takes no JSON but {', '.join(content) or 'nothing'}")
            return []
        schema = self._schema(_dict(content[kind]).get("schema"))
        properties = _dict(_dict(schema).get("properties"))
        if not properties or any(key in _dict(schema) for key in ("oneOf", "anyOf", "allOf")):
            argument = "body" if "body" not in taken else "request_body"
            return [Parameter(argument, "", "body", schema, needed)]
        required = _list(_dict(schema).get("required"))
        return [
            Parameter(f"body_{name}" if name in taken else name, name, "body", one, needed and name in required)
            for name, one in properties.items()
            if _dict(one).get("readOnly") is not True
        ]

    def _resolved(self, value: JSONValue, deep: int = 0) -> JSONValue:
        """`value`, or what it refers to in this description."""
        if not (isinstance(value, dict) and isinstance(value.get("$ref"), str)):
            return value
        reference = str(value["$ref"])
        if not reference.startswith("#/") or deep > _DEEPEST:
            raise self._fault(f"refers to {reference!r}", "References must lead to another place of the same file.")
        found: JSONValue = dict(self._document)
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not (isinstance(found, dict) and key in found):
                raise self._fault(f"refers to {reference!r}, and there is no such thing")
            found = found[key]
        return self._resolved(found, deep + 1)

    def _schema(self, value: JSONValue) -> JSONValue:
        """A schema without references. One that contains itself takes anything in its place."""
        made = self._expanded(value, ())
        if len(json.dumps(made)) > _LARGEST:
            raise self._fault("has a schema that is too large for a tool")
        return made

    def _expanded(self, value: JSONValue, inside: tuple[str, ...]) -> JSONValue:
        if isinstance(value, list):
            return [self._expanded(each, inside) for each in value]
        if not isinstance(value, dict):
            return value
        if isinstance(reference := value.get("$ref"), str):
            if reference in inside or len(inside) > _DEEPEST:
                return {}
            found = self._expanded(self._resolved(value), (*inside, reference))
            beside = {key: self._expanded(each, inside) for key, each in value.items() if key != "$ref"}
            return {**found, **beside} if isinstance(found, dict) else found
        made = {key: self._expanded(each, inside) for key, each in value.items() if key not in ("example", "xml")}
        return _modern(made) if self._old else made

    def _fault(self, what: str, remedy: str | None = None) -> PluginError:
        return PluginError(f"openapi: {what}", where=self._where, remedy=remedy)


def read_description(file: str, directory: Path) -> Description:
    """The description in `file`. Raises `PluginError`."""
    root = directory.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root):
        raise PluginError(f"openapi: {file} is outside the bot's folder", remedy=f"Put the file into {root}.")
    try:
        if path.suffix != ".json":
            return Description(read_yaml(path).data, str(path))
        if path.stat().st_size > _MOST_BYTES:
            raise PluginError(f"openapi: {file} is larger than {_MOST_BYTES // 1024**2} MiB")
        document = json.loads(path.read_text(encoding="utf-8"))
    except SartorError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise PluginError(
            f"openapi: {file} cannot be read: {why}", where=str(root), remedy="Put the description there."
        ) from error
    if not isinstance(document, dict):
        raise PluginError(f"openapi: {file} is no OpenAPI description")
    return Description(document, str(path))


def _modern(schema: dict[str, JSONValue]) -> dict[str, JSONValue]:
    """A schema of OpenAPI 3.0 as JSON Schema has it."""
    if schema.pop("nullable", None) is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*_list(schema["enum"]), None]
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(exclusive := schema.get(key), bool):
            del schema[key]
            if exclusive and bound in schema:
                schema[key] = schema.pop(bound)
    return schema


def _dict(value: JSONValue | Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: JSONValue) -> list[JSONValue]:
    return value if isinstance(value, list) else []
