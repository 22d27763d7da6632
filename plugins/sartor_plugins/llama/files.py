"""The GGUF files that settings name, as the command line lists them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sartor.modelfile import ModelFacts, ModelFile, parts

from sartor_plugins.builtin import MODEL
from sartor_plugins.llama import gguf
from sartor_plugins.llama.header import read_header
from sartor_plugins.llama.probe import ensure_loads
from sartor_plugins.llama.settings import FileSettings, LlamaSettings, model_path

__all__ = ["facts", "model_files", "try_to_load"]


def model_files(settings: FileSettings, directory: Path) -> list[ModelFile]:
    """The model's file and those of its adapters, with the hashes that the settings pin them to."""
    path = model_path(settings.path, directory)
    found = [
        ModelFile(path, partial(facts, path), settings.sha256, trial=partial(try_to_load, path), bundled=path == MODEL)
    ]
    for name, adapter in settings.adapters.items() if isinstance(settings, LlamaSettings) else ():
        file = directory / adapter.path
        look, trial = partial(facts, file), partial(ensure_loads, file, path)
        found.append(ModelFile(file, look, adapter.sha256, ("adapters", name, "sha256"), name, trial))
    return found


def facts(path: Path) -> ModelFacts:
    """What the header of a GGUF file says. Raises `ModelError` for anything else."""
    gguf.check(path)
    first, *others = map(read_header, parts(path))
    header = first.joined(others)
    return ModelFacts(
        kind=header.kind,
        architecture=header.architecture,
        parameters=header.parameters,
        quantization=header.quantization,
        context=header.context,
    )


def try_to_load(path: Path) -> None:
    """Load the file in another process, if it is of a kind that can be. Raises `ModelError` when that fails."""
    if facts(path).kind in ("chat", "embeddings", "ranking"):
        ensure_loads(path)
