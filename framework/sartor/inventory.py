"""The model files of a project: those that `sartor.yaml` names, and those that lie in the models folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sartor.errors import PluginError, SartorError
from sartor.lockfile import catalog_of
from sartor.modelfile import ModelFile, parts
from sartor.plugins import PluginSet
from sartor.project import Project
from sartor.spec import PluginUse
from sartor.values import JSONValue

__all__ = ["FILE_PLUGIN", "VECTORS_PLUGIN", "Inventory", "Item"]

FILE_PLUGIN = "llama"
"""The plugin that a file is looked at with when no entry names it, and that a pulled model is written down for."""
VECTORS_PLUGIN = "llama-embeddings"
"""The same for embedding models."""

_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of `sartor.yaml` that names a model, or a file that no entry names."""

    key: tuple[str, ...]
    """``("models", NAME)`` or ``("embeddings",)``; empty for a file that no entry names."""
    plugin: str
    file: ModelFile | None = None
    """None: the model is no file on this machine, or `fault` says why it is not known."""
    fault: SartorError | None = None

    @property
    def name(self) -> str:
        """The entry's name; of an adapter or another further file, with the file's name behind a slash."""
        entry = self.key[-1] if self.key else ""
        return f"{entry}/{self.file.name}" if self.file and self.file.name else entry

    def answers_to(self, name: str) -> bool:
        """Whether `name` means it: the entry with all its files, or this one of them."""
        return bool(self.key) and name in (self.key[-1], self.name)


class Inventory:
    """What there is, read anew at each call."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.directory / project.spec.model_folder
        self._catalog = catalog_of(project)

    def named(self) -> Iterator[Item]:
        """The models of `sartor.yaml`, and its embeddings where they come from a file."""
        spec = self.project.spec
        for name, use in spec.models.items():
            yield from self._of(("models", name), use)
        if spec.embeddings is not None:
            yield from (item for item in self._of(("embeddings",), spec.embeddings) if item.file or item.fault)

    def loose(self) -> Iterator[Item]:
        """The files of the models folder that no entry names."""
        taken = {part.resolve() for item in self.named() if item.file for part in parts(item.file.path)}
        for path in sorted(self.folder.rglob(f"*{_SUFFIX}")):
            hidden = any(name.startswith(".") for name in path.relative_to(self.folder).parts)
            if not hidden and path.is_file() and path.resolve() not in taken and parts(path)[0] == path:
                yield Item((), FILE_PLUGIN, self.look(path))

    def look(self, path: Path) -> ModelFile:
        """A file as a model file. Raises `PluginError` where the plugin that knows it cannot be loaded."""
        use = PluginUse.model_validate({"plugin": FILE_PLUGIN, "path": str(path)})
        return next(self._files(use, None))

    def users(self, path: Path) -> list[Item]:
        """The entries that need the file `path`, or a part of it."""
        wanted = {part.resolve() for part in parts(path)}
        return [
            item for item in self.named() if item.file and wanted & {part.resolve() for part in parts(item.file.path)}
        ]

    def shown(self, path: Path) -> str:
        """`path` as `sartor.yaml` would name it."""
        absolute = path.absolute()
        root = self.project.directory
        return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)

    def _of(self, key: tuple[str, ...], use: PluginUse) -> Iterator[Item]:
        try:
            files = list(self._files(use, self.project.file.place(key)))
        except SartorError as error:
            yield Item(key, use.plugin, None, error)
            return
        yield from (Item(key, use.plugin, file) for file in files)
        if not files:
            yield Item(key, use.plugin)

    def _files(self, use: PluginUse, where: str | None) -> Iterator[ModelFile]:
        settings: dict[str, JSONValue] = use.settings
        plugin = self._catalog.make(use.plugin, settings, self.project.directory, where)
        for _, file in PluginSet([plugin]).collect("sartor_model_files"):
            if not isinstance(file, ModelFile):
                raise PluginError(
                    f"plugin {use.plugin!r}: sartor_model_files gave a {type(file).__name__}, not a ModelFile",
                    where=where,
                )
            yield file
