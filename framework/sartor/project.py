"""A project on disk: `sartor.yaml`, its tenants, and the effective specification of each bot.

Only files are read here; nothing is opened, loaded or started.
"""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sartor.errors import NamingError, SpecError
from sartor.layers import Layer, Merged, Source, fill_values, merge
from sartor.names import check_name, split_bot_id
from sartor.spec import BotSpec, PlanSpec, ProjectSpec, TenantSpec, check
from sartor.templates import Template, check_values, find_template
from sartor.values import BotInfo, JSONValue, Origin, Part
from sartor.yamlfile import KeyPath, YamlFile, read_yaml

__all__ = ["EffectiveBot", "Project"]


@dataclass(frozen=True)
class EffectiveBot:
    """A bot as it is after all layers: what it says, and where each value came from."""

    info: BotInfo
    spec: BotSpec
    merged: Merged
    template: Template | None
    file: YamlFile
    plan: PlanSpec
    """What the tenant's plan gives it."""

    @cached_property
    def public(self) -> int:
        """How many paragraphs of the instructions, the first ones, are public: see `Template.public`. A higher layer
        may have removed the template's, and put others in their place."""
        shared = self.template.public if self.template else ()
        kept = (
            text == public and self.source(("instructions", at)).origin is Origin.OPERATOR
            for at, (text, public) in enumerate(zip(self._paragraphs, shared, strict=False))
        )
        return len(list(itertools.takewhile(bool, kept)))

    @property
    def instructions(self) -> tuple[Part, ...]:
        """The paragraphs of the instructions, each with whose words it is, and whether it is public."""
        return tuple(
            Part(text.strip(), self.source(("instructions", at)).origin, public=at < self.public)
            for at, text in enumerate(self._paragraphs)
            if text.strip()
        )

    @property
    def _paragraphs(self) -> list[str]:
        told = self.spec.instructions
        return [told] if isinstance(told, str) else told

    def source(self, key: KeyPath) -> Source:
        """Where the value at `key` came from; a default when no file says it."""
        while key:
            if key in self.merged.sources:
                return self.merged.sources[key]
            key = key[:-1]
        return Source("default", Origin.OPERATOR)


