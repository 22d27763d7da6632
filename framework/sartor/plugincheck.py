"""What `sartor plugin check` looks at: one plugin, from its settings to its tests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from sartor.building import channels_of, policies_of, retrievers_of, tools_of
from sartor.errors import SartorError, UsageError
from sartor.isolation.making import catalog_apart
from sartor.plugin import Plugin, PluginSettings
from sartor.plugins import GROUP, Catalog, Known, PluginSet
from sartor.policy import Stage
from sartor.values import BotInfo, JSONValue

__all__ = ["SUITES", "Finding", "Target", "check", "targets"]

SUITES: Mapping[str, str] = {
    "sartor_tools": "ToolSuite",
    "sartor_retrievers": "RetrieverSuite",
    "sartor_policies": "PolicySuite",
    "sartor_channels": "ChannelSuite",
    "sartor_model": "ModelSuite",
    "sartor_index": "IndexSuite",
    "sartor_embeddings": "EmbeddingsSuite",
    "sartor_readers": "ReaderSuite",
    "sartor_observers": "ObserverSuite",
}
"""For each hook the suite of `sartor.testing` for what it gives."""

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``ok``, ``note``, or ``bad``."""

    state: str
    what: str
    found: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A plugin to check."""

    name: str
    catalog: Catalog
    package: Path | None = None
    """The folder with its `pyproject.toml`, where that is what was named."""
    paths: Sequence[Path] = ()
    """Where its modules are, beside what is installed."""


def targets(named: str, project: Path | None) -> list[Target]:
    """The plugins that `named` means: a package's folder, or the name of an installed one. Raises `SartorError`."""
    folder = Path(named)
    if not (folder / "pyproject.toml").is_file():
        if folder.is_dir():
            raise UsageError("there is no pyproject.toml", where=named, remedy="Name a package's folder, or a plugin.")
        catalog = catalog_apart(project)
        return [Target(catalog.find(named).name, catalog)]
    folder = folder.resolve()
    told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    points = told.get("entry-points", {}).get(GROUP, {})
    if not points:
        raise UsageError(
            f"has no entry point in the group {GROUP}",
            where=str(folder / "pyproject.toml"),
            remedy='[project.entry-points."sartor.plugins"] NAME = "module:Class"',
        )
    paths = [path for path in (folder / "src", folder) if path.is_dir()]
    sys.path[:0] = [str(path) for path in paths if str(path) not in sys.path]
    catalog = catalog_apart(project)
    for name, value in points.items():
        catalog.add(Known(name, f"{told.get('name', folder.name)} {told.get('version', '')}".strip(),
                          EntryPoint(name, value, GROUP)))  # fmt: skip
    return [Target(name, catalog, folder, tuple(paths)) for name in points]


def check(target: Target, settings: Mapping[str, JSONValue], *, types: bool = True) -> Iterator[Finding]:
    """Everything about one plugin, the quick things first."""
    try:
        kind = target.catalog.load(target.name)
    except SartorError as error:
        yield Finding("bad", "loads", str(error))
        return
    yield Finding("ok", "loads", target.catalog.known[target.name].source)
    yield from _declared(kind)
    hooks = [hook for hook in dir(kind) if hasattr(getattr(kind, hook), "sartor_impl")]
    required = {name for name, field in kind.Settings.model_fields.items() if field.is_required()} - settings.keys()
    if required:
        needed = ", ".join(sorted(required))
        yield Finding("note", "suites", f"it needs settings to be made: --set {needed}=…; its own tests must suffice")
    else:
        sound = list(_built(target, settings, hooks))
        yield from sound
        if all(finding.state != "bad" for finding in sound):
            yield from _suites(target, settings, hooks)
    if target.package is not None:
        yield from _own_tests(target, hooks)
        if types:
            yield from _types(target)


def _declared(kind: type[Plugin]) -> Iterator[Finding]:
    said = bool(kind.__doc__)
    yield Finding("ok" if said else "bad", "docstring", "" if said else "`sartor plugins NAME` has nothing to show")
    own = issubclass(kind.Settings, PluginSettings)
    missing = [name for name, field in kind.Settings.model_fields.items() if not field.description]
    if not own or kind.Settings.model_config.get("extra") != "forbid":
        yield Finding("bad", "settings", 'Settings must derive from sartor.PluginSettings, and keep extra="forbid"')
    elif missing:
        yield Finding("bad", "settings", f"without a docstring: {', '.join(missing)}")
    else:
        yield Finding("ok", "settings", f"{len(kind.Settings.model_fields)}, each documented")
    if kind.hook_versions:
        yield Finding("ok", "hook versions", kind.hook_versions)
    else:
        yield Finding("note", "hook versions", 'not stated: write hook_versions = "1" in the class')


