"""`sartor model`: the files of models."""

from __future__ import annotations

import click

from sartor.cli.lazy import lazy

__all__ = ["command"]

_COMMANDS = {
    "pull": "Pull a GGUF model from a Hugging Face hub.",
    "list": "List models and model files.",
    "verify": "Compare files with their pinned SHA-256.",
    "pin": "Write the SHA-256 of models into sartor.yaml.",
    "remove": "Delete a model file.",
}


@click.group("model", cls=lazy(__name__, _COMMANDS))
def command() -> None:
    """Pull, list, verify, pin and remove the files of models.

    They lie in the folder `models` of the project, or the one that `model_folder` in sartor.yaml names.
    """