class Project:
    """The files of a project. Bots are read anew at each call, so a change on disk counts at once."""

    def __init__(self, directory: Path, *, scratch: Path | None = None) -> None:
        """`scratch`: a folder for state and indexes in place of the project's own, to try things.

        Raises `SpecError` when there is no `sartor.yaml`, or it says what it may not.
        """
        self.directory = directory.resolve()
        self._scratch = scratch
        path = self.directory / "sartor.yaml"
        if not path.is_file():
            raise SpecError(
                "there is no sartor.yaml",
                where=str(self.directory),
                remedy="Run this in a project, name one with --project DIR, or make one: "
                "sartor new TENANT --template support",
            )
        self.file = read_yaml(path)
        merged = merge([Layer(self.file, Origin.OPERATOR, _without_nulls(self.file.data))])
        if "embeddings" in self.file.data and self.file.data["embeddings"] is None:
            merged.data["embeddings"] = None
        self.spec: ProjectSpec = check(ProjectSpec, merged, str(path))
        if self.spec.model not in self.spec.models:
            raise SpecError(
                f"model: there is no entry {self.spec.model!r} under models",
                where=self.file.place(("model",)),
                remedy=f"It has: {', '.join(self.spec.models)}.",
            )

    def tenants(self) -> list[str]:
        """Names of the tenants, sorted: the folders of `tenants/` with a `tenant.yaml` or a bot."""
        root = self.directory / "tenants"
        return sorted(folder.name for folder in (root.iterdir() if root.is_dir() else ()) if _is_tenant(folder))

    def has_tenant(self, name: str) -> bool:
        """Whether there is a tenant of that name; the others are not looked at."""
        try:
            return _is_tenant(self.directory / "tenants" / check_name("tenant", name))
        except NamingError:
            return False

    def has_bot(self, bot_id: str) -> bool:
        """Whether there is a bot ``tenant/bot``; the others are not looked at."""
        try:
            tenant, bot = split_bot_id(bot_id)
        except NamingError:
            return False
        return (self.directory / "tenants" / tenant / bot / "bot.yaml").is_file()

    def bots(self, tenant: str | None = None) -> list[str]:
        """Ids (`tenant/bot`) of the bots of one tenant, or of all, sorted."""
        names = self.tenants() if tenant is None else [tenant]
        root = self.directory / "tenants"
        return sorted(f"{name}/{file.parent.name}" for name in names for file in (root / name).glob("[!.]*/bot.yaml"))

    def tenant(self, name: str) -> TenantSpec:
        """A tenant's `tenant.yaml`; its defaults when it has none. Raises `NamingError`, `SpecError`."""
        check_name("tenant", name)
        if not self.has_tenant(name):
            raise self._unknown("tenant", name, self.tenants())
        file = self._tenant_file(name)
        if file is None:
            return TenantSpec()
        return check(TenantSpec, merge([Layer(file, Origin.TENANT, _without_nulls(file.data))]), str(file.path))

    def plan(self, tenant: str) -> PlanSpec:
        """The plan of a tenant. Raises `NamingError`, and `SpecError` for one that `sartor.yaml` does not have."""
        name = self.tenant(tenant).plan
        if not name:
            return PlanSpec()
        if name not in self.spec.plans:
            file = self._tenant_file(tenant)
            raise SpecError(
                f"plan: there is no entry {name!r} under plans in sartor.yaml",
                where=file.place(("plan",)) if file else None,
                remedy=f"It has: {', '.join(self.spec.plans)}." if self.spec.plans else "It has no plans.",
            )
        return self.spec.plans[name]

    def bot(self, bot_id: str) -> EffectiveBot:
        """The effective bot `tenant/bot`. Raises `NamingError`, `SpecError` or `TemplateError`."""
        tenant, bot = split_bot_id(bot_id)
        directory = self.directory / "tenants" / tenant / bot
        path = directory / "bot.yaml"
        if not path.is_file():
            raise self._unknown("bot", bot_id, self.bots())
        file = read_yaml(path)
        plan = self.plan(tenant)
        template = self._template(file)
        layers = [Layer(template.bot, Origin.OPERATOR, template.bot.data)] if template else []
        layers.append(Layer(self.file, Origin.OPERATOR, _mapping(self.file, "bots"), ("bots",)))
        if tenant_file := self._tenant_file(tenant):
            layers.append(Layer(tenant_file, Origin.TENANT, _mapping(tenant_file, "bots"), ("bots",)))
        layers.append(Layer(file, Origin.TENANT, file.data))
        for layer in layers[:-1]:
            if "template" in layer.data:
                raise SpecError("only a bot.yaml names its template", where=layer.source(("template",)).place)
        self._check_plugins(layers)
        merged = merge([_written_out(layer) for layer in layers])
        values = self._values(merged, template, tenant, bot)
        merged.data.pop("values", None)
        fill_values(merged, values)
        merged.data["values"] = values
        spec = check(BotSpec, merged, str(path))
        if spec.model and spec.model not in self.spec.models:
            raise SpecError(
                f"model: there is no entry {spec.model!r} under models in sartor.yaml",
                where=merged.place(("model",)),
                remedy=f"It has: {', '.join(self.spec.models)}.",
            )
        info = BotInfo(tenant, bot, directory, self.data(tenant), spec.languages[0], values)
        return EffectiveBot(info, spec, merged, template, file, plan)

    def data(self, tenant: str) -> Path:
        """The folder of a tenant's search indexes."""
        root = self.directory / self.spec.data if self._scratch is None else self._scratch / "tenants"
        return root / check_name("tenant", tenant)

    @property
    def state_url(self) -> str:
        """The URL of the state database, relative SQLite paths made absolute."""
        if self._scratch is not None:
            return f"sqlite:///{self._scratch.absolute()}/sartor.db"
        url = self.spec.state
        if url.startswith("env:"):
            name = url.removeprefix("env:")
            url = os.environ.get(name, "")
            if not url:
                raise SpecError(
                    f"state: the environment variable {name} is not set",
                    where=self.file.place(("state",)),
                    remedy=f"export {name}=sqlite:///… or postgresql://…",
                )
        kind, separator, path = url.partition(":///")
        if kind == "sqlite" and separator:
            return f"sqlite:///{self.directory / path}"
        return url

    def _check_plugins(self, layers: Sequence[Layer]) -> None:
        """Raises `SpecError` where a tenant's layer names a plugin that the operator neither names nor allows."""
        if self.spec.tenant_plugins is None:
            return
        allowed = set(self.spec.tenant_plugins)
        for layer in layers:
            named = layer.data.get("plugins")
            names = list(named) if isinstance(named, dict) else []
            if layer.origin is Origin.OPERATOR:
                allowed.update(names)
            for name in names:
                if name not in allowed:
                    raise SpecError(
                        f"tenants may not name the plugin {name!r}",
                        where=layer.source(("plugins", name)).place,
                        remedy="The operator allows it with tenant_plugins in sartor.yaml.",
                    )

    def _template(self, file: YamlFile) -> Template | None:
        reference = file.data.get("template")
        if reference is None:
            return None
        where = file.place(("template",))
        if not isinstance(reference, str):
            raise SpecError("template must be NAME@VERSION", where=where)
        if "@" not in reference:
            found = find_template(reference, self.directory, where=where).reference
            raise SpecError(f"template {reference!r} names no version", where=where, remedy=f"Write template: {found}")
        return find_template(reference, self.directory, where=where)

    def _values(self, merged: Merged, template: Template | None, tenant: str, bot: str) -> dict[str, JSONValue]:
        given = merged.data.get("values", {})
        if not isinstance(given, dict):
            raise SpecError("values must be a mapping", where=merged.place(("values",)))
        if template is not None:
            checked = check_values(
                template, given, place=lambda name: merged.place(("values", name)) or merged.place(("template",))
            )
            for name in checked.keys() - given.keys():
                merged.sources["values", name] = Source(str(template.directory / "template.yaml"), Origin.OPERATOR)
            given = checked
        for name in ("tenant", "bot"):
            merged.sources["values", name] = Source("its place in the project", Origin.OPERATOR)
        return {"tenant": tenant, "bot": bot, **given}

    def _tenant_file(self, tenant: str) -> YamlFile | None:
        path = self.directory / "tenants" / tenant / "tenant.yaml"
        return read_yaml(path) if path.is_file() else None

    def _unknown(self, kind: str, name: str, known: Sequence[str]) -> NamingError:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        return NamingError(
            f"there is no {kind} {name!r}",
            where=str(self.directory),
            remedy=f"{hint}`sartor list` shows what there is; `sartor new` makes more.",
        )