def _built(target: Target, settings: Mapping[str, JSONValue], hooks: Sequence[str]) -> Iterator[Finding]:
    """What it gives to a bot, and what that may do."""
    with tempfile.TemporaryDirectory(prefix="sartor-check-") as scratch:
        bot = BotInfo("acme", "support", Path(scratch), Path(scratch) / "data")
        try:
            plugins = PluginSet([target.catalog.make(target.name, settings, bot.directory)])
            yield Finding("ok", "hooks", ", ".join(hooks) or "none")
            given = [f"tool {one.name}" + (" (acts)" if one.acts else "") for one in tools_of(plugins, bot).values()]
            for policy in policies_of(plugins, bot):
                stages = ", ".join(stage for stage in Stage if policy.judges(stage))
                given.append(f"policy {policy.name} ({stages}; window {policy.window})")
            given += ["retriever"] * len(retrievers_of(plugins, bot))
            given += [f"channel {channel.name}" for channel in channels_of(plugins, bot)]
            if given:
                yield Finding("ok", "gives", ", ".join(given))
        except SartorError as error:
            yield Finding("bad", "hooks", str(error))


def _suites(target: Target, settings: Mapping[str, JSONValue], hooks: Sequence[str]) -> Iterator[Finding]:
    """Sartor's suites, without the examples that only the author can give."""
    wanted = [SUITES[hook] for hook in hooks if hook in SUITES]
    if not _there("pytest"):
        yield Finding("note", "suites", "pytest is not installed: pip install pytest")
        return
    known = target.catalog.known[target.name]
    how = f"EntryPoint({known.name!r}, {known.target.value!r}, 'sartor.plugins')" if isinstance(
        known.target, EntryPoint) else f"Path({str(known.target)!r})"  # fmt: skip
    lines = [
        "from importlib.metadata import EntryPoint",
        "from pathlib import Path",
        "from sartor import testing",
        "from sartor.plugins import Catalog, Known",
        "catalog = Catalog()",
        f"catalog.add(Known({known.name!r}, 'checked', {how}))",
        f"given = dict(plugin=catalog.load({known.name!r}), settings={dict(settings)!r}, examples=False)",
        *(f"Test{suite} = type('Test{suite}', (testing.{suite},), given)" for suite in wanted),
    ]
    with tempfile.TemporaryDirectory(prefix="sartor-check-") as scratch:
        file = Path(scratch) / "test_suites.py"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield _pytest("suites", Path(scratch), target.paths, f"{', '.join(wanted)}: ")


def _own_tests(target: Target, hooks: Sequence[str]) -> Iterator[Finding]:
    assert target.package is not None
    tests = sorted((target.package / "tests").rglob("test_*.py"))
    if not tests:
        yield Finding("bad", "own tests", "there are none in tests/")
        return
    told = "".join(file.read_text(encoding="utf-8") for file in tests)
    missing = [SUITES[hook] for hook in hooks if hook in SUITES and SUITES[hook] not in told]
    if missing:
        yield Finding("note", "own tests", f"do not inherit {', '.join(missing)} of sartor.testing")
    if _there("pytest"):
        yield _pytest("own tests", target.package, target.paths)


def _pytest(what: str, folder: Path, paths: Sequence[Path], before: str = "") -> Finding:
    """What pytest says of the tests in `folder`."""
    with tempfile.TemporaryDirectory(prefix="sartor-check-") as scratch:
        report = Path(scratch) / "report.xml"
        arguments = ["-q", "-p", "sartor.testing.fixtures", "-p", "no:cacheprovider", f"--junitxml={report}"]
        done = _python(["-m", "pytest", *arguments], folder, paths)
        if not report.is_file():
            return Finding("bad", what, f"pytest failed:\n{(done.stdout + done.stderr).strip()[-800:]}")
        cases = list(ET.parse(report).getroot().iter("testcase"))
    bad = [(case, fault) for case in cases for fault in (*case.findall("failure"), *case.findall("error"))]
    skipped = sum(case.find("skipped") is not None for case in cases)
    told = f"{before}{len(cases) - len(bad) - skipped} passed" + (f", {skipped} skipped" if skipped else "")
    if not bad:
        return Finding("ok" if cases else "bad", what, told if cases else "pytest found no tests")
    faults = [f"{case.get('name')}: {(fault.get('message') or '').splitlines()[0][:300]}" for case, fault in bad]
    more = [f"… and {len(bad) - _MOST_SHOWN} more"] if len(bad) > _MOST_SHOWN else []
    return Finding("bad", what, "\n".join([f"{told}, {len(bad)} failed", *faults[:_MOST_SHOWN], *more]))


def _types(target: Target) -> Iterator[Finding]:
    assert target.package is not None
    if not _there("mypy"):
        yield Finding("note", "types", "mypy is not installed: pip install mypy")
        return
    source = target.package / "src"
    done = _python(["-m", "mypy", str(source if source.is_dir() else target.package)], target.package, ())
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    yield Finding("ok" if done.returncode == 0 else "bad", "types", "\n".join([lines[-1], *lines[:-1][:_MOST_SHOWN]]))


def _python(arguments: Sequence[str], folder: Path, paths: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    found = os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