def _is_tenant(folder: Path) -> bool:
    if folder.name.startswith(".") or not folder.is_dir():
        return False
    return (folder / "tenant.yaml").is_file() or any(folder.glob("*/bot.yaml"))


def _mapping(file: YamlFile, key: str) -> Mapping[str, JSONValue]:
    value = file.data.get(key, {})
    if not isinstance(value, dict):
        raise SpecError(f"{key} must be a mapping", where=file.place((key,)))
    return value


def _written_out(layer: Layer) -> Layer:
    """`layer` with short forms written out, so that those of several layers can be merged: one text as a list of
    instructions, ``grounding: quote`` as a mapping."""
    data = dict(layer.data)
    if isinstance(told := data.get("instructions"), str):
        data["instructions"] = [told]
    if isinstance(mode := data.get("grounding"), str):
        data["grounding"] = {"mode": mode}
    return Layer(layer.file, layer.origin, data, layer.prefix)


def _without_nulls(data: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """`data` of a file that is looked at alone: without ``null`` for no embeddings, and under `bots`, where it removes
    what a lower layer says."""
    kept = {name: value for name, value in data.items() if not (name == "embeddings" and value is None)}
    return kept | ({"bots": _bare(kept["bots"])} if "bots" in kept else {})


def _bare(value: JSONValue) -> JSONValue:
    if isinstance(value, dict):
        return {name: _bare(inner) for name, inner in value.items() if inner is not None}
    return value
